"""Quantiles with distribution-free intervals, their differences and ratios."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, scores
from crucible_bench.quantile_contrasts import (
    QuantileContrast,
    quantile_difference,
    quantile_ratio,
    thin_tail,
)
from crucible_bench.results import Interval, Record

__all__ = [
    "QuantileContrast",
    "QuantileResult",
    "harrell_davis",
    "quantile",
    "quantile_difference",
    "quantile_ratio",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileResult(Record):
    """A quantile (percentile `q`) with a distribution-free interval."""

    q: float
    value: float
    interval: Interval
    n: int
    method: Literal["type7", "harrell_davis"]
    warnings: tuple[str, ...] = ()


def quantile(
    x: ArrayLike,
    q: float,
    *,
    method: Literal["type7", "harrell_davis"] = "type7",
    confidence: float = 0.95,
) -> QuantileResult:
    """Estimate a percentile with an equal-tailed interval from order statistics.

    Parameters
    ----------
    x : (n,) array
    q : float, in (0, 100)
    method : {"type7", "harrell_davis"}
        Of the estimate: linear interpolation of two order statistics (numpy's default), or a
        weighted mean of all of them [2]_, which varies less near the median. The interval is the
        same.

    Raises
    ------
    ValueError
        If `q` is out of range, or `x` has not one dimension: repeats of an item are no independent
        observations (`quantile_difference` takes items x repeats).

    Notes
    -----
    Each limit is the most extreme order statistic that leaves at most (1 - confidence) / 2 of
    probability outside [1]_. A limit that n cannot give is None: P99 at 95 % has no upper limit for
    n <= 367. With fewer than 10 observations expected beyond q, a warning says so.

    References
    ----------
    .. [1] W. J. Conover, Practical Nonparametric Statistics, 3rd ed., 1999, section 3.2.
    .. [2] F. E. Harrell, C. E. Davis, Biometrika 69(3), 635-640, 1982.

    Examples
    --------
    >>> result = quantile(range(1, 101), 50)
    >>> result.value, result.interval.low, result.interval.high
    (50.5, 40.0, 61.0)
    """
    from scipy import special

    check_confidence(confidence)
    if not 0 < q < 100:
        raise ValueError(f"`q` must be in (0, 100), got {q}")
    if method not in ("type7", "harrell_davis"):
        raise ValueError(f'`method` must be "type7" or "harrell_davis", got {method!r}')
    values = scores("x", x)
    if values.ndim != 1:
        raise ValueError("`x` must have one dimension: repeats of an item are not independent")
    ordered = np.sort(values)
    n, p = ordered.size, q / 100
    tail = (1 - confidence) / 2
    # P(X_(k) > quantile) = P(Binomial(n, p) <= k - 1)
    below = special.bdtr(np.arange(n), n, p)
    lower = np.flatnonzero(below <= tail)
    upper = np.flatnonzero(1 - below <= tail)
    return QuantileResult(
        q=q,
        value=harrell_davis(ordered, q)
        if method == "harrell_davis"
        else float(np.percentile(ordered, q)),
        interval=Interval(
            low=float(ordered[lower[-1]]) if lower.size else None,
            high=float(ordered[upper[0]]) if upper.size else None,
            level=confidence,
            method="order statistics",
        ),
        n=n,
        method=method,
        warnings=thin_tail(q, {"x": n}),
    )


def harrell_davis(x: Array, q: float) -> float:
    """Return Harrell and Davis's estimate: order statistics weighted by a Beta distribution."""
    from scipy import special

    n, p = x.size, q / 100
    steps = special.betainc((n + 1) * p, (n + 1) * (1 - p), np.arange(n + 1) / n)
    return float(np.diff(steps) @ np.sort(x))
