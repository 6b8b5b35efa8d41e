"""What every measure of stated confidence shares: checked answers, and a bootstrap over them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, is_binary, scores
from crucible_bench.results import Interval

Measure = Callable[[Array, Array], float]


def answers(confidence: ArrayLike, correct: ArrayLike) -> tuple[Array, Array]:
    """Return stated confidence in [0, 1] and correctness of 0 and 1, of one length."""
    c, y = scores("confidence", confidence), scores("correct", correct)
    if c.ndim != 1 or y.ndim != 1:
        raise ValueError("`confidence` and `correct` must have one dimension")
    if c.size != y.size:
        raise ValueError(f"`correct` must have one value per confidence, got {y.size} for {c.size}")
    outside = np.flatnonzero((c < 0) | (c > 1))
    if outside.size:
        where = int(outside[0])
        raise ValueError(f"`confidence` must be in [0, 1], got {c[where]:g} at index {where}")
    if not is_binary(y):
        raise ValueError("`correct` must hold only 0 and 1")
    return c, y


def resampled(
    measure: Measure,
    confidence: Array,
    correct: Array,
    cluster: ArrayLike | None,
    level: float,
    n_resamples: int,
    rng: int | np.random.Generator | None,
) -> Interval | None:
    """Return the percentile bootstrap interval of a measure; None without `rng`."""
    check_confidence(level)
    if n_resamples < 100:
        raise ValueError(f"`n_resamples` must be >= 100, got {n_resamples}")
    if rng is None:
        if cluster is not None:
            raise ValueError("`rng` is required for an interval over clusters")
        return None
    groups = members(cluster, confidence.size)
    generator = np.random.default_rng(rng)
    drawn = np.empty(n_resamples)
    for i in range(n_resamples):
        picks = generator.integers(len(groups), size=len(groups))
        rows = picks if cluster is None else np.concatenate([groups[k] for k in picks])
        drawn[i] = measure(confidence[rows], correct[rows])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    method = "bootstrap percentile" if cluster is None else "cluster bootstrap percentile"
    return Interval(low=float(low), high=float(high), level=level, method=method)


def members(cluster: ArrayLike | None, n: int) -> list[Array]:
    """Return the row numbers of each cluster; each row by itself without clusters."""
    if cluster is None:
        return list(np.arange(n)[:, None])
    labels = np.asarray(cluster)
    if labels.shape != (n,):
        raise ValueError(f"`cluster` must have one label per answer, got {labels.shape} for {n}")
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.size < 2:
        raise ValueError("`cluster` must hold at least 2 clusters, got 1")
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
