"""Whole questions: does it win, which part matters, which setting is best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from crucible_bench.corrections import Method
from crucible_bench.group_inputs import Scores
from crucible_bench.independent import compare
from crucible_bench.multiple import compare_multiple
from crucible_bench.paired import compare_paired
from crucible_bench.pareto import ParetoPoint as ParetoPoint
from crucible_bench.pareto import pareto_front as pareto_front
from crucible_bench.records import Record
from crucible_bench.results import Comparison, Correction, Verdict
from crucible_bench.sweeps import SweepResult as SweepResult
from crucible_bench.sweeps import sweep as sweep


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


def ab_test(
    control: Scores,
    treatment: Scores,
    *,
    name: str,
    paired: bool,
    sesoi: float,
    higher_is_better: bool = True,
    unit: str | None = None,
    confidence: float = 0.95,
    cluster: ArrayLike | Mapping[str, object] | tuple[ArrayLike, ArrayLike] | None = None,
    ids: Sequence[str] | tuple[Sequence[str], Sequence[str]] | None = None,
    missing: Literal["raise", "drop"] = "raise",
    nan: Literal["raise", "omit"] = "raise",
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
    confidence, cluster, ids, missing, nan, labels
        As for `compare_paired`, or for `compare`, where `cluster` and `ids` are pairs and `missing`
        has no meaning.

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
        if ids is not None and not all(isinstance(i, str) for i in ids):
            raise ValueError("`ids` must be one sequence of strings when paired")
        result = compare_paired(
            control, treatment, sesoi=sesoi, higher_is_better=higher_is_better, labels=labels,
            confidence=confidence, cluster=cluster, missing=missing, nan=nan,
            ids=ids,  # type: ignore[arg-type]  # strings, as was just checked
        )  # fmt: skip
    else:
        if cluster is not None and not isinstance(cluster, tuple):
            raise ValueError("`cluster` must be a pair of label sequences, one for each arm")
        if ids is not None and not isinstance(ids, tuple):
            raise ValueError("`ids` must be a pair of sequences, one for each arm")
        if missing != "raise":
            raise ValueError(f'`missing` must be "raise" for independent arms, got {missing!r}')
        result = compare(
            control, treatment, sesoi=sesoi, higher_is_better=higher_is_better, labels=labels,
            confidence=confidence, cluster=cluster, ids=ids, nan=nan,
        )  # fmt: skip
    return StudyResult(
        name=name,
        unit=unit,
        comparison=result,
        verdict=result.verdict,
        recommendation=_recommend(result, sesoi, "" if unit is None else f" {unit}"),
    )


def ablation(
    full: Scores,
    without: Mapping[str, Scores],
    *,
    paired: bool = True,
    sesoi: float | None = None,
    higher_is_better: bool = True,
    correction: Method = "holm",
    confidence: float = 0.95,
    cluster: ArrayLike | Mapping[str, object] | None = None,
    missing: Literal["raise", "drop"] = "raise",
    nan: Literal["raise", "omit"] = "raise",
) -> AblationResult:
    """Measure what each component is worth by leaving it out.

    Parameters
    ----------
    full : scores of the whole system
    without : mapping of component to scores without it
    paired : bool
        The same items in the same order, or mappings of item id to score.
    cluster, missing, nan
        As for `compare_multiple`; independent clusters name the whole system "full".

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
        higher_is_better=higher_is_better, cluster=cluster, missing=missing, nan=nan,
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
