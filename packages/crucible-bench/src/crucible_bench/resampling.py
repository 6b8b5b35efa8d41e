"""Bootstrap intervals over items."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, scores
from crucible_bench.results import BootstrapResult, Interval

Statistic = Callable[..., Array]
_BLOCK_BYTES = 32 * 2**20


def _std(x: Array, axis: int) -> Array:
    deviations: Array = np.std(x, axis=axis, ddof=1)
    return deviations


_NAMED: dict[str, Statistic] = {"mean": np.mean, "median": np.median, "std": _std}


def bootstrap(
    statistic: Statistic | Literal["mean", "median", "std"],
    *samples: ArrayLike,
    paired: bool = False,
    method: Literal["percentile", "basic"] = "percentile",
    n_resamples: int = 9_999,
    confidence: float = 0.95,
    rng: int | np.random.Generator,
) -> BootstrapResult:
    """Compute a bootstrap interval for a statistic of one or several samples.

    Parameters
    ----------
    statistic : callable or {"mean", "median", "std"}
        A callable takes the samples and `axis=`.
    *samples : (n,) arrays
    paired : bool
        Resample the same items from every sample; lengths must be equal.
    rng : int or numpy.random.Generator
        There is no hidden global seed.

    Raises
    ------
    ValueError
        If an argument is out of range or paired samples differ in length.

    References
    ----------
    .. [1] B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    check_confidence(confidence)
    if n_resamples < 1:
        raise ValueError(f"`n_resamples` must be >= 1, got {n_resamples}")
    if method not in ("percentile", "basic"):
        raise ValueError(f'`method` must be "percentile" or "basic", got {method!r}')
    arrays = [scores(f"samples[{i}]", sample) for i, sample in enumerate(samples)]
    if not arrays:
        raise ValueError("`samples` must hold at least one array")
    if paired and len({a.size for a in arrays}) > 1:
        raise ValueError(f"paired samples must be of one length, got {[a.size for a in arrays]}")
    compute = _NAMED[statistic] if isinstance(statistic, str) else statistic
    generator = np.random.default_rng(rng)
    estimate = float(compute(*arrays, axis=-1))
    widest = max(a.size for a in arrays)
    rows = max(1, _BLOCK_BYTES // (8 * widest * len(arrays)))
    draws = []
    for start in range(0, n_resamples, rows):
        size = min(rows, n_resamples - start)
        drawn = arrays[:1] if paired else arrays
        picks = [generator.integers(a.size, size=(size, a.size)) for a in drawn]
        resampled = [a[picks[0 if paired else i]] for i, a in enumerate(arrays)]
        draws.append(np.asarray(compute(*resampled, axis=-1), dtype=float))
    distribution = np.concatenate(draws)
    low, high = np.quantile(distribution, [(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "basic":
        low, high = 2 * estimate - high, 2 * estimate - low
    return BootstrapResult(
        estimate=estimate,
        interval=Interval(low=float(low), high=float(high), level=confidence, method=method),
        standard_error=float(distribution.std(ddof=1)) if n_resamples > 1 else 0.0,
        bias=float(distribution.mean() - estimate),
        n_resamples=n_resamples,
        method=method,
    )
