"""The analysis that was planned, computed from a run folder and from nothing else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from crucible_harness import contrasts, wording
from crucible_harness.contrasts import Contrast, Levels
from crucible_harness.experiment import Criterion, Hypothesis
from crucible_harness.metrics import Metric
from crucible_harness.missing import MissingTable, missing_table
from crucible_harness.observations import Array, Observations, by_item, observe
from crucible_harness.recorded import RecordedRun, load_run
from crucible_harness.verdicts import HypothesisVerdict, Outcome, combine, judge

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate1:
    """One metric under one condition.

    `n` counts items. `censored` counts items that failed and whose value is therefore only known
    to lie beyond every other; a percentile among them is None.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    censored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionSummary:
    """What one condition did: cells, failures, metrics, cost in US dollars, tokens, calls."""

    planned: int
    finished: int
    failed_by_class: Mapping[str, int]
    unextracted: int
    metrics: Mapping[str, Estimate1]
    latency: Mapping[str, Estimate1]
    cost_usd: float | None
    known_cost_usd: float
    input_tokens: int | None
    output_tokens: int | None
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionResult:
    """A bound that had to be proved by a one-sided 95 % limit."""

    metric: str
    condition: str
    at_least: float | None
    at_most: float | None
    estimate: float | None
    low: float | None
    high: float | None
    outcome: Outcome


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Everything that a report of the run says; a pure function of design and journal."""

    design_digest: str
    items_planned: int
    items_analysed: int
    conditions: Mapping[str, ConditionSummary]
    hypotheses: tuple[HypothesisResult, ...]
    exploratory: tuple[HypothesisResult, ...]
    missing: MissingTable
    deviations: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe mapping; infinities and unknowns are None."""
        parts = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {"schema": "crucible-harness/analysis/1", **parts}


def analyse(path: Path | str) -> Analysis:
    """Analyse a run as its design planned it.

    Raises
    ------
    HarnessError
        If the folder is not a run, or its journal is damaged or of another design.
    """
    return analyse_run(load_run(path))


def analyse_run(run: RecordedRun) -> Analysis:
    """Analyse a run that has been read already."""
    run = _complete_blocks(run)
    observed = {metric.name: observe(run, metric) for metric in _by_name(run.metrics)}
    planned = _resolve(run.hypotheses, run, observed, correction="holm")
    confirmatory = tuple(r for r in planned if r.hypothesis.kind == "confirmatory")
    declared = tuple(r for r in planned if r.hypothesis.kind == "exploratory")
    unplanned = _resolve(_unplanned(run), run, observed, correction="benjamini_hochberg")
    missing = missing_table(run)
    return Analysis(
        design_digest=run.digest,
        items_planned=run.planned // max(1, len(run.conditions)),
        items_analysed=len(run.items),
        conditions={name: _summarise(run, name, observed) for name in run.conditions},
        hypotheses=confirmatory,
        exploratory=declared + unplanned,
        missing=missing,
        deviations=_deviations(run),
        warnings=missing.warnings,
    )


def _resolve(
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
    metric = _metric(run, hypothesis.metric)
    data = observed[metric.name]
    levels = Levels(alpha=hypothesis.alpha, family=family)
    seed = int(str(run.design["seed"]))
    labels = (hypothesis.control, hypothesis.treatment)

    def compute(values: Mapping[str, Array]) -> Contrast:
        control, treatment = values[hypothesis.control], values[hypothesis.treatment]
        percentile = _percentile(metric.reducer)
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
    metric = _metric(run, hypothesis.metric)
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
    criteria = tuple(_criterion(c, run, observed) for c in hypothesis.criteria)
    outcome = combine((verdict.outcome, *(c.outcome for c in criteria)))
    n_needed, detectable = _planning(main, hypothesis)
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
    from dataclasses import replace

    return replace(result, sentence=wording.plain(wording.verdict(result)).strip())


def _unplanned(run: RecordedRun) -> tuple[Hypothesis, ...]:
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


def _same(hypothesis: Hypothesis, metric: Metric) -> bool:
    return hypothesis.metric.split(":")[0] == metric.name


def _smallest_sesoi(run: RecordedRun, metric: Metric) -> float:
    declared = [h.sesoi for h in run.hypotheses if _same(h, metric)]
    return min(declared, default=0.05)


def _summarise(
    run: RecordedRun, condition: str, observed: Mapping[str, Observations]
) -> ConditionSummary:
    cells = [cell for cell in run.cells if cell.condition == condition]
    row = next(r for r in missing_table(run).rows if r.condition == condition)
    costs = [cell.cost_usd for cell in cells]
    latency = observe(run, LATENCY).counted[condition]
    return ConditionSummary(
        planned=row.planned,
        finished=row.finished,
        failed_by_class=row.failed,
        unextracted=row.unextracted,
        metrics={
            _label(metric): estimate(
                observed[metric.name].counted[condition], metric.reducer, metric
            )
            for metric in run.metrics
        },
        latency={f"p{q:g}": estimate(latency, f"p{q:g}", LATENCY) for q in (50, 95, 99)},
        cost_usd=None if None in costs else math.fsum(c for c in costs if c is not None),
        known_cost_usd=math.fsum(c for c in costs if c is not None),
        input_tokens=_total([cell.input_tokens for cell in cells]),
        output_tokens=_total([cell.output_tokens for cell in cells]),
        calls=sum(cell.calls for cell in cells),
    )


def estimate(values: Array, reducer: str, metric: Metric) -> Estimate1:
    """Reduce one condition's observations to one number with a 95 % interval.

    Parameters
    ----------
    values : float array (items, repeats); NaN = missing, `inf` = a failure's latency
    reducer : "mean", "rate", "median", "sum", "min", "max" or "p50" to "p99.9"

    Notes
    -----
    Shares of one repeat: Wilson. Other means: t over item means. Percentiles (type 7): order
    statistics, distribution-free. A sum, minimum or maximum has no interval.
    """
    from crucible_bench.intervals import mean_interval, proportion_interval

    items = by_item(values)
    items = items[~np.isnan(items)]
    censored = int(np.isinf(items).sum())
    n = items.size
    if n == 0:
        return Estimate1(value=None, low=None, high=None, n=0, method="none")
    percentile = _percentile(reducer)
    if percentile is not None:
        return _quantile(items, percentile)
    finite = items[np.isfinite(items)]
    if reducer in ("mean", "rate"):
        if values.shape[1] == 1 and _is_share(items, metric):
            low, high = _ends(proportion_interval(int(items.sum()), n, confidence=CONFIDENCE))
            method = "Wilson"
        elif finite.size >= 2:
            low, high = _ends(mean_interval(finite, confidence=CONFIDENCE))
            method = "t over items"
        else:
            low = high = None
            method = "none"
        if metric.bounds is not None and low is not None and high is not None:
            low, high = max(low, metric.bounds[0]), min(high, metric.bounds[1])
        value = float(finite.mean()) if finite.size == n else None
        if value is None:  # a mean over the others would be the answer to another question
            low = high = None
        return Estimate1(value=value, low=low, high=high, n=n, method=method, censored=censored)
    reduced = float(getattr(items, reducer)())  # "sum", "min" or "max": names that numpy shares
    value = None if censored and reducer != "min" else reduced
    return Estimate1(value=value, low=None, high=None, n=n, method=reducer, censored=censored)


def _is_share(items: Array, metric: Metric) -> bool:
    """Say whether these are successes and failures: free calls cost 0.0, and are none."""
    return metric.bounds == (0.0, 1.0) and bool(np.isin(items, (0.0, 1.0)).all())


def _quantile(items: Array, percentile: float) -> Estimate1:
    """Estimate a percentile of latencies, some only known to be longer than all others."""
    from crucible_bench.quantiles import quantile

    seen = items[np.isfinite(items)]
    n, censored = items.size, items.size - seen.size
    if seen.size == 0 or n < 2:
        return Estimate1(value=None, low=None, high=None, n=n, method="none", censored=censored)
    longest = float(seen.max())
    result = quantile(np.where(np.isinf(items), 2 * longest + 1, items), percentile)

    def known(value: float | None) -> float | None:
        return None if value is None or value > longest else float(value)

    return Estimate1(
        value=known(result.value),
        low=known(result.interval.low),
        high=known(result.interval.high),
        n=n,
        method="order statistics",
        censored=censored,
    )


def _criterion(
    criterion: Criterion, run: RecordedRun, observed: Mapping[str, Observations]
) -> CriterionResult:
    """Prove or refute a bound by one-sided 95 % limits (Clopper-Pearson for shares, else t)."""
    from crucible_bench.intervals import mean_interval, proportion_interval

    metric = _metric(run, criterion.metric)
    items = by_item(observed[metric.name].counted[criterion.condition])
    items = items[np.isfinite(items)]
    low = high = value = None
    if items.size >= 2:
        value = float(items.mean())
        if _is_share(items, metric):
            interval = proportion_interval(
                int(items.sum()), items.size, confidence=0.90, method="clopper_pearson"
            )
        else:
            interval = mean_interval(items, confidence=0.90)
        low, high = _ends(interval)
    return CriterionResult(
        metric=criterion.metric,
        condition=criterion.condition,
        at_least=criterion.at_least,
        at_most=criterion.at_most,
        estimate=value,
        low=low,
        high=high,
        outcome=_bounded(low, high, at_least=criterion.at_least, at_most=criterion.at_most),
    )


def _bounded(
    low: float | None, high: float | None, *, at_least: float | None, at_most: float | None
) -> Outcome:
    if low is None or high is None:
        return "not computed"
    if at_least is not None:
        holds, fails = low >= at_least, high < at_least
    elif at_most is not None:
        holds, fails = high <= at_most, low > at_most
    else:
        return "not computed"
    return "supported" if holds else "not supported" if fails else "inconclusive"


def _planning(main: Contrast, hypothesis: Hypothesis) -> tuple[int | None, float | None]:
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


def _complete_blocks(run: RecordedRun) -> RecordedRun:
    """Keep the items that every condition finished, when a run was stopped before its end.

    Otherwise the conditions that came later in the schedule would be compared on fewer items.
    """
    from dataclasses import replace

    if not run.not_run:
        return run
    per_item: dict[str, int] = {}
    for cell in run.cells:
        per_item[cell.item] = per_item.get(cell.item, 0) + 1
    full = max(per_item.values(), default=0)
    expected = len(run.conditions) * int(str(run.design.get("repeats", 1)))
    whole = {item for item, cells in per_item.items() if cells == max(expected, full)}
    return replace(
        run,
        items=tuple(item for item in run.items if item.id in whole),
        cells=tuple(cell for cell in run.cells if cell.item in whole),
    )


def _deviations(run: RecordedRun) -> tuple[str, ...]:
    if run.not_run:
        return (
            f"The run ended with status '{run.status}': {run.not_run:,} of {run.planned:,} planned "
            f"cells were not run. Only the {len(run.items):,} items that every condition finished "
            "are analysed.",
        )
    return ()


def _metric(run: RecordedRun, label: str) -> Metric:
    for metric in run.metrics:
        if label in (_label(metric), metric.name):
            return metric
    raise KeyError(label)  # the design was validated when the experiment was built


def _by_name(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    return tuple({metric.name: metric for metric in metrics}.values())


def _label(metric: Metric) -> str:
    return metric.name if metric.reducer == "mean" else f"{metric.name}:{metric.reducer}"


def _percentile(reducer: str) -> float | None:
    if reducer == "median":
        return 50.0
    return float(reducer[1:]) if reducer[:1] == "p" and reducer[1:2].isdigit() else None


def _ends(interval: object) -> tuple[float | None, float | None]:
    return getattr(interval, "low", None), getattr(interval, "high", None)


def _total(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _plain(value: object) -> object:
    """Return records as mappings and numbers that JSON cannot hold as None."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


LATENCY = Metric("latency_s", reducer="median", higher_is_better=False, unit="s")
