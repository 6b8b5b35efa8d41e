"""What else the run shows: price against quality, groups of items, drift, changing models."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from crucible_harness.estimates import Estimate1, estimate
from crucible_harness.measured import value_of
from crucible_harness.metrics import Metric
from crucible_harness.observations import Observations, by_item
from crucible_harness.recorded import RecordedRun

_MOST_GROUPS = 12  # a field with more values is a text, not a grouping
_FEWEST_ITEMS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """A condition that no other beats in cost and quality, and how sure that is.

    `probability` is the share of resamples of the items in which it stays on the front.
    """

    condition: str
    cost_usd: float
    value: float
    probability: float


def cost_front(run: RecordedRun, observed: Mapping[str, Observations]) -> tuple[FrontPoint, ...]:
    """Return the conditions of which none is cheaper without being worse on the first metric.

    Empty where a cost is unknown, nothing costs anything, or conditions do not share items.
    """
    from crucible_bench.pareto import pareto_front

    metric = run.metrics[0]
    if not run.layout.within or len(run.conditions) < 2 or metric.name == "cost_usd":
        return ()
    cost: dict[str, dict[str, float]] = {name: defaultdict(float) for name in run.conditions}
    for cell in run.cells:
        if cell.cost_usd is None:
            return ()
        cost[cell.condition][cell.item] += cell.cost_usd
    prices = np.array([[cost[name][i.id] for i in run.items] for name in run.conditions])
    scores = np.stack([by_item(observed[metric.name].counted[name]) for name in run.conditions])
    known = np.isfinite(scores).all(axis=0)
    if known.sum() < 2 or not prices.any():
        return ()
    sign = 1.0 if metric.higher_is_better else -1.0
    points = pareto_front(
        prices[:, known],
        sign * scores[:, known],
        names=run.conditions,
        rng=int(str(run.design["seed"])),
    )
    return tuple(
        FrontPoint(
            condition=p.name, cost_usd=p.cost, value=sign * p.score, probability=p.probability
        )
        for p in points
    )


def by_field(
    run: RecordedRun, observed: Mapping[str, Observations]
) -> dict[str, dict[str, dict[str, Estimate1]]]:
    """Return the first metric for each group of items, by metadata field, value and condition.

    Fields with 2 to 12 values, each on 5 items or more. Nobody planned to look: exploratory.
    """
    metric = run.metrics[0]
    fields = sorted({name for item in run.items for name in item.metadata})
    found: dict[str, dict[str, dict[str, Estimate1]]] = {}
    for field in fields:
        rows: dict[str, list[int]] = defaultdict(list)
        for row, item in enumerate(run.items):
            value = item.metadata.get(field)
            if isinstance(value, str | int | bool):
                rows[str(value)].append(row)
        small = any(len(places) < _FEWEST_ITEMS for places in rows.values())
        if small or not 2 <= len(rows) <= _MOST_GROUPS:
            continue
        found[field] = {
            value: {
                name: estimate(observed[metric.name].counted[name][places], metric.reducer, metric)
                for name in run.conditions
            }
            for value, places in sorted(rows.items())
        }
    return found


def drift(run: RecordedRun) -> Iterator[str]:
    """Warn where the first metric rises or falls along the schedule.

    Notes
    -----
    Spearman's correlation of score and position in each condition, Holm-corrected over conditions.
    """
    from crucible_bench import correct
    from crucible_bench.correlation import correlation

    if run.imported is not None:  # the order of a log is not that of its calls
        return
    metric = run.metrics[0]
    tests: dict[str, tuple[float, float]] = {}
    for condition in run.conditions:
        places, scores = _along_the_schedule(run, condition, metric)
        if len(scores) < 20 or len(set(scores)) < 2:
            continue
        test = correlation(places, scores, method="spearman")
        if test.p_value is not None and test.estimate is not None:
            tests[condition] = test.p_value, test.estimate
    if not tests:
        return
    adjusted = correct([p for p, _ in tests.values()], method="holm", family="drift").adjusted
    for (condition, (_, rho)), p in zip(tests.items(), adjusted, strict=True):
        if p < 0.05:
            yield (
                f"{metric.label} of {condition} {'rises' if rho > 0 else 'falls'} along the "
                f"schedule (Spearman {rho:+.2f}, p = {p:.2g}, Holm over conditions): something "
                "changed while the run went on. Conditions of an item are adjacent in time, so "
                "their differences are less affected than their levels."
            )


def changes_of_model(run: RecordedRun) -> Iterator[str]:
    """Warn where a provider answered with another version from some place on.

    Where a cell is answered by several models, or by different ones as in a cascade, only a name
    that appears after another has gone for good is a change.
    """
    for condition in run.conditions:
        cells = [c for c in run.cells if c.condition == condition and c.served_by]
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for cell in sorted(cells, key=lambda cell: cell.position):
            for name in cell.served_by:
                first.setdefault(name, cell.position)
                last[name] = cell.position
        several = any(len(cell.served_by) > 1 for cell in cells)
        changed = len(first) > 1 and (not several or min(last.values()) < max(first.values()))
        if changed:
            said = "; ".join(f"{name} from cell {at}" for name, at in first.items())
            yield f"The models that served {condition} changed during the run: {said}."


def _along_the_schedule(
    run: RecordedRun, condition: str, metric: Metric
) -> tuple[list[float], list[float]]:
    places, scores = [], []
    for cell in run.cells:
        value = value_of(cell, metric.name)
        if cell.condition == condition and cell.status == "ok" and value is not None:
            places.append(float(cell.position))
            scores.append(float(value))
    return places, scores
