"""Cost against quality: which systems no other one beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import Array
from crucible_bench.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ParetoPoint(Record):
    """A system that is not dominated, and the share of resamples in which it is not."""

    name: str
    cost: float
    score: float
    probability: float


def pareto_front(
    cost: ArrayLike,
    score: ArrayLike,
    *,
    names: Sequence[str],
    n_resamples: int = 2_000,
    rng: int | np.random.Generator,
) -> tuple[ParetoPoint, ...]:
    """Return the systems of which none is cheaper without being worse, cheapest first.

    Parameters
    ----------
    cost, score : (systems, items) arrays
        The same items under every system; lower cost and higher score are better.
    names : one per system
    n_resamples : int, >= 1

    Notes
    -----
    Items are resampled for all systems together. A system is dominated if another has no higher
    mean cost and no lower mean score, and one of both is better.
    """
    prices, quality = np.asarray(cost, dtype=float), np.asarray(score, dtype=float)
    if prices.ndim != 2 or prices.shape != quality.shape or prices.shape[1] < 2:
        raise ValueError(
            f"`cost` and `score` must be (systems, items) alike, got {prices.shape} and "
            f"{quality.shape}"
        )
    if not (np.isfinite(prices).all() and np.isfinite(quality).all()):
        raise ValueError("`cost` and `score` must be finite")
    if len(names) != len(prices):
        raise ValueError(f"`names` must have one name per system, got {len(names)}")
    if n_resamples < 1:
        raise ValueError(f"`n_resamples` must be >= 1, got {n_resamples}")
    generator, n = np.random.default_rng(rng), prices.shape[1]
    kept = np.zeros(len(prices))
    for _ in range(n_resamples):
        weights = np.bincount(generator.integers(n, size=n), minlength=n) / n
        kept += ~_dominated(prices @ weights, quality @ weights)
    front = np.flatnonzero(~_dominated(prices.mean(axis=1), quality.mean(axis=1)))
    points = [
        ParetoPoint(
            name=names[int(i)],
            cost=float(prices[i].mean()),
            score=float(quality[i].mean()),
            probability=float(kept[i] / n_resamples),
        )
        for i in front
    ]
    return tuple(sorted(points, key=lambda point: point.cost))


def _dominated(cost: Array, score: Array) -> NDArray[np.bool_]:
    no_worse = (cost[None, :] <= cost[:, None]) & (score[None, :] >= score[:, None])
    better = (cost[None, :] < cost[:, None]) | (score[None, :] > score[:, None])
    return np.asarray((no_worse & better).any(axis=1))
