"""The analysis of a run that was looked at while it went on."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from crucible_harness.measured import value_of
from crucible_harness.metrics import Metric, metric_of
from crucible_harness.schedule import Cell
from crucible_harness.stopping import (
    AlwaysValid,
    Decision,
    Look,
    Monitored,
    SequentialWatch,
    Stopping,
    read_stopping,
)

if TYPE_CHECKING:
    from crucible_harness.contrasts import Contrast, Levels
    from crucible_harness.experiment import Experiment
    from crucible_harness.recorded import RecordedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialResult:
    """What a sequential design saw.

    Attributes
    ----------
    hypothesis, metric, treatment, control : str
    alpha : float
    looks : tuple of Look
    stopped_at : int or None
        Item at which it stopped; None if every planned item was run without a decision.
    decision : {"superior", "inferior"} or None
        Whether treatment - control was decided to be above or below zero.
    e_value, p_value : float or None
        At the stop: evidence against no difference, and the p-value that stays valid however often
        one looked, 1 over the largest e-value seen.
    estimate : float or None
        Mean difference over the pairs that count.
    interval : (float, float) or None
        Always-valid interval of the mean difference at 1 - alpha (betting).
    items, surplus_cells : int
        Items that count, and finished cells beyond them.
    """

    hypothesis: str
    metric: str
    treatment: str
    control: str
    alpha: float
    looks: tuple[Look, ...]
    stopped_at: int | None
    decision: Decision | None
    e_value: float | None
    p_value: float | None
    estimate: float | None
    interval: tuple[float, float] | None
    items: int
    surplus_cells: int


def confirmatory_part(run: "RecordedRun") -> "RecordedRun":
    """Leave out what was run beyond the stopping item, and say what the looks showed.

    Runs of a fixed number of items come back as they are.
    """
    watch = _watched(run)
    if watch is None:
        return run
    if not watch.decided:
        return replace(run, sequential=_result(watch, surplus=0))
    counted = watch.counted
    cells = tuple(cell for cell in run.cells if cell.item in counted)
    plan = tuple(cell for cell in run.plan if cell.item in counted)
    return replace(
        run,
        items=tuple(item for item in run.items if item.id in counted),
        cells=cells,
        plan=plan,
        planned=len(plan),
        planned_per_condition=dict(Counter(cell.condition for cell in plan)),
        finished=len(cells),
        failed=sum(cell.status != "ok" for cell in cells),
        not_run=len(plan) - len(cells),
        sequential=_result(watch, surplus=len(run.cells) - len(cells)),
    )


def always_valid(
    main: "Contrast", hypothesis: str, run: "RecordedRun", levels: "Levels"
) -> "Contrast":
    """Replace the intervals and p of the monitored hypothesis by those that hold at any stop.

    Parameters
    ----------
    main : Contrast
        As computed for a fixed number of items; other hypotheses keep it.
    """
    result = run.sequential
    watch = _watched(run)
    if result is None or watch is None or result.hypothesis != hypothesis:
        return main
    monitored, pairs = watch.monitored, watch.pairs
    return replace(
        main,
        n=len(pairs),
        estimate=result.estimate,
        interval=_interval(monitored, pairs, levels.confidence),
        simultaneous_interval=_interval(monitored, pairs, levels.simultaneous),
        equivalence=_interval(monitored, pairs, levels.equivalence),
        p_value=result.p_value,
        method="always-valid: betting confidence sequence, p = 1 / largest e-value",
        reason=None if pairs else "no item is finished under both conditions",
        comparison=None,
    )


def _watched(run: "RecordedRun") -> SequentialWatch | None:
    """Return the watch that saw the recorded cells."""
    monitored = _monitored(
        read_stopping(run.design.get("stopping")), run.hypotheses, run.metrics,
        repeats=int(run.design["repeats"]),
    )  # fmt: skip
    if monitored is None:
        return None
    watch = SequentialWatch(monitored, run.plan)
    for cell in run.cells:
        value = _value(monitored, cell.status, cell.scores, value_of(cell, monitored.metric.name))
        watch.add(condition=cell.condition, item=cell.item, value=value)
    return watch


def _result(watch: SequentialWatch, *, surplus: int) -> SequentialResult:
    monitored, pairs = watch.monitored, watch.pairs
    return SequentialResult(
        hypothesis=monitored.rule.hypothesis,
        metric=monitored.metric.label,
        treatment=monitored.treatment,
        control=monitored.control,
        alpha=monitored.alpha,
        looks=tuple(watch.looks),
        stopped_at=watch.stopped_at,
        decision=watch.decision,
        e_value=watch.looks[-1].e_value if watch.looks else None,
        p_value=math.exp(-watch.most_log_e) if pairs else None,
        estimate=sum(t - c for c, t in pairs) / len(pairs) if pairs else None,
        interval=_interval(monitored, pairs, 1 - monitored.alpha),
        items=len(watch.counted),
        surplus_cells=surplus,
    )


def _interval(
    monitored: Monitored, pairs: Sequence[tuple[float, float]], confidence: float
) -> tuple[float, float] | None:
    """Return the always-valid interval of the mean difference at the last pair."""
    if not pairs:
        return None
    from crucible_bench.sequential import confidence_sequence

    low, high = monitored.bounds
    wide = high - low
    limits = confidence_sequence(
        [t - c for c, t in pairs], bounds=(-wide, wide), confidence=confidence
    )
    return float(limits[-1][0]), float(limits[-1][1])


def watch_of(experiment: "Experiment", plan: Sequence[Cell]) -> SequentialWatch | None:
    """Return what looks at an experiment; None if its number of items is fixed."""
    monitored = _monitored(
        experiment.stopping,
        experiment.hypotheses,
        experiment.metrics,
        repeats=experiment.repeats,
    )
    return None if monitored is None else SequentialWatch(monitored, plan)


def monitored_value(monitored: Monitored, status: str, record: Mapping[str, Any]) -> float | None:
    """Return what a finished cell of the journal says of the monitored metric."""
    name = monitored.metric.name
    return _value(monitored, status, record.get("scores", {}), record.get(name))


def _value(
    monitored: Monitored, status: str, scores: Mapping[str, float | None], measured: float | None
) -> float | None:
    if status != "ok":  # intention to treat: a failure is the worse end
        low, high = monitored.bounds
        return low if monitored.metric.higher_is_better else high
    return scores.get(monitored.metric.name, measured)


def _monitored(
    stopping: Stopping, hypotheses: Sequence[Any], metrics: Sequence[Metric], *, repeats: int
) -> Monitored | None:
    if not isinstance(stopping, AlwaysValid):
        return None
    hypothesis = next(h for h in hypotheses if h.id == stopping.hypothesis)
    metric = metric_of(metrics, hypothesis.metric)
    assert metric is not None  # the design was validated when the experiment was built
    return Monitored(
        rule=stopping,
        treatment=hypothesis.treatment,
        control=hypothesis.control,
        metric=metric,
        alpha=hypothesis.alpha,
        repeats=repeats,
    )
