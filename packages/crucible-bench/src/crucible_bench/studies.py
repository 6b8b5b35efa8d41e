"""Whole questions: does it win, which part matters, which setting is best."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, item_means, scores
from crucible_bench.corrections import Method
from crucible_bench.independent import compare
from crucible_bench.multiple import compare_multiple
from crucible_bench.paired import compare_paired
from crucible_bench.pareto import ParetoPoint as ParetoPoint
from crucible_bench.pareto import pareto_front as pareto_front
from crucible_bench.records import Record
from crucible_bench.results import Comparison, Correction, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult(Record):
    """An A/B test: comparison, verdict, and what follows from it."""

    name: str
    unit: str | None
    comparison: Comparison
    verdict: Verdict | None
    recommendation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Component(Record):
    """One component: its comparison is without - full, and its importance the loss without it.

    `relative_change` is None when the full mean is 0.
    """

    name: str
    comparison: Comparison
    importance: float
    relative_change: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationResult(Record):
    """What each component is worth, most important first, p-values corrected together."""

    components: tuple[Component, ...]
    correction: Correction | None


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


def ab_test(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    name: str,
    paired: bool,
    sesoi: float,
    higher_is_better: bool = True,
    unit: str | None = None,
    confidence: float = 0.95,
    cluster: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    labels: tuple[str, str] = ("control", "treatment"),
) -> StudyResult:
    """Compare two systems and say what to do.

    Parameters
    ----------
    name : str
        Of the question.
    paired : bool
        The same items under both; then `cluster` is one sequence of labels, else a pair.
    sesoi : float, > 0
        The smallest difference that matters, in the score's unit.
    unit : str, optional
        Printed with the recommendation.

    Raises
    ------
    ValueError
        If the scores or an argument cannot be used.

    Notes
    -----
    The recommendation follows the verdict, which follows the interval; a small p with a trifling
    difference recommends nothing.

    Examples
    --------
    >>> old, new = [1] * 700 + [0] * 300, [1] * 780 + [0] * 220
    >>> ab_test(old, new, name="prompt", paired=False, sesoi=0.02).recommendation
    'Use treatment: it is better than control by more than 0.02.'
    """
    if paired:
        if isinstance(cluster, tuple):
            raise ValueError("`cluster` must be one sequence of labels when paired")
        result = compare_paired(
            control, treatment, sesoi=sesoi, higher_is_better=higher_is_better, labels=labels,
            confidence=confidence, cluster=cluster,
        )  # fmt: skip
    else:
        if cluster is not None and not isinstance(cluster, tuple):
            raise ValueError("`cluster` must be a pair of label sequences, one for each arm")
        result = compare(
            control, treatment, sesoi=sesoi, higher_is_better=higher_is_better, labels=labels,
            confidence=confidence, cluster=cluster,
        )  # fmt: skip
    return StudyResult(
        name=name,
        unit=unit,
        comparison=result,
        verdict=result.verdict,
        recommendation=_recommend(result, sesoi, "" if unit is None else f" {unit}"),
    )


def ablation(
    full: ArrayLike,
    without: Mapping[str, ArrayLike],
    *,
    paired: bool = True,
    sesoi: float | None = None,
    higher_is_better: bool = True,
    correction: Method = "holm",
    confidence: float = 0.95,
) -> AblationResult:
    """Measure what each component is worth by leaving it out.

    Parameters
    ----------
    full : scores of the whole system
    without : mapping of component to scores without it
    paired : bool
        The same items in the same order.

    Notes
    -----
    difference = without - full; importance is its negative. Intervals and verdicts hold for all
    components together (Bonferroni), p-values are corrected by `correction`. Interactions between
    components are not measured by leaving out one at a time.

    Examples
    --------
    >>> full = [0.8, 0.9, 0.7, 0.8, 0.9, 0.6]
    >>> parts = {
    ...     "tools": [0.5, 0.7, 0.4, 0.6, 0.5, 0.4], "memory": [0.8, 0.8, 0.7, 0.8, 0.9, 0.6]
    ... }
    >>> [(part.name, round(part.importance, 3)) for part in ablation(full, parts).components]
    [('tools', 0.267), ('memory', 0.017)]
    """
    name = "full"
    while name in without:
        name += "*"
    found = compare_multiple(
        {name: full, **without}, paired=paired, control=name, post_hoc="pairwise",
        correction=correction, family="components", confidence=confidence, sesoi=sesoi,
        higher_is_better=higher_is_better,
    )  # fmt: skip
    parts = [
        Component(
            name=c.treatment.label,
            comparison=c,
            importance=-c.difference,
            relative_change=None if c.control.mean == 0 else c.difference / c.control.mean,
        )
        for c in found.comparisons
    ]
    sign = -1.0 if higher_is_better else 1.0
    parts.sort(key=lambda part: sign * part.importance)
    return AblationResult(components=tuple(parts), correction=found.correction)


def sweep(
    configurations: Mapping[str, ArrayLike],
    *,
    paired: bool = True,
    higher_is_better: bool = True,
    correction: Method = "holm",
    confidence: float = 0.95,
    n_resamples: int = 2_000,
    rng: int | np.random.Generator,
) -> SweepResult:
    """Compare many configurations with the best of them, without believing in the best.

    Parameters
    ----------
    configurations : mapping of name to scores, at least two
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
    data = {
        name: item_means(scores(f"configurations[{name!r}]", s))
        for name, s in configurations.items()
    }
    sign = 1.0 if higher_is_better else -1.0
    means = {name: float(a.mean()) for name, a in data.items()}
    best = max(means, key=lambda name: sign * means[name])
    if len(data) < 2:
        raise ValueError(f"`configurations` must hold at least 2, got {len(data)}")
    found = compare_multiple(
        data, paired=paired, control=best, post_hoc="pairwise", correction=correction,
        family="against the best", confidence=confidence, higher_is_better=higher_is_better,
    )  # fmt: skip
    comparisons = tuple(
        replace(c, warnings=(*c.warnings, "the control was chosen for its mean"))
        for c in found.comparisons
    )
    inside, outside = _bags(list(data.values()), paired, n_resamples, np.random.default_rng(rng))
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


def _bags(
    data: list[Array], paired: bool, n_resamples: int, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Return the mean of each configuration in and out of each bootstrap sample of items."""
    inside = np.empty((n_resamples, len(data)))
    outside = np.empty((n_resamples, len(data)))
    table = np.stack(data, axis=1) if paired else None
    for b in range(n_resamples):
        if table is not None:
            n = len(table)
            counts = np.bincount(generator.integers(n, size=n), minlength=n)
            inside[b] = counts @ table / n
            left = counts == 0
            outside[b] = table[left].mean(axis=0) if left.any() else np.nan
            continue
        for i, a in enumerate(data):
            counts = np.bincount(generator.integers(a.size, size=a.size), minlength=a.size)
            inside[b, i] = counts @ a / a.size
            left = counts == 0
            outside[b, i] = a[left].mean() if left.any() else np.nan
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


def _recommend(c: Comparison, sesoi: float, unit: str) -> str:
    t, k = c.treatment.label, c.control.label
    if c.verdict is None:
        return f"No recommendation: {'; '.join(c.warnings) or 'no interval'}."
    size = f"{sesoi:g}{unit}"
    return {
        "superior": f"Use {t}: it is better than {k} by more than {size}.",
        "inferior": f"Keep {k}: {t} is worse by more than {size}.",
        "equivalent": f"Choose by cost or convenience: {t} and {k} differ by less than {size}.",
        "inconclusive": "Collect more data before choosing: neither a difference of "
        f"{size} nor its absence is shown.",
    }[c.verdict.outcome]
