"""How good each condition is, and what that costs."""

from collections.abc import Iterator

from crucible_harness.analysis import Analysis
from crucible_harness.estimates import Estimate1
from crucible_harness.metrics import Metric
from crucible_harness.recorded import RecordedRun
from crucible_harness.report import charts
from crucible_harness.report.model import Chart
from crucible_harness.summaries import ConditionSummary

_Known = list[tuple[str, ConditionSummary, Estimate1]]


def levels(run: RecordedRun, analysis: Analysis, label: str) -> Iterator[Chart]:
    """Draw a metric with its interval for each condition."""
    known = _known(analysis, label)
    if not known:
        return
    metric = _metric(run, label)
    sign = 1 if metric.higher_is_better else -1
    best = max((e for _, _, e in known), key=lambda e: (e.value or 0) * sign)
    names = " and ".join(name for name, _, e in known if e.value == best.value)
    spoken = "; ".join(f"{name} {e.value:.3f}" for name, _, e in known)
    yield Chart(
        id="estimates",
        title=f"Best {label} in this run: {names} ({best.value:.3f}, n = {best.n:,} items)",
        alt=f"{label} with 95 % intervals by condition: {spoken}.",
        spec=charts.estimates(
            [_row(name, e) for name, _, e in known],
            title=f"{label} ({metric.unit}), 95 % interval",
            domain=metric.bounds,
        ),
    )


def trade_off(run: RecordedRun, analysis: Analysis, label: str) -> Iterator[Chart]:
    """Draw a metric against dollars per item, or against calls where dollars are not known."""
    known = _known(analysis, label)
    costs = [s.cost_usd for _, s, _ in known]
    paid = all(c is not None for c in costs) and any(c for c in costs)
    effort = [s.cost_usd if paid else s.calls for _, s, _ in known]
    if None in effort:
        return
    prices = [(e or 0.0) / max(1, s.finished) for e, (_, s, _) in zip(effort, known, strict=True)]
    if len({round(price, 12) for price in prices}) < 2:
        return
    axis = "cost per item (US dollars)" if paid else "model calls per item"
    front = [point.condition for point in analysis.front] if paid else []
    n = max(e.n for _, _, e in known)
    title = f"What {label} costs: {axis}, n = {n:,} items"
    if front:
        beaten = [name for name, _, _ in known if name not in front]
        title = f"On the front of cost and {label}: {', '.join(front)} (n = {n:,} items)"
        if beaten:
            title += f"; beaten by a cheaper or better one: {', '.join(beaten)}"
    yield Chart(
        id="tradeoff",
        title=title,
        alt=f"{label} against {axis} by condition: "
        + "; ".join(
            f"{name} {e.value:.3f} at {price:.3g}"
            for (name, _, e), price in zip(known, prices, strict=True)
        )
        + ".",
        spec=charts.trade_off(
            [
                {**_row(name, e), "price": price, "front": name in front}
                for (name, _, e), price in zip(known, prices, strict=True)
            ],
            x=axis,
            y=label,
        ),
    )


def _known(analysis: Analysis, label: str) -> _Known:
    return [
        (name, s, s.metrics[label])
        for name, s in analysis.conditions.items()
        if s.metrics[label].value is not None
    ]


def _row(name: str, estimate: Estimate1) -> dict[str, object]:
    return {"label": name, "value": estimate.value, "low": estimate.low, "high": estimate.high}


def _metric(run: RecordedRun, label: str) -> Metric:
    return next(m for m in run.metrics if m.name == label.split(":")[0])
