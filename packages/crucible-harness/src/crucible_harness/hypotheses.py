"""Each hypothesis: its contrast, its corrected p, its verdict, and what would decide it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from crucible_harness import contrasts, wording
from crucible_harness.claims import OVER_FACTORS, Hypothesis
from crucible_harness.contrasts import Contrast, Levels
from crucible_harness.criteria import CriterionResult, metric_named, prove
from crucible_harness.designs import factors_of
from crucible_harness.estimates import percentile_of
from crucible_harness.factors import weights_of
from crucible_harness.jsonable import jsonable
from crucible_harness.observations import Array, Observations
from crucible_harness.planning import planning
from crucible_harness.recorded import RecordedRun
from crucible_harness.sequential import always_valid
from crucible_harness.verdicts import HypothesisVerdict, Outcome, combine, judge

if TYPE_CHECKING:
    from crucible_bench import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisResult:
    """One hypothesis: the contrast with failures counted, the verdict, and how it was reached.

    Attributes
    ----------
    hypothesis : Hypothesis
    metric, unit : str
    contrast : Contrast
        Estimate, intervals and p over `n` items, and the method that gave them.
    complete_case : Contrast or None
        The same over cells that were answered, for comparison only; None where none failed.
    p_adjusted : float or None
        The p to report: corrected within the family by `correction`.
    correction : {"holm", "benjamini_hochberg"}
    verdict : HypothesisVerdict
        Of the interval alone.
    outcome : str
        Of the interval and all criteria together.
    criteria : tuple of CriterionResult
    n_needed : int or None
        Items at which a true difference of the smallest effect of interest would be told from zero
        with 80 % power.
    detectable : float or None
        The difference that this run would have found with 80 % power.
    sentence : str
    warnings : tuple of str
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

    @property
    def comparison(self) -> "Comparison | None":
        """The record of `crucible_bench`; None where another method than a comparison was used."""
        return self.contrast.comparison

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval at 1 - alpha; None with `contrast.reason` where there is none."""
        return self.contrast.interval

    @property
    def simultaneous_interval(self) -> tuple[float, float] | None:
        """The interval that the verdict rests on: those of the family hold together."""
        return self.contrast.simultaneous_interval

    @property
    def p_value(self) -> float | None:
        """The p that is not corrected."""
        return self.contrast.p_value

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping; what is asked for most stands beside the contrast."""
        beside = ("comparison", "interval", "simultaneous_interval", "p_value")
        found = {f.name: jsonable(getattr(self, f.name)) for f in fields(self)}
        found["contrast"] = {k: v for k, v in found["contrast"].items() if k != "comparison"}
        return {**found, **{name: jsonable(getattr(self, name)) for name in beside}}


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
    within = run.layout.within

    def compute(values: Mapping[str, Array]) -> Contrast:
        if hypothesis.contrast in OVER_FACTORS:
            weights = weights_of(hypothesis, run.factors, factors_of(run.layout))
            used = {name: weight for name, weight in weights.items() if weight}
            return contrasts.weighted_sum(
                tuple(values[name] for name in used),
                tuple(used.values()),
                kind=hypothesis.contrast,
                levels=levels,
                within=within,
            )
        assert hypothesis.control is not None
        assert hypothesis.treatment is not None
        labels = (hypothesis.control, hypothesis.treatment)
        control, treatment = values[labels[0]], values[labels[1]]
        percentile = percentile_of(metric.reducer)
        if hypothesis.contrast == "ratio":
            return contrasts.ratio(control, treatment, levels=levels, seed=seed, within=within)
        if hypothesis.contrast in ("equivalence", "non_inferiority"):
            return contrasts.within_margin(
                control,
                treatment,
                claim=hypothesis.contrast,
                margin=hypothesis.sesoi,
                higher_is_better=hypothesis.direction == "greater",
                levels=levels,
                labels=labels,
                within=within,
            )
        if percentile is not None:
            return contrasts.quantile_difference(
                control, treatment, percentile=percentile, levels=levels, seed=seed,
                order=_along_the_schedule(run), within=within,
            )  # fmt: skip
        return contrasts.difference(control, treatment, levels=levels, labels=labels, within=within)

    main = always_valid(compute(data.counted), hypothesis.id, run, levels)
    failures = any(cell.status != "ok" for cell in run.cells)
    return main, compute(data.complete) if failures else None


def _along_the_schedule(run: RecordedRun) -> list[int]:
    """Return the rows of the run's items in the order in which they were asked."""
    place = {item: n for n, item in enumerate(dict.fromkeys(cell.item for cell in run.plan))}
    return sorted(range(len(run.items)), key=lambda row: place[run.items[row].id])


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
    interval, equivalence = main.simultaneous_interval, main.equivalence
    if hypothesis.contrast == "ratio":  # a ratio is judged by its distance from 1
        interval = interval and (interval[0] - 1, interval[1] - 1)
        equivalence = equivalence and (equivalence[0] - 1, equivalence[1] - 1)
    verdict = judge(
        interval,
        equivalence=equivalence,
        sesoi=hypothesis.sesoi,
        direction=hypothesis.direction,
        contrast=hypothesis.contrast,
    )
    criteria = tuple(prove(c, run, observed) for c in hypothesis.criteria)
    outcome = combine((verdict.outcome, *(c.outcome for c in criteria)))
    n_needed, detectable = planning(main, hypothesis)
    warnings = list(main.warnings)
    warnings += [] if main.comparison is None else main.comparison.warnings
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


def _adjust(
    p_values: list[float | None], *, method: Literal["holm", "benjamini_hochberg"], family: str
) -> list[float | None]:
    from crucible_bench import correct

    known = [p for p in p_values if p is not None]
    if not known:
        return p_values
    adjusted = iter(correct(known, method=method, family=family).adjusted)
    return [None if p is None else float(next(adjusted)) for p in p_values]
