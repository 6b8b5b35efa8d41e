"""Charts as Vega-Lite 5 dicts with their data inside: show them in a notebook or compile to SVG.

Every function returns a plain dict. Nothing is fetched when a chart is drawn.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from crucible_telemetry import query
from crucible_telemetry.experiment import Experiment
from crucible_telemetry.metrics.calculate import calculate_metrics
from crucible_telemetry.metrics.events import Columns, load, of
from crucible_telemetry.outcome import OUTCOMES
from crucible_telemetry.sources import located
from crucible_telemetry.stores.port import Store
from crucible_telemetry.training import STEP, curve

Chart: TypeAlias = dict[str, Any]
Where: TypeAlias = Store | str | Path | None

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_MOST_POINTS = 5_000
_SHADES = {
    "ok": "#3a923a",
    "error": "#c03d3e",
    "timeout": "#e1812c",
    "cancelled": "#7f7f7f",
    "unknown": "#bbbbbb",
}


def loss_curve(
    experiment: Experiment | str,
    *,
    name: str = "loss",
    smoothing: float = 0.0,
    max_points: int = 500,
    store: Where = None,
) -> Chart:
    """Draw a number of `TrainingLog.step` over the steps; see `TrainingLog.curve`."""
    with located(experiment, store) as (opened, id):
        steps = list(query.events(opened, id, names=[STEP]))
    points = curve(steps, name, smoothing=smoothing, max_points=max_points)
    data = [{"step": step, "value": value} for step, value in points]
    return _chart(
        data,
        mark={"type": "line", "tooltip": True},
        x=_axis("step", "quantitative", "step"),
        y=_axis("value", "quantitative", name, zero=False),
    )


def latency_histogram(
    experiment: Experiment | str, *, bins: int = 20, store: Where = None
) -> Chart:
    """Draw how many requests took how long, in bins of equal width."""
    if bins < 1:
        raise ValueError(f"`bins` must be >= 1, got {bins}")
    loaded = load(experiment, store=store, names=None)
    durations = sorted(x for x in of(loaded.events.duration_s, loaded.requests) if x is not None)
    data: list[dict[str, Any]] = []
    if durations:
        low, high = durations[0], durations[-1]
        width = (high - low) / bins or max(abs(high), 1.0) / bins
        counts = Counter(min(int((x - low) / width), bins - 1) for x in durations)
        data = [
            {"from": low + n * width, "to": low + (n + 1) * width, "requests": counts[n]}
            for n in range(bins)
        ]
    chart = _chart(
        data,
        mark={"type": "bar", "tooltip": True},
        x={**_axis("from", "quantitative", "latency (s)"), "bin": {"binned": True}},
        y=_axis("requests", "quantitative", "requests"),
    )
    chart["encoding"]["x2"] = {"field": "to"}
    return chart


def latency_over_time(experiment: Experiment | str, *, store: Where = None) -> Chart:
    """Draw each request's latency at its start; of over 5,000 requests every k-th."""
    loaded = load(experiment, store=store, names=None)
    events, requests = loaded.events, loaded.requests
    every = max(1, math.ceil(len(requests) / _MOST_POINTS))
    data = [
        {
            "start_ms": events.start_ns[at] // 1_000_000,
            "latency_s": events.duration_s[at],
            "outcome": events.outcome[at],
        }
        for at in requests[::every]
    ]
    chart = _chart(
        data,
        mark={"type": "point", "tooltip": True, "filled": True},
        x=_axis("start_ms", "temporal", "start"),
        y=_axis("latency_s", "quantitative", "latency (s)"),
    )
    chart["encoding"]["color"] = _outcome_color()
    if every > 1:
        chart["title"] = f"every {every}th of {len(requests)} requests"
    return chart


def outcome_bars(experiment: Experiment | str, *, store: Where = None) -> Chart:
    """Draw how requests ended."""
    loaded = load(experiment, store=store, names=None)
    counts = Counter(of(loaded.events.outcome, loaded.requests))
    data = [{"outcome": outcome, "requests": counts[outcome]} for outcome in OUTCOMES]
    chart = _chart(
        data,
        mark={"type": "bar", "tooltip": True},
        x=_axis("outcome", "nominal", "outcome", sort=list(OUTCOMES)),
        y=_axis("requests", "quantitative", "requests"),
    )
    chart["encoding"]["color"] = _outcome_color()
    return chart


def cost_by_model(experiment: Experiment | str, *, store: Where = None) -> Chart:
    """Draw the known cost of each model. Calls of unknown cost are counted in the title."""
    cost = calculate_metrics(experiment, store=store).cost
    data = [{"model": model, "usd": usd} for model, usd in cost.by_model.items()]
    chart = _chart(
        data,
        mark={"type": "bar", "tooltip": True},
        x=_axis("usd", "quantitative", "cost (USD)"),
        y=_axis("model", "nominal", "model", sort="-x"),
    )
    if cost.unknown:
        chart["title"] = f"{cost.unknown} calls of unknown cost are not shown"
    return chart


def model_comparison(experiment: Experiment | str, *, store: Where = None) -> Chart:
    """Draw each model's median latency, with the interval where there are enough calls for one."""
    data = []
    for model, group in calculate_metrics(experiment, store=store).by_model.items():
        p50 = group.latency.percentile(50)
        data.append(
            {
                "model": model,
                "median_s": p50.value_s,
                "low_s": p50.low_s,
                "high_s": p50.high_s,
                "calls": group.latency.count,
                "success_rate": group.reliability.success_rate.value,
            }
        )
    y = _axis("model", "nominal", "model")
    points = {
        "mark": {"type": "point", "filled": True, "size": 80, "tooltip": {"content": "data"}},
        "encoding": {"x": _axis("median_s", "quantitative", "median latency (s)"), "y": y},
    }
    intervals = {
        "transform": [{"filter": "isValid(datum.low_s) && isValid(datum.high_s)"}],
        "mark": {"type": "rule"},
        "encoding": {
            "x": _axis("low_s", "quantitative", "median latency (s)"),
            "x2": {"field": "high_s"},
            "y": y,
        },
    }
    return {"$schema": SCHEMA, "data": {"values": data}, "layer": [intervals, points]}


def heatmap(
    experiments: Sequence[Experiment | str],
    *,
    value: Literal["duration_s", "ok"] = "ok",
    store: Where = None,
) -> Chart:
    """Draw the mean of each item in each experiment: which items are slow, or fail, and where."""
    if isinstance(experiments, str) or not experiments:
        raise ValueError(f"`experiments` must be a sequence of experiments, got {experiments!r}")
    if value not in ("duration_s", "ok"):
        raise ValueError(f'`value` must be "duration_s" or "ok", got {value!r}')
    data = []
    for number, experiment in enumerate(experiments, 1):
        with located(experiment, store) as (opened, id):
            label = f"{number}: {query.experiment(opened, id).condition}"
        found: dict[str, list[float]] = {}
        loaded = load(experiment, store=store, names=None)
        for at in loaded.requests:
            item, known = loaded.events.item_id[at], _known(loaded.events, at, value)
            if item is not None and known is not None:
                found.setdefault(item, []).append(known)
        data += [
            {"condition": label, "item": item, "mean": math.fsum(values) / len(values)}
            for item, values in sorted(found.items())
        ]
    chart = _chart(
        data,
        mark={"type": "rect", "tooltip": True},
        x=_axis("condition", "nominal", "experiment"),
        y=_axis("item", "nominal", "item"),
    )
    title = "success" if value == "ok" else "latency (s)"
    chart["encoding"]["color"] = _axis("mean", "quantitative", title)
    return chart


def _known(events: Columns, at: int, value: str) -> float | None:
    if value == "duration_s":
        return events.duration_s[at]
    return {"ok": 1.0, "error": 0.0, "timeout": 0.0}.get(events.outcome[at])


def _chart(data: list[dict[str, Any]], *, mark: Chart, x: Chart, y: Chart) -> Chart:
    return {
        "$schema": SCHEMA,
        "data": {"values": data},
        "mark": mark,
        "encoding": {"x": x, "y": y},
        "width": 480,
        "height": 240,
    }


def _axis(
    field: str, type: str, title: str, *, sort: Any = None, zero: bool | None = None
) -> Chart:
    axis: Chart = {"field": field, "type": type, "title": title}
    if sort is not None:
        axis["sort"] = sort
    if zero is not None:
        axis["scale"] = {"zero": zero}
    return axis


def _outcome_color() -> Chart:
    scale = {"domain": list(_SHADES), "range": list(_SHADES.values())}
    return {"field": "outcome", "type": "nominal", "scale": scale, "title": "outcome"}
