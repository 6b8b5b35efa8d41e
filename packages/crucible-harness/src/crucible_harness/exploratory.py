"""What nobody planned to ask, but everybody will look at."""

from itertools import combinations

from crucible_harness.claims import Hypothesis
from crucible_harness.designs import DoseResponse, Factorial, factors_of
from crucible_harness.factors import contrasts_over
from crucible_harness.metrics import Metric
from crucible_harness.recorded import RecordedRun


def unplanned(run: RecordedRun) -> tuple[Hypothesis, ...]:
    """Name what no hypothesis asks, on the first metric.

    Pairs of conditions; in a design over factors their main effects, interactions and slopes.
    """
    metric = run.metrics[0]
    if isinstance(run.layout, Factorial | DoseResponse):
        planned = {_asked(h) for h in run.hypotheses}
        return tuple(
            h
            for h in contrasts_over(
                factors_of(run.layout),
                metric=metric.label,
                sesoi=_smallest_sesoi(run, metric),
                trend=isinstance(run.layout, DoseResponse),
            )
            if _asked(h) not in planned
        )
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


def _asked(h: Hypothesis) -> tuple[object, ...]:
    return h.contrast, h.factors, h.treatment, h.control, h.levels
