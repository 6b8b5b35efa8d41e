"""Quantiles with distribution-free intervals."""

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import check_confidence, scores
from crucible_bench.results import Interval, QuantileResult


def quantile(x: ArrayLike, q: float, *, confidence: float = 0.95) -> QuantileResult:
    """Estimate a percentile (type 7) with an equal-tailed interval from order statistics.

    Parameters
    ----------
    x : (n,) array
    q : float, in (0, 100)

    Notes
    -----
    Each limit is the most extreme order statistic that leaves at most (1 - confidence) / 2 of
    probability outside. A limit that n cannot give is None: P99 at 95 % has no upper limit for
    n <= 367.

    References
    ----------
    .. [1] W. J. Conover, Practical Nonparametric Statistics, 3rd ed., 1999, section 3.2.
    """
    from scipy import special

    check_confidence(confidence)
    if not 0 < q < 100:
        raise ValueError(f"`q` must be in (0, 100), got {q}")
    ordered = np.sort(scores("x", x))
    n, p = ordered.size, q / 100
    tail = (1 - confidence) / 2
    # P(X_(k) > quantile) = P(Binomial(n, p) <= k - 1)
    below = special.bdtr(np.arange(n), n, p)
    lower = np.flatnonzero(below <= tail)
    upper = np.flatnonzero(1 - below <= tail)
    return QuantileResult(
        q=q,
        value=float(np.percentile(ordered, q)),
        interval=Interval(
            low=float(ordered[lower[-1]]) if lower.size else None,
            high=float(ordered[upper[0]]) if upper.size else None,
            level=confidence,
            method="order statistics",
        ),
        n=n,
    )
