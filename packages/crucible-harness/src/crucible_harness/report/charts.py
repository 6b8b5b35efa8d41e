"""The charts of a report, as Vega-Lite: one drawing for page, paper and notebook."""

from collections.abc import Mapping, Sequence
from typing import Any

# Colours that keep 3:1 contrast on white and on near-black.
COLOURS = ("#2f7fd0", "#d9702b", "#2f9e6e", "#9a6dd7", "#c2587f", "#8a8f2a", "#3aa0ad", "#b0613f")
# Heights are numbers and not steps: a page draws as wide as it is, and steps cannot be fitted.
WIDTH = 640
_PERCENTILES = (50, 95, 99)


def estimation(
    rows: Sequence[Mapping[str, object]], *, unit: str, sesoi: float | None
) -> dict[str, Any]:
    """Draw differences with their intervals against zero and the smallest effect of interest.

    Parameters
    ----------
    rows : mappings with keys label, value, low, high (floats; None draws no bar)
    unit : str
        Printed on the axis.
    sesoi : float or None
        Half-width of the shaded band of effects too small to matter; None draws none.
    """
    import altair as alt

    base = alt.Chart(alt.Data(values=[dict(row) for row in rows]))
    y = alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=260))
    few = alt.Axis(tickCount=8)
    layers: list[Any] = []
    if sesoi is not None:
        band = alt.Chart(alt.Data(values=[{"from": -sesoi, "to": sesoi}]))
        layers.append(band.mark_rect(opacity=0.15, color="#888888").encode(x="from:Q", x2="to:Q"))
    zero = alt.Chart(alt.Data(values=[{"zero": 0}]))
    layers.append(zero.mark_rule(color="#888888", strokeDash=[4, 3]).encode(x="zero:Q"))
    layers.append(
        base.mark_rule(strokeWidth=3, color=COLOURS[0]).encode(
            x=alt.X("low:Q", title=f"difference ({unit})", axis=few), x2="high:Q", y=y
        )
    )
    layers.append(
        base.mark_point(filled=True, size=110, opacity=1, color=COLOURS[0]).encode(
            x="value:Q", y=y, tooltip=["label:N", "value:Q", "low:Q", "high:Q"]
        )
    )
    return _spec(alt.layer(*layers).properties(width=WIDTH, height=44 * len(rows)))


def estimates(
    rows: Sequence[Mapping[str, object]], *, title: str, domain: tuple[float, float] | None
) -> dict[str, Any]:
    """Draw one metric with its interval for each condition: keys label, value, low, high."""
    import altair as alt

    base = alt.Chart(alt.Data(values=[dict(row) for row in rows]))
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    y = alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=260))
    bar = base.mark_rule(strokeWidth=3, color=COLOURS[0]).encode(
        x=alt.X("low:Q", title=title, scale=scale, axis=alt.Axis(tickCount=8)), x2="high:Q", y=y
    )
    point = base.mark_point(filled=True, size=110, opacity=1, color=COLOURS[0]).encode(
        x=alt.X("value:Q", scale=scale), y=y, tooltip=["label:N", "value:Q", "low:Q", "high:Q"]
    )
    return _spec(alt.layer(bar, point).properties(width=WIDTH, height=44 * len(rows)))


def trade_off(rows: Sequence[Mapping[str, object]], *, x: str, y: str) -> dict[str, Any]:
    """Draw a metric against its price for each condition.

    Parameters
    ----------
    rows : mappings with keys label, price, value, low, high, and front (bool): whether it
        lies on the front of price and metric, which is drawn as a broken line
    """
    import altair as alt

    base = alt.Chart(alt.Data(values=[dict(row) for row in rows]))
    axis = alt.Axis(tickCount=6)
    price = alt.X("price:Q", title=x, axis=axis, scale=alt.Scale(zero=True, nice=True))
    bar = base.mark_rule(strokeWidth=2, color=COLOURS[0]).encode(
        x=price, y=alt.Y("low:Q", title=y, scale=alt.Scale(zero=False)), y2="high:Q"
    )
    point = base.mark_point(filled=True, size=110, opacity=1, color=COLOURS[0]).encode(
        x=price, y="value:Q", tooltip=["label:N", "price:Q", "value:Q", "low:Q", "high:Q"]
    )
    # Conditions that fall on one point share one label.
    names: dict[tuple[object, object], list[str]] = {}
    for row in rows:
        names.setdefault((row["price"], row["value"]), []).append(str(row["label"]))
    labels = [
        {"price": price_, "value": value, "label": ", ".join(together)}
        for (price_, value), together in names.items()
    ]
    name = (
        alt.Chart(alt.Data(values=labels))
        .mark_text(align="left", dx=9, dy=-9, color="currentColor")
        .encode(x=price, y="value:Q", text="label:N")
    )
    layers = [bar, point, name]
    front = [dict(row) for row in rows if row.get("front")]
    if len(front) > 1:
        line = alt.Chart(alt.Data(values=front)).mark_line(
            strokeDash=[6, 4], strokeWidth=1.5, color="#888888", interpolate="step-after"
        )
        layers.insert(0, line.encode(x=price, y="value:Q"))
    return _spec(alt.layer(*layers).properties(width=WIDTH, height=300))


def latency(samples: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Draw the share of items answered within a time, per condition, on a logarithmic axis.

    Parameters
    ----------
    samples : latencies in seconds, > 0, by condition; at most 400 points each are drawn
    """
    import altair as alt
    import numpy as np

    rows = []
    for label, values in samples.items():
        ordered = np.sort(np.asarray(values, dtype=float))
        shares = np.arange(1, ordered.size + 1) / ordered.size
        keep = np.unique(np.linspace(0, ordered.size - 1, min(400, ordered.size)).astype(int))
        rows += [
            {"label": label, "latency": float(ordered[i]), "share": float(shares[i])} for i in keep
        ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X("latency:Q", title="latency of an item (seconds)", scale=alt.Scale(type="log")),
            y=alt.Y("share:Q", title="share of items answered", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color(
                "label:N",
                title=None,
                sort=None,
                scale=alt.Scale(domain=list(samples), range=_palette(len(samples))),
                legend=alt.Legend(orient="bottom", columns=3, labelLimit=220),
            ),
            strokeDash=alt.StrokeDash("label:N", sort=None, legend=None),
            tooltip=["label:N", "latency:Q", "share:Q"],
        )
    )
    marks = []
    for label, values in samples.items():
        quantiles = np.percentile(np.asarray(values, dtype=float), _PERCENTILES)
        marks += [
            {"label": label, "latency": float(q), "share": p / 100, "mark": f"P{p}"}
            for p, q in zip(_PERCENTILES, quantiles, strict=True)
        ]
    points = (
        alt.Chart(alt.Data(values=marks))
        .mark_point(filled=True, size=70, opacity=1)
        .encode(
            x="latency:Q",
            y="share:Q",
            color=alt.Color("label:N", sort=None),
            shape=alt.Shape("mark:N", title="percentile", legend=alt.Legend(orient="bottom")),
            tooltip=["label:N", "mark:N", "latency:Q"],
        )
    )
    return _spec(alt.layer(chart, points).properties(width=WIDTH, height=280))


def discordance(
    rows: Sequence[Mapping[str, object]], *, treatment: str, control: str
) -> dict[str, Any]:
    """Draw, for each block of items, how many only the one and only the other got right.

    Parameters
    ----------
    rows : mappings with keys block, treatment_only, control_only (counts)
    """
    import altair as alt

    long = [
        {"block": row["block"], "right": f"only {name}", "items": sign * int(str(row[key]))}
        for row in rows
        for name, key, sign in ((treatment, "treatment_only", 1), (control, "control_only", -1))
    ]
    order = [str(row["block"]) for row in rows]
    bars = (
        alt.Chart(alt.Data(values=long))
        .mark_bar(height={"band": 0.7})
        .encode(
            x=alt.X("items:Q", title="items", axis=alt.Axis(labelExpr="abs(datum.value)",
                                                           tickMinStep=1)),
            y=alt.Y("block:N", sort=order, title=None, axis=alt.Axis(labelLimit=220)),
            color=alt.Color(
                "right:N", title=None, legend=alt.Legend(orient="bottom", labelLimit=260),
                scale=alt.Scale(
                    domain=[f"only {treatment}", f"only {control}"], range=list(COLOURS[:2])
                ),
            ),
            tooltip=["block:N", "right:N", "items:Q"],
        )
    )  # fmt: skip
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color="#888888").encode(x="zero:Q")
    return _spec(alt.layer(bars, zero).properties(width=WIDTH, height=26 * len(rows)))


def correlations(
    pairs: Sequence[tuple[str, str, float | None]], *, models: Sequence[str]
) -> dict[str, Any]:
    """Draw the correlation of each pair of models as a coloured square with its number."""
    import altair as alt

    rows = [
        {"one": one, "other": other, "phi": phi, "shown": "?" if phi is None else f"{phi:+.2f}"}
        for one, other, phi in pairs
    ]
    names = list(models)
    axis = alt.Axis(labelLimit=220)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("one:N", sort=names, title=None, axis=alt.Axis(labelLimit=220, labelAngle=0)),
        y=alt.Y("other:N", sort=names, title=None, axis=axis),
    )
    squares = base.mark_rect().encode(
        color=alt.Color(
            "phi:Q",
            title="phi",
            scale=alt.Scale(domain=[-1, 0, 1], range=["#2f7fd0", "#f2f2f2", "#d9702b"]),
        ),
        tooltip=["one:N", "other:N", "phi:Q"],
    )
    numbers = base.mark_text(color="#1b1f24").encode(text="shown:N")
    return _spec(alt.layer(squares, numbers).properties(width=WIDTH, height=44 * len(names)))


def stopping_path(rows: Sequence[Mapping[str, object]], *, threshold: float) -> dict[str, Any]:
    """Draw the e-value after each look, on a logarithmic axis, against the threshold.

    Parameters
    ----------
    rows : mappings with keys items (int) and evidence (float, > 0)
    """
    import altair as alt

    line = (
        alt.Chart(alt.Data(values=[dict(row) for row in rows]))
        .mark_line(point=alt.OverlayMarkDef(size=55), strokeWidth=2, color=COLOURS[0])
        .encode(
            x=alt.X("items:Q", title="items", axis=alt.Axis(tickMinStep=1, tickCount=8)),
            y=alt.Y("evidence:Q", title="e-value", scale=alt.Scale(type="log")),
            tooltip=["items:Q", "evidence:Q"],
        )
    )
    limit = alt.Chart(alt.Data(values=[{"limit": threshold}])).mark_rule(
        strokeDash=[6, 4], color=COLOURS[1]
    )
    return _spec(alt.layer(line, limit.encode(y="limit:Q")).properties(width=WIDTH, height=240))


def forest(
    rows: Sequence[Mapping[str, object]], total: Mapping[str, object], *, unit: str
) -> dict[str, Any]:
    """Draw the effects of several studies and, below a line, what they come to together.

    Parameters
    ----------
    rows : mappings with keys label, value, low, high (None draws no bar), weight in percent
    total : the same without weight
    """
    import altair as alt

    order = [str(row["label"]) for row in rows] + [str(total["label"])]
    y = alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelLimit=260))
    base = alt.Chart(alt.Data(values=[dict(row) for row in rows]))
    pooled = alt.Chart(alt.Data(values=[dict(total)]))
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color="#888888", strokeDash=[4, 3])
    x = alt.X("low:Q", title=f"difference ({unit})")
    chart = alt.layer(
        zero.encode(x="zero:Q"),
        base.mark_rule(strokeWidth=2, color=COLOURS[0]).encode(x=x, x2="high:Q", y=y),
        base.mark_square(filled=True, opacity=1, color=COLOURS[0]).encode(
            x="value:Q", y=y, size=alt.Size("weight:Q", legend=None, scale=alt.Scale(zero=True)),
            tooltip=["label:N", "value:Q", "low:Q", "high:Q", "weight:Q"],
        ),
        pooled.mark_rule(strokeWidth=5, color=COLOURS[1]).encode(x=x, x2="high:Q", y=y),
        pooled.mark_point(shape="diamond", filled=True, size=190, opacity=1, color=COLOURS[1])
        .encode(x="value:Q", y=y, tooltip=["label:N", "value:Q", "low:Q", "high:Q"]),
    )  # fmt: skip
    return _spec(chart.properties(width=WIDTH, height=36 * (len(rows) + 1)))


def _palette(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def _spec(chart: Any) -> dict[str, Any]:
    spec: dict[str, Any] = chart.to_dict()
    # The address of the schema is the only one in a report, and nothing needs it.
    spec.pop("$schema", None)
    spec.pop("config", None)
    return spec
