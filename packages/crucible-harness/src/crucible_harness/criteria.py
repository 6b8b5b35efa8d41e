"""Bounds that must be proved beside a difference."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crucible_harness.claims import Criterion
from crucible_harness.estimates import ends, is_share
from crucible_harness.metrics import Metric
from crucible_harness.observations import Observations, by_item
from crucible_harness.recorded import RecordedRun
from crucible_harness.verdicts import Outcome


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


def prove(
    criterion: Criterion, run: RecordedRun, observed: Mapping[str, Observations]
) -> CriterionResult:
    """Prove or refute a bound by one-sided 95 % limits (Clopper-Pearson for shares, else t)."""
    from crucible_bench.intervals import mean_interval, proportion_interval

    metric = metric_named(run, criterion.metric)
    items = by_item(observed[metric.name].counted[criterion.condition])
    items = items[np.isfinite(items)]
    low = high = value = None
    if items.size >= 2:
        value = float(items.mean())
        if is_share(items, metric):
            interval = proportion_interval(
                int(items.sum()), items.size, confidence=0.90, method="clopper_pearson"
            )
        else:
            interval = mean_interval(items, confidence=0.90)
        low, high = ends(interval)
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


def metric_named(run: RecordedRun, label: str) -> Metric:
    """Return the metric that a hypothesis names."""
    for metric in run.metrics:
        if label in (metric.label, metric.name):
            return metric
    raise KeyError(label)  # the design was validated when the experiment was built
