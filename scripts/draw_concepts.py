"""Draw the pictures of the concept pages, once for light and once for dark pages.

uv run --group test python scripts/draw_concepts.py [folder]

Every number in them is computed here, by the packages, from the seed below.
"""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import vl_convert

from crucible_bench import SequentialComparison, compare_paired
from crucible_ensemble.theory import n_eff

SEED = 20261125
FOLDER = Path(__file__).parent.parent / "docs" / "images"

# Each colour has a contrast of at least 4.5 with its background.
LIGHT = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "faint": "#d8dee4",
    "first": "#0b5fa5",
    "second": "#a34500",
    "third": "#57606a",
}
DARK = {
    "paper": "#131416",
    "ink": "#d5d9de",
    "faint": "#33383f",
    "first": "#6cb6ff",
    "second": "#f0a35e",
    "third": "#9aa4af",
}

# A browser's font may be wider than the one that the layout is computed with.
ROOM = alt.Axis(labelLimit=220, minExtent=185)

Rows = list[dict[str, Any]]


@cache
def p_value(treatment_only: int, control_only: int, n: int) -> float:
    """Return McNemar's mid-p of so many discordant pairs among n."""
    same = n - treatment_only - control_only
    control = [0] * treatment_only + [1] * control_only + [1] * same
    treatment = [1] * treatment_only + [0] * control_only + [1] * same
    return float(compare_paired(control, treatment).p_value)


@cache
def item_rows(runs: int = 4000, items: int = 50) -> Rows:
    """Two equal systems at temperature 0: how often does each analysis find a difference?"""
    rng = np.random.default_rng(SEED)
    rows: Rows = []
    chance = rng.beta(1, 1, size=(runs, items))
    control, treatment = (rng.random((runs, items)) < chance for _ in range(2))
    won = (treatment & ~control).sum(axis=1)
    lost = (control & ~treatment).sum(axis=1)
    for repeats in (1, 3, 5):
        for unit in ("every answer is a unit", "the item is the unit"):
            k = repeats if unit.startswith("every") else 1
            found = [
                p_value(int(b) * k, int(c) * k, items * k) <= 0.05
                for b, c in zip(won, lost, strict=True)
            ]
            rows.append({"repeats": repeats, "unit": unit, "rejected": 100 * float(np.mean(found))})
    return rows


def item(c: dict[str, str]) -> alt.TopLevelMixin:
    base = alt.Chart(alt.Data(values=item_rows()))
    x = alt.X(
        "repeats:O", title="identical answers to each of 50 questions", axis=alt.Axis(labelAngle=0)
    )
    color = alt.Color(
        "unit:N",
        scale=alt.Scale(range=[c["second"], c["first"]]),
        legend=alt.Legend(title=None, orient="bottom"),
    )
    bars = base.mark_bar().encode(
        x=x, xOffset="unit:N", color=color, y=alt.Y("rejected:Q", title="false alarms, %")
    )
    numbers = base.mark_text(dy=-7, color=c["ink"]).encode(
        x=x, xOffset="unit:N", y="rejected:Q", text=alt.Text("rejected:Q", format=".0f")
    )
    promised = alt.Chart(alt.Data(values=[{"y": 5}])).mark_rule(strokeDash=[4, 3], color=c["ink"])
    chart = bars + numbers + promised.encode(y="y:Q")
    return chart.properties(width=360, height=200, title="False alarms where nothing differs")


@cache
def sesoi_rows() -> Rows:
    """Five results on 600 items each, judged against 0.05."""
    counts = ((90, 25), (75, 40), (70, 52), (15, 14), (20, 85))
    rows: Rows = []
    for treatment_only, control_only in counts:
        same = 600 - treatment_only - control_only
        found = compare_paired(
            [0] * treatment_only + [1] * (control_only + same),
            [1] * treatment_only + [0] * control_only + [1] * same,
            sesoi=0.05,
        )
        kind = found.verdict.outcome
        outcome = {"superior": "supported", "inconclusive": "inconclusive"}.get(
            kind, f"not supported ({kind})"
        )
        label = outcome
        if kind == "inconclusive":
            label += ", zero excluded" if found.confidence_interval.low > 0 else ", zero inside"
        rows.append(
            {
                "label": label,
                "at": found.difference,
                "low": found.confidence_interval.low,
                "high": found.confidence_interval.high,
                "outcome": outcome.partition(" (")[0],
            }
        )
    return rows


def sesoi(c: dict[str, str]) -> alt.TopLevelMixin:
    base = alt.Chart(alt.Data(values=sesoi_rows()))
    y = alt.Y("label:N", sort=None, title=None, axis=ROOM)
    color = alt.Color(
        "outcome:N",
        legend=None,
        scale=alt.Scale(
            domain=["supported", "inconclusive", "not supported"],
            range=[c["first"], c["third"], c["second"]],
        ),
    )
    band = alt.Chart(alt.Data(values=[{"low": -0.05, "high": 0.05}])).mark_rect(
        color=c["faint"], opacity=0.6
    )
    zero = alt.Chart(alt.Data(values=[{"x": 0}])).mark_rule(color=c["ink"]).encode(x="x:Q")
    x = alt.X(
        "low:Q",
        title="difference (grey: too small to matter)",
        scale=alt.Scale(domain=[-0.2, 0.2]),
        axis=alt.Axis(format="+.1f", values=[-0.2, -0.1, 0, 0.1, 0.2]),
    )
    chart = (
        band.encode(x=x, x2="high:Q")
        + zero
        + base.mark_rule(strokeWidth=3).encode(x=x, x2="high:Q", y=y, color=color)
        + base.mark_point(filled=True, size=90, opacity=1).encode(x="at:Q", y=y, color=color)
    )
    return chart.properties(width=225, height=190, title="The interval decides, not the p-value")


@cache
def failure_rows() -> Rows:
    """A system that is better when it answers, and does not answer 60 of 400 questions."""
    right_both, control_only, treatment_only, neither, failed = 236, 4, 24, 76, 60
    control = (
        [1] * (right_both + control_only) + [0] * (treatment_only + neither) + [1] * 40 + [0] * 20
    )
    answered = [1] * right_both + [0] * control_only + [1] * treatment_only + [0] * neither
    rows: Rows = []
    for rule, x, y in (
        ("failed calls left out", control[: len(answered)], answered),
        ("failed calls are wrong", control, answered + [0] * failed),
    ):
        found = compare_paired(x, y)
        low, high = found.confidence_interval.low, found.confidence_interval.high
        rows.append({"rule": rule, "at": found.difference, "low": low, "high": high})
    return rows


def failures(c: dict[str, str]) -> alt.TopLevelMixin:
    base = alt.Chart(alt.Data(values=failure_rows()))
    y = alt.Y("rule:N", sort=None, title=None, axis=ROOM)
    color = alt.Color(
        "rule:N", legend=None, sort=None, scale=alt.Scale(range=[c["second"], c["first"]])
    )
    zero = alt.Chart(alt.Data(values=[{"x": 0}])).mark_rule(color=c["ink"]).encode(x="x:Q")
    x = alt.X(
        "low:Q",
        title="difference in accuracy",
        scale=alt.Scale(domain=[-0.12, 0.12]),
        axis=alt.Axis(format="+.2f", values=[-0.1, -0.05, 0, 0.05, 0.1]),
    )
    chart = (
        zero
        + base.mark_rule(strokeWidth=3).encode(x=x, x2="high:Q", y=y, color=color)
        + base.mark_point(filled=True, size=90, opacity=1).encode(x="at:Q", y=y, color=color)
        + base.mark_text(dy=-14, color=c["ink"]).encode(
            x="at:Q", y=y, text=alt.Text("at:Q", format="+.3f")
        )
    )
    title = "The same run; 60 of 400 calls of the treatment failed"
    return chart.properties(width=225, height=120, title=title)


@cache
def peeking_rows(runs: int = 300, items: int = 200, every: int = 10) -> Rows:
    """Two equal systems, looked at every ten items: how many runs have stopped for an effect?"""
    rng = np.random.default_rng(SEED)
    looks = range(every, items + 1, every)
    stopped = {"p < .05 at any look": [0] * len(looks), "always-valid": [0] * len(looks)}
    for _ in range(runs):
        control, treatment = rng.random((2, items)) < rng.beta(1, 1, size=items)
        won, lost = np.cumsum(treatment & ~control), np.cumsum(control & ~treatment)
        watched = SequentialComparison(outcome="binary", alpha=0.05)
        by_p = by_e = False
        for n, look in enumerate(looks):
            by_p |= p_value(int(won[look - 1]), int(lost[look - 1]), look) < 0.05
            for at in range(look - every, look):
                state = watched.update(float(control[at]), float(treatment[at]))
            by_e |= state.decision != "continue"
            stopped["p < .05 at any look"][n] += by_p
            stopped["always-valid"][n] += by_e
    return [
        {"rule": rule, "items": look, "stopped": 100 * count / runs}
        for rule, counts in stopped.items()
        for look, count in zip(looks, counts, strict=True)
    ]


def peeking(c: dict[str, str]) -> alt.TopLevelMixin:
    rows = peeking_rows()
    base = alt.Chart(alt.Data(values=rows))
    color = alt.Color(
        "rule:N",
        sort=None,
        scale=alt.Scale(range=[c["second"], c["first"]]),
        legend=alt.Legend(title=None, orient="bottom", symbolType="stroke", symbolStrokeWidth=3),
    )
    lines = base.mark_line(strokeWidth=3).encode(
        x=alt.X("items:Q", title="items so far, a look every 10"),
        y=alt.Y("stopped:Q", title="false alarms so far, %"),
        color=color,
    )
    promised = alt.Chart(alt.Data(values=[{"y": 5}])).mark_rule(strokeDash=[4, 3], color=c["ink"])
    chart = lines + promised.encode(y="y:Q")
    return chart.properties(
        width=360, height=200, title="Looking again and again where nothing differs"
    )


def voters_rows() -> Rows:
    return [
        {"models": n, "worth": n_eff(n, rho), "correlation": f"{rho:.1f}"}
        for rho in (0.0, 0.1, 0.2, 0.5)
        for n in range(1, 16)
    ]


def voters(c: dict[str, str]) -> alt.TopLevelMixin:
    rows = voters_rows()
    last = [row for row in rows if row["models"] == 15]
    ramp = [c["ink"], c["first"], c["third"], c["second"]]
    color = alt.Color("correlation:N", legend=None, scale=alt.Scale(range=ramp))
    lines = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X(
                "models:Q",
                title="models that vote; at the line: correlation of their errors",
                scale=alt.Scale(domain=[1, 17]),
                axis=alt.Axis(values=[1, 5, 10, 15]),
            ),
            y=alt.Y("worth:Q", title="worth so many independent ones"),
            color=color,
        )
    )
    labels = (
        alt.Chart(alt.Data(values=last))
        .mark_text(align="left", dx=6, color=c["ink"])
        .encode(x="models:Q", y="worth:Q", text="correlation:N")
    )
    title = "Correlated errors make voters few"
    return (lines + labels).properties(width=360, height=210, title=title)


PICTURES: dict[str, Callable[[dict[str, str]], alt.TopLevelMixin]] = {
    "item": item,
    "sesoi": sesoi,
    "intention-to-treat": failures,
    "always-valid": peeking,
    "n-eff": voters,
}


def themed(chart: Any, c: dict[str, str]) -> Any:
    """Return a chart in the colours of a page."""
    text = {
        "labelColor": c["ink"],
        "titleColor": c["ink"],
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    lines = {"gridColor": c["faint"], "domainColor": c["third"], "tickColor": c["third"]}
    return (
        chart.configure(
            background=c["paper"],
            font="sans-serif",
            padding={"left": 8, "top": 8, "right": 24, "bottom": 8},
        )
        .configure_axis(**text, **lines, tickCount=5)
        .configure_legend(labelColor=c["ink"], labelFontSize=12, columnPadding=40)
        .configure_title(color=c["ink"], fontSize=13, anchor="start", offset=10)
        .configure_text(fontSize=12)
        .configure_view(stroke=None)
    )


def drawn() -> Iterator[tuple[str, str]]:
    """Yield each picture's file name and SVG."""
    for name, draw in PICTURES.items():
        for theme, colours in (("light", LIGHT), ("dark", DARK)):
            chart = themed(draw(colours), colours)
            yield f"{name}-{theme}.svg", vl_convert.vegalite_to_svg(chart.to_dict())


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, svg in drawn():
        (folder / name).write_text(svg, encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main()
