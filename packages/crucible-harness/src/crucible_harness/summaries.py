"""What one condition did."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from crucible_harness.estimates import (
    LATENCY,
    Estimate1,
    estimate,
)
from crucible_harness.missing import missing_table
from crucible_harness.observations import Observations, observe
from crucible_harness.recorded import RecordedRun


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
    calls: int | None


def summarise(
    run: RecordedRun, condition: str, observed: Mapping[str, Observations]
) -> ConditionSummary:
    """Summarise one condition."""
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
            metric.label: estimate(observed[metric.name].counted[condition], metric.reducer, metric)
            for metric in run.metrics
        },
        latency={f"p{q:g}": estimate(latency, f"p{q:g}", LATENCY) for q in (50, 95, 99)},
        cost_usd=None if None in costs else math.fsum(c for c in costs if c is not None),
        known_cost_usd=math.fsum(c for c in costs if c is not None),
        input_tokens=_total([cell.input_tokens for cell in cells]),
        output_tokens=_total([cell.output_tokens for cell in cells]),
        calls=_total([cell.calls for cell in cells]),
    )


def _total(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
