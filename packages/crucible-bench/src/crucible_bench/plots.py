"""Charts of comparisons (extra: altair). Every title states the finding, with n and units."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import item_means, scores
from crucible_bench.errors import MissingExtraError
from crucible_bench.results import Comparison, Interval

if TYPE_CHECKING:
    from crucible_bench.multiple import MultipleComparison

MOST_LINES = 200  # paired lines beyond it are a grey mass


def estimation(
    comparison: Comparison, control: ArrayLike, treatment: ArrayLike, *, unit: str = "score"
) -> Any:
    """Draw both arms with their scores, and the difference with its interval.

    Parameters
    ----------
    comparison : Comparison of these scores
    control, treatment : (items,) or (items, repeats) arrays
        What the comparison was made of; of up to 200 pairs each is a line.
    unit : str
        Names the axes.

    Returns
    -------
    altair.Chart
        Scores on the left, difference with the SESOI band on the right.

    Raises
    ------
    MissingExtraError
        If altair is not installed.
    ValueError
        If the scores are not those of the comparison.
    """
    alt = _altair()
    x, y = item_means(scores("control", control)), item_means(scores("treatment", treatment))
    if (x.size, y.size) != (comparison.control.n, comparison.treatment.n):
        raise ValueError(
            f"`control` and `treatment` must be the scores compared, got {x.size} and {y.size} for "
            f"{comparison.control.n} and {comparison.treatment.n}"
        )
    names = [comparison.control.label, comparison.treatment.label]
    points = [
        {"arm": name, "score": float(value), "item": i}
        for name, arm in zip(names, (x, y), strict=True)
        for i, value in enumerate(arm)
    ]
    base = alt.Chart(alt.Data(values=points))
    across = alt.X("arm:N", sort=names, title=None)
    up = alt.Y("score:Q", title=unit, scale=alt.Scale(zero=False))
    layers = [base.mark_circle(opacity=0.4, size=25).encode(x=across, y=up)]
    if comparison.n_pairs is not None and comparison.n_pairs <= MOST_LINES:
        lines = base.mark_line(opacity=0.15, color="grey")
        layers.insert(0, lines.encode(x=across, y=up, detail="item:N"))
    layers.append(base.mark_tick(thickness=3, size=40, color="black").encode(
        x=across, y=alt.Y("mean(score):Q", title=unit)))  # fmt: skip
    left = alt.layer(*layers).properties(width=220, height=280)
    right = _intervals(alt, [("difference", comparison.difference, comparison.confidence_interval)],
                       comparison.verdict.sesoi if comparison.verdict else None, unit)  # fmt: skip
    title = finding(comparison)
    return alt.hconcat(left, right).properties(
        title={"text": title, "subtitle": _counts(comparison)},
        usermeta={"embedOptions": {"actions": False}}, description=title,
    )  # fmt: skip


def forest(
    comparisons: "MultipleComparison | Mapping[str, Comparison]", *, unit: str = "score"
) -> Any:
    """Draw the differences of several comparisons with their intervals, one under the other.

    Raises
    ------
    MissingExtraError
        If altair is not installed.
    ValueError
        If there is no comparison.
    """
    alt = _altair()
    if isinstance(comparisons, Mapping):
        named = dict(comparisons)
    else:
        named = {f"{c.treatment.label} - {c.control.label}": c for c in comparisons.comparisons}
    if not named:
        raise ValueError("`comparisons` must hold at least one comparison")
    rows = [(name, c.difference, c.confidence_interval) for name, c in named.items()]
    margins = {c.verdict.sesoi for c in named.values() if c.verdict is not None}
    chart = _intervals(alt, rows, margins.pop() if len(margins) == 1 else None, unit)
    sure = sum(c.significant for c in named.values())
    title = f"{sure} of {len(named)} differences are not explained by chance"
    return chart.properties(title=title, width=420, description=title)


def power_curve(
    design: Any, *, effects: Sequence[float], n: Sequence[int], alpha: float = 0.05
) -> Any:
    """Draw power over n, one line per effect.

    Parameters
    ----------
    design : a design of `crucible_bench.power`
    effects : in the design's unit
    n : in the design's unit
    """
    from crucible_bench.power import power_curve as curve

    alt = _altair()
    table = curve(design, np.asarray(effects, dtype=float), np.asarray(n), alpha=alpha)
    values = [
        {"n": int(size), "power": float(table[i, j]), "effect": f"{effect:g}"}
        for i, effect in enumerate(effects)
        for j, size in enumerate(n)
    ]
    title = f"Power of {type(design).__name__} at alpha = {alpha:g}"
    lines = alt.Chart(alt.Data(values=values)).mark_line(point=True).encode(
        x=alt.X("n:Q", title=f"n ({design.unit})"),
        y=alt.Y("power:Q", scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("effect:N", title="effect"),
    )  # fmt: skip
    goal = alt.Chart(alt.Data(values=[{"power": 0.8}])).mark_rule(strokeDash=[4, 4])
    return alt.layer(lines, goal.encode(y="power:Q")).properties(title=title, description=title)


def finding(c: Comparison) -> str:
    """Return what a comparison found as the title of a chart."""
    better = f"{c.treatment.label} against {c.control.label}: {c.difference:+.3f}"
    interval = c.confidence_interval
    if interval is None:
        return f"{better}, no interval"
    low = "-inf" if interval.low is None else f"{interval.low:.3f}"
    high = "inf" if interval.high is None else f"{interval.high:.3f}"
    said = f"{better} [{low}, {high}]"
    return said if c.verdict is None else f"{said}, {c.verdict.outcome}"


def _counts(c: Comparison) -> str:
    if c.n_pairs is not None:
        return f"n = {c.n_pairs} pairs"
    return f"n = {c.control.n} and {c.treatment.n}"


def _intervals(
    alt: Any, rows: Sequence[tuple[str, float, Interval | None]], sesoi: float | None, unit: str
) -> Any:
    values = [
        {
            "name": name,
            "difference": difference,
            "low": None if interval is None else interval.low,
            "high": None if interval is None else interval.high,
        }
        for name, difference, interval in rows
    ]
    base = alt.Chart(alt.Data(values=values))
    down = alt.Y("name:N", sort=[name for name, _, _ in rows], title=None)
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color="grey")
    layers = [zero.encode(x=alt.X("zero:Q", title=f"difference ({unit})"))]
    if sesoi is not None:
        band = alt.Chart(alt.Data(values=[{"from": -sesoi, "to": sesoi}]))
        layers.insert(0, band.mark_rect(opacity=0.12).encode(x="from:Q", x2="to:Q"))
    layers.append(base.mark_rule(strokeWidth=2).encode(y=down, x="low:Q", x2="high:Q"))
    layers.append(base.mark_point(filled=True, size=70).encode(y=down, x="difference:Q"))
    return alt.layer(*layers).properties(width=260)


def _altair() -> Any:
    try:
        import altair
    except ImportError as error:
        raise MissingExtraError("crucible-bench[plots]") from error
    return altair
