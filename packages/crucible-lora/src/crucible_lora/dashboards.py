"""Charts of training as Vega-Lite, with their data inside: any notebook or page shows them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from crucible_lora.results import TrainingReport
from crucible_lora.sweep_report import SweepReport

Chart = dict[str, Any]
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"


def loss_curve(
    reports: TrainingReport | Sequence[TrainingReport],
    *,
    smoothing: float = 0.0,
    max_points: int = 1000,
) -> Chart:
    """Return the loss of each update, and the nll of held-out items where it was looked at.

    Parameters
    ----------
    reports : TrainingReport, or several
    smoothing : float, in [0, 1)
        The share of the past in an exponential average, corrected for its start. 0 shows the losses
        as they are.
    max_points : int, >= 2
        Of each line: the first, the last, and evenly spaced ones between.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"`smoothing` must be in [0, 1), got {smoothing}")
    values: list[dict[str, Any]] = []
    for report in _several(reports):
        losses = [(row.step, row.loss) for row in report.history if row.loss is not None]
        lines = {"training loss": _smooth(losses, smoothing)}
        lines["held-out nll"] = [
            (row.step, row.validation["nll"]) for row in report.history if row.validation
        ]
        for line, points in lines.items():
            for step, value in thin(points, max_points):
                values.append({"run": _name(report), "line": line, "step": step, "loss": value})
    return _lines(values, "loss", "loss (nats/token)", detail="line", title="Loss")


def learning_rate(
    reports: TrainingReport | Sequence[TrainingReport], *, max_points: int = 1000
) -> Chart:
    """Return the learning rate of each update."""
    values = [
        {"run": _name(report), "step": step, "rate": rate}
        for report in _several(reports)
        for step, rate in thin([(r.step, r.learning_rate) for r in report.history], max_points)
    ]
    return _lines(values, "rate", "learning rate", title="Learning rate")


def gradient_flow(report: TrainingReport, *, max_points: int = 200) -> Chart:
    """Return the norm of each layer's gradient over updates, as `gradients.GradFlow` found it.

    Raises
    ------
    ValueError
        If the run was made without that hook.
    """
    rows = [(row.step, row) for row in report.history if row.gradients and "flow" in row.gradients]
    if not rows:
        raise ValueError("`report` must be of a run with the hook GradFlow(), got none of its rows")
    values = [
        {"step": step, "layer": layer, "norm": norm}
        for step, row in thin(rows, max_points)
        for layer, norm in (row.gradients or {})["flow"]["layers"]
        if norm
    ]
    order = list(dict.fromkeys(value["layer"] for value in values))
    return _chart(
        values,
        {
            "mark": "rect",
            "encoding": {
                "x": {"field": "step", "type": "ordinal", "title": "update"},
                "y": {"field": "layer", "type": "nominal", "sort": order, "title": None},
                "color": {
                    "field": "norm",
                    "type": "quantitative",
                    "scale": {"type": "log", "scheme": "viridis"},
                    "title": "gradient norm",
                },
            },
        },
        title="Gradient by layer",
    )


def quality_over_steps(report: TrainingReport) -> Chart:
    """Return every metric of held-out items over the updates at which they were looked at.

    Raises
    ------
    ValueError
        If nothing was looked at.
    """
    values = [
        {"step": row.step, "metric": metric, "value": value}
        for row in report.history
        for metric, value in (row.validation or {}).items()
        if math.isfinite(value)
    ]
    if not values:
        raise ValueError("`report` must be of a run that looked at held-out items, got none")
    return _chart(
        values,
        {
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {"field": "step", "type": "quantitative", "title": "update"},
                "y": {"field": "value", "type": "quantitative", "scale": {"zero": False}},
                "row": {"field": "metric", "type": "nominal", "title": None},
            },
            "resolve": {"scale": {"y": "independent"}},
        },
        title="Held-out items",
    )


def sweep_parallel(report: SweepReport) -> Chart:
    """Return a line per configuration through its parameters and its mean metric.

    Each axis runs from the least to the most of its values; texts are ordered by name.
    """
    configs = [config for config in report.ranking if config.mean is not None]
    names = list(dict.fromkeys(name for config in configs for name in config.params))
    values = []
    for number, config in enumerate(configs):
        shown = {**{n: config.params.get(n) for n in names}, report.metric: config.mean}
        for axis, value in shown.items():
            column = [config.mean for config in configs]
            if axis != report.metric:
                column = [config.params.get(axis) for config in configs]
            values.append(
                {
                    "configuration": number,
                    "axis": axis,
                    "place": _place(value, column),
                    "value": str(value),
                    report.metric: config.mean,
                }
            )
    return _chart(
        values,
        {
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {
                    "field": "axis",
                    "type": "nominal",
                    "sort": [*names, report.metric],
                    "title": None,
                    "axis": {"labelAngle": 0},
                },
                "y": {"field": "place", "type": "quantitative", "axis": None},
                "detail": {"field": "configuration"},
                "color": {"field": _field(report.metric), "type": "quantitative"},
                "tooltip": [{"field": "axis"}, {"field": "value"}],
            },
        },
        title=f"{report.name}: {report.metric}",
    )


def latency_histogram(latencies: Sequence[float], *, bins: int = 30) -> Chart:
    """Return how long answers took.

    Parameters
    ----------
    latencies : sequence of float, >= 0
        Seconds, such as `Generation.latency_s`.
    bins : int, >= 1
        At most so many.
    """
    if bins < 1:
        raise ValueError(f"`bins` must be >= 1, got {bins}")
    bad = [x for x in latencies if not (math.isfinite(x) and x >= 0)]
    if bad or not len(latencies):
        raise ValueError(f"`latencies` must be numbers >= 0, got {bad[:1] or 'none'}")
    return _chart(
        [{"latency_s": float(x)} for x in latencies],
        {
            "mark": "bar",
            "encoding": {
                "x": {"field": "latency_s", "bin": {"maxbins": bins}, "title": "latency (s)"},
                "y": {"aggregate": "count", "title": "answers"},
            },
        },
        title="Latency",
    )


def thin(points: Sequence[Any], limit: int) -> list[Any]:
    """Return at most so many points: the first, the last, and evenly spaced ones between."""
    if limit < 2:
        raise ValueError(f"`max_points` must be >= 2, got {limit}")
    if len(points) <= limit:
        return list(points)
    last = len(points) - 1
    return [points[round(i * last / (limit - 1))] for i in range(limit)]


def _smooth(points: Sequence[tuple[int, float]], share: float) -> list[tuple[int, float]]:
    total, weight, found = 0.0, 0.0, []
    for step, value in points:
        total, weight = share * total + (1 - share) * value, share * weight + (1 - share)
        found.append((step, total / weight))
    return found


def _place(value: Any, column: Sequence[Any]) -> float:
    numbers = [v for v in column if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(column):
        low, high = min(numbers), max(numbers)
        return 0.5 if low == high else (value - low) / (high - low)
    order = sorted({str(v) for v in column})
    return 0.5 if len(order) == 1 else order.index(str(value)) / (len(order) - 1)


def _lines(
    values: list[dict[str, Any]], field: str, axis: str, *, title: str, detail: str | None = None
) -> Chart:
    encoding: dict[str, Any] = {
        "x": {"field": "step", "type": "quantitative", "title": "update"},
        "y": {"field": field, "type": "quantitative", "title": axis},
        "color": {"field": "run", "type": "nominal", "title": None},
    }
    if detail is not None:
        encoding["strokeDash"] = {"field": detail, "type": "nominal", "title": None}
    return _chart(values, {"mark": "line", "encoding": encoding}, title=title)


def _chart(values: Sequence[Mapping[str, Any]], rest: Mapping[str, Any], *, title: str) -> Chart:
    return {"$schema": _SCHEMA, "title": title, "data": {"values": list(values)}, **rest}


def _field(name: str) -> str:
    """Return a column's name as Vega-Lite reads it: dots and brackets are paths otherwise."""
    return "".join(f"\\{c}" if c in ".[]\\" else c for c in name)


def _several(reports: TrainingReport | Sequence[TrainingReport]) -> Sequence[TrainingReport]:
    return [reports] if isinstance(reports, TrainingReport) else reports


def _name(report: TrainingReport) -> str:
    return f"{report.experiment_id}/{report.run_id}"
