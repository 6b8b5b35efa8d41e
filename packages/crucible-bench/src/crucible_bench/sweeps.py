"""Many configurations on one benchmark, and how far to believe in the best of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import Array
from crucible_bench.clusters import codes
from crucible_bench.corrections import Method
from crucible_bench.group_inputs import Scores, checked_groups
from crucible_bench.multiple import compare_multiple
from crucible_bench.records import Record
from crucible_bench.results import Comparison, Correction
from crucible_bench.verdicts import as_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult(Record):
    """Configurations by mean, and how sure the order is.

    `rank_probabilities` give the share of resamples in which a configuration took rank 1, 2, ...;
    `optimism` is by how much the best mean is expected to be too good, because it was chosen.
    """

    best: str
    indistinguishable_from_best: tuple[str, ...]
    means: Mapping[str, float]
    comparisons: tuple[Comparison, ...]
    correction: Correction | None
    rank_probabilities: Mapping[str, tuple[float, ...]]
    optimism: float
    n_resamples: int


def sweep(
    configurations: Mapping[str, Scores],
    *,
    paired: bool = True,
    higher_is_better: bool = True,
    correction: Method = "holm",
    confidence: float = 0.95,
    cluster: ArrayLike | Mapping[str, Any] | None = None,
    missing: Literal["raise", "drop"] = "raise",
    nan: Literal["raise", "omit"] = "raise",
    n_resamples: int = 2_000,
    rng: int | np.random.Generator,
) -> SweepResult:
    """Compare many configurations with the best of them, without believing in the best.

    Parameters
    ----------
    configurations : mapping of name to scores, at least two
    cluster, missing, nan
        As for `compare_multiple`; clusters are resampled whole.
    n_resamples : int, >= 1
        Bootstrap samples of items, for ranks and optimism.

    Notes
    -----
    The best is called best for its mean, never significant for being largest: p-values are of the
    others against it, corrected, and those above alpha are indistinguishable from it. Ranks share
    ties. `optimism` is the mean over resamples of the in-bag winner's score on the items drawn
    minus that on the items left out; for lower-is-better scores its sign is turned as well.

    Examples
    --------
    >>> scores = {"t=0": [1, 0, 1, 1, 0, 1, 1, 0], "t=1": [1, 0, 1, 0, 0, 1, 1, 0]}
    >>> found = sweep(scores, rng=1)
    >>> found.best, found.indistinguishable_from_best
    ('t=0', ('t=1',))
    """
    if n_resamples < 1:
        raise ValueError(f"`n_resamples` must be >= 1, got {n_resamples}")
    checked = checked_groups(
        configurations, paired=paired, cluster=cluster, ids=None, missing=missing, nan=nan
    )
    data = checked.means
    sign = 1.0 if higher_is_better else -1.0
    means = {name: float(a.mean()) for name, a in data.items()}
    best = max(means, key=lambda name: sign * means[name])
    found = compare_multiple(
        checked.scores, paired=paired, cluster=checked.cluster, control=best,
        post_hoc="pairwise", correction=correction,
        family="against the best", confidence=confidence, higher_is_better=higher_is_better,
    )  # fmt: skip
    comparisons = tuple(
        replace(c, warnings=(*c.warnings, "the control was chosen for its mean"))
        for c in found.comparisons
    )
    units = _units(data, checked.cluster)
    inside, outside = _bags(list(data.values()), units, paired, n_resamples, as_seed(rng))
    winners = np.argmax(sign * inside, axis=1)
    rows = np.arange(n_resamples)
    gap = sign * (inside[rows, winners] - outside[rows, winners])
    return SweepResult(
        best=best,
        indistinguishable_from_best=tuple(
            c.treatment.label for c in comparisons if not c.significant
        ),
        means=means,
        comparisons=comparisons,
        correction=found.correction,
        rank_probabilities=dict(zip(data, _ranks(sign * inside), strict=True)),
        optimism=float(np.nanmean(gap)),
        n_resamples=n_resamples,
    )


def _units(data: Mapping[str, Array], cluster: Any) -> list[NDArray[np.intp]]:
    """Return for each configuration the number of the unit that each item is resampled with."""
    if cluster is None:
        return [np.arange(a.size) for a in data.values()]
    labels = cluster if isinstance(cluster, dict) else dict.fromkeys(data, cluster)
    return [codes("cluster", labels[name], a.size) for name, a in data.items()]


def _bags(
    data: list[Array],
    units: list[NDArray[np.intp]],
    paired: bool,
    n_resamples: int,
    seed: int | None,
) -> tuple[Array, Array]:
    """Return the mean of each configuration in and out of each bootstrap sample of units.

    Paired, one sample is drawn for all configurations. A mean of nothing is NaN.
    """
    generator = np.random.default_rng(seed)
    inside = np.full((n_resamples, len(data)), np.nan)
    outside = np.full((n_resamples, len(data)), np.nan)
    for b in range(n_resamples):
        counts: NDArray[np.intp] | None = None
        for i, (a, unit) in enumerate(zip(data, units, strict=True)):
            if counts is None or not paired:
                size = int(unit.max()) + 1
                drawn = np.bincount(generator.integers(size, size=size), minlength=size)
                counts = drawn[unit]
            inside[b, i] = counts @ a / counts.sum()
            left = counts == 0
            if left.any():
                outside[b, i] = a[left].mean()
    return inside, outside


def _ranks(means: Array) -> list[tuple[float, ...]]:
    better = (means[:, None, :] > means[:, :, None]).sum(axis=2)
    equal = (means[:, None, :] == means[:, :, None]).sum(axis=2)
    k = means.shape[1]
    shares = np.zeros((k, k))
    for rank in range(k):
        here = (better <= rank) & (rank < better + equal)
        shares[:, rank] = (here / equal).mean(axis=0)
    return [tuple(row.tolist()) for row in shares]
