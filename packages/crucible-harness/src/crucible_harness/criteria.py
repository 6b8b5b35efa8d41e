"""Bounds that must be proved beside a difference."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crucible_harness.claims import Criterion
from crucible_harness.estimates import ends, estimate, is_share, percentile_of
from crucible_harness.metrics import Metric, metric_of
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
    """Prove or refute a bound by one-sided 95 % limits.

    Clopper-Pearson for shares, order statistics for percentiles, else t over items.
    """
    from crucible_bench.intervals import proportion_interval

    metric = metric_named(run, criterion.metric)
    values = observed[metric.name].counted[criterion.condition]
    items = by_item(values)
    items = items[~np.isnan(items)]
    if items.size >= 2 and percentile_of(metric.reducer) is None and is_share(items, metric):
        value: float | None = float(items.mean())
        low, high = ends(
            proportion_interval(
                int(items.sum()), items.size, confidence=0.90, method="clopper_pearson"
            )
        )
    else:
        found = estimate(values, metric.reducer, metric, confidence=0.90)
        value, low, high = found.value, found.low, found.high
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
    """Judge by the limit on the side of the bound; a limit that is not known proves nothing."""
    if low is None and high is None:
        return "not computed"
    if at_least is not None:
        holds = low is not None and low >= at_least
        fails = high is not None and high < at_least
    else:
        assert at_most is not None  # a criterion has one of the two
        holds = high is not None and high <= at_most
        fails = low is not None and low > at_most
    return "supported" if holds else "not supported" if fails else "inconclusive"


def metric_named(run: RecordedRun, label: str) -> Metric:
    """Return the metric that a hypothesis names."""
    found = metric_of(run.metrics, label)
    assert found is not None  # the design was validated when the experiment was built
    return found
