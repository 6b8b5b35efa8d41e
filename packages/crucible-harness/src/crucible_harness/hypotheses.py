"""Each hypothesis: its contrast, its corrected p, its verdict, and what would decide it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from crucible_harness import contrasts, wording
from crucible_harness.contrasts import Contrast, Levels
from crucible_harness.criteria import CriterionResult, metric_named, prove
from crucible_harness.estimates import percentile_of
from crucible_harness.experiment import Hypothesis
from crucible_harness.metrics import Metric
from crucible_harness.observations import Array, Observations
from crucible_harness.recorded import RecordedRun
from crucible_harness.verdicts import HypothesisVerdict, Outcome, combine, judge


@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisResult:
    """One hypothesis: the contrast with failures counted, the verdict, and how it was reached.

    `complete_case` is the same contrast over cells that were answered, for comparison only.
    `n_needed` is the number of items at which a true difference of the smallest effect of interest
    would be told from zero with 80 % power, `detectable` the difference that this run could.
    """

    hypothesis: Hypothesis
    metric: str
    unit: str
    contrast: Contrast
    complete_case: Contrast | None
    p_adjusted: float | None
    correction: str
    verdict: HypothesisVerdict
    outcome: Outcome
    criteria: tuple[CriterionResult, ...]
    n_needed: int | None
    detectable: float | None
    sentence: str
    warnings: tuple[str, ...]


def resolve(
    hypotheses: tuple[Hypothesis, ...],
    run: RecordedRun,
    observed: Mapping[str, Observations],
    *,
    correction: Literal["holm", "benjamini_hochberg"],
) -> tuple[HypothesisResult, ...]:
    """Compute every hypothesis; p-values and verdict intervals are corrected within families."""
    families: dict[tuple[str, str], list[Hypothesis]] = {}
    for hypothesis in hypotheses:
        families.setdefault((hypothesis.kind, hypothesis.family), []).append(hypothesis)
    results: dict[str, HypothesisResult] = {}
    for (kind, family), members in families.items():
        method: Literal["holm", "benjamini_hochberg"] = (
            "holm" if kind == "confirmatory" and correction == "holm" else "benjamini_hochberg"
        )
        size = len(members) if kind == "confirmatory" else 1
        computed = [_contrast(h, run, observed, family=size) for h in members]
        adjusted = _adjust([c.p_value for c, _ in computed], method=method, family=family)
        for hypothesis, (main, complete), p in zip(members, computed, adjusted, strict=True):
            results[hypothesis.id] = _result(
                hypothesis, main, complete, p, run, observed, correction=method
            )
    return tuple(results[hypothesis.id] for hypothesis in hypotheses)


def unplanned(run: RecordedRun) -> tuple[Hypothesis, ...]:
    """Name the pairs of conditions that no hypothesis compares, on the first metric."""
    metric = run.metrics[0]
    asked = {frozenset((h.treatment, h.control)) for h in run.hypotheses if _same(h, metric)}
    pairs = combinations(run.conditions, 2)
    if len(run.conditions) > 4:
        control = run.baseline or run.conditions[0]
        pairs = ((control, name) for name in run.conditions if name != control)  # type: ignore[assignment]
    return tuple(
        Hypothesis(
            id=f"{treatment} vs {control}",
            metric=metric.name,
            treatment=treatment,
            control=control,
            sesoi=_smallest_sesoi(run, metric),
            direction="two-sided",
            kind="exploratory",
            family="exploratory",
        )
        for control, treatment in pairs
        if frozenset((treatment, control)) not in asked
    )


def _contrast(
    hypothesis: Hypothesis,
    run: RecordedRun,
    observed: Mapping[str, Observations],
    *,
    family: int,
) -> tuple[Contrast, Contrast | None]:
    metric = metric_named(run, hypothesis.metric)
    data = observed[metric.name]
    levels = Levels(alpha=hypothesis.alpha, family=family)
    seed = int(str(run.design["seed"]))
    labels = (hypothesis.control, hypothesis.treatment)

    def compute(values: Mapping[str, Array]) -> Contrast:
        control, treatment = values[hypothesis.control], values[hypothesis.treatment]
        percentile = percentile_of(metric.reducer)
        if hypothesis.contrast == "ratio":
            return contrasts.ratio(control, treatment, levels=levels, seed=seed)
        if percentile is not None:
            return contrasts.quantile_difference(
                control, treatment, percentile=percentile, levels=levels, seed=seed
            )
        return contrasts.difference(control, treatment, levels=levels, labels=labels)

    main = compute(data.counted)
    failures = any(cell.status != "ok" for cell in run.cells)
    return main, compute(data.complete) if failures else None


def _result(
    hypothesis: Hypothesis,
    main: Contrast,
    complete: Contrast | None,
    p_adjusted: float | None,
    run: RecordedRun,
    observed: Mapping[str, Observations],
    *,
    correction: str,
) -> HypothesisResult:
    metric = metric_named(run, hypothesis.metric)
    interval, equivalence = main.wide, main.equivalence
    if hypothesis.contrast == "ratio":  # a ratio is judged by its distance from 1
        interval = interval and (interval[0] - 1, interval[1] - 1)
        equivalence = equivalence and (equivalence[0] - 1, equivalence[1] - 1)
    verdict = judge(
        interval,
        equivalence=equivalence,
        sesoi=hypothesis.sesoi,
        direction=hypothesis.direction,
    )
    criteria = tuple(prove(c, run, observed) for c in hypothesis.criteria)
    outcome = combine((verdict.outcome, *(c.outcome for c in criteria)))
    n_needed, detectable = planning(main, hypothesis)
    warnings = [] if main.comparison is None else list(main.comparison.warnings)
    if main.left_out:
        warnings.append(
            f"{main.left_out} items with a failed answer have no {hypothesis.metric} and are left "
            "out: this is the difference among answered items"
        )
    result = HypothesisResult(
        hypothesis=hypothesis,
        metric=hypothesis.metric,
        unit=metric.unit,
        contrast=main,
        complete_case=complete,
        p_adjusted=p_adjusted,
        correction=correction,
        verdict=verdict,
        outcome=outcome,
        criteria=criteria,
        n_needed=n_needed,
        detectable=detectable,
        sentence="",
        warnings=tuple(warnings),
    )
    return _with_sentence(result)


def _with_sentence(result: HypothesisResult) -> HypothesisResult:

    return replace(result, sentence=wording.plain(wording.verdict(result)).strip())


def _same(hypothesis: Hypothesis, metric: Metric) -> bool:
    return hypothesis.metric.split(":")[0] == metric.name


def _smallest_sesoi(run: RecordedRun, metric: Metric) -> float:
    declared = [h.sesoi for h in run.hypotheses if _same(h, metric)]
    return min(declared, default=0.05)


def planning(main: Contrast, hypothesis: Hypothesis) -> tuple[int | None, float | None]:
    """Say how many items would settle a difference of the SESOI, and what this many can detect."""
    from crucible_bench import detectable_effect, sample_size
    from crucible_bench.power import McNemar, PairedT

    comparison = main.comparison
    if comparison is None or main.n < 2:
        return None, None
    if comparison.outcome == "binary":
        discordance = float(comparison.metadata["discordant"]) / main.n
        if discordance <= hypothesis.sesoi:
            return None, None
        design = McNemar(discordance)
        needed = sample_size(design, effect=hypothesis.sesoi, alpha=hypothesis.alpha).n
        try:
            return needed, detectable_effect(design, n=main.n, alpha=hypothesis.alpha).effect
        except ValueError:  # with so few items no difference, however large, could be found
            return needed, None
    d_z = comparison.effect_size.value
    if not d_z or main.estimate is None:
        return None, None
    sd = abs(main.estimate / d_z)
    needed = sample_size(PairedT(), effect=hypothesis.sesoi / sd, alpha=hypothesis.alpha).n
    detectable = detectable_effect(PairedT(), n=main.n, alpha=hypothesis.alpha).effect
    return needed, detectable * sd


def _adjust(
    p_values: list[float | None], *, method: Literal["holm", "benjamini_hochberg"], family: str
) -> list[float | None]:
    from crucible_bench import correct

    known = [p for p in p_values if p is not None]
    if not known:
        return p_values
    adjusted = iter(correct(known, method=method, family=family).adjusted)
    return [None if p is None else float(next(adjusted)) for p in p_values]
