"""Charts for where people would rather look: Altair specifications whose title is the finding."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import item_means, scores
from crucible_bench.errors import MissingExtraError
from crucible_bench.proportion_intervals import proportion_interval
from crucible_bench.results import Comparison, Interval

if TYPE_CHECKING:
    from crucible_bench.designs import Design
    from crucible_bench.multiple import MultipleComparison
    from crucible_bench.reliability import ReliabilityBin

MOST_LINES = 200
_HEIGHT = 280


def estimation(
    comparison: Comparison, control: ArrayLike, treatment: ArrayLike, *, unit: str = "score"
) -> Any:
    """Draw both arms with their scores, and the difference with its interval beside them.

    Parameters
    ----------
    comparison : Comparison of these scores
    control, treatment : (items,) or (items, repeats) arrays
        What the comparison was made of. Each item is a point, and of up to 200 pairs a line; of 0/1
        scores the shares are drawn with their Wilson intervals.
    unit : str
        Names the axes.

    Returns
    -------
    altair.Chart
        Scores on the left, on the right the difference over the band of differences that do not
        matter (where `sesoi` was named).

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
    labels = [comparison.control.label, comparison.treatment.label]
    across = alt.X("arm:N", sort=labels, title=None, axis=alt.Axis(labelAngle=0))
    if comparison.outcome == "binary":
        layers = _shares(alt, labels, (x, y), across, unit)
    else:
        layers = _scores(alt, labels, (x, y), across, unit, lines=comparison.n_pairs is not None)
    left = alt.layer(*layers).properties(width=220, height=_HEIGHT)
    title = finding(comparison)
    return alt.hconcat(left, _difference(alt, comparison, unit)).properties(
        title=alt.TitleParams(title, subtitle=_counts(comparison), anchor="start"),
        usermeta={"embedOptions": {"actions": False}},
        description=f"{title}; {_counts(comparison)}",
    )


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
    values = [
        {"name": name, **_ends(c), "text": _numbers(c.difference, c.confidence_interval)}
        for name, c in named.items()
    ]
    base = alt.Chart(alt.Data(values=values))
    down = alt.Y("name:N", sort=list(named), title=None, axis=alt.Axis(labelLimit=260))
    margins = {c.verdict.sesoi for c in named.values() if c.verdict is not None}
    band = margins.pop() if len(margins) == 1 else None
    layers = _ground(alt, band, "x", f"difference ({unit})")
    layers.append(base.mark_rule(strokeWidth=2).encode(y=down, x="low:Q", x2="high:Q"))
    layers.append(base.mark_point(filled=True, opacity=1, size=70, color="black").encode(
        y=down, x="difference:Q"))  # fmt: skip
    drawn = alt.layer(*layers).properties(width=400, height={"step": 26})
    beside = alt.Y("name:N", sort=list(named), axis=None)
    text = base.mark_text(align="left").encode(x=alt.value(8), y=beside, text="text:N")
    text = text.properties(width=140, height={"step": 26}, view=alt.ViewConfig(stroke=None))
    sure = sum(c.significant for c in named.values())
    title = f"{sure} of {len(named)} differences are significant"
    if any(c.p_adjusted is not None for c in named.values()):
        title += " after correction"
    return alt.hconcat(drawn, text, spacing=0).properties(
        title=alt.TitleParams(title, anchor="start"), description=title
    )


def power_curve(
    design: "Design", *, effects: Sequence[float], n: Sequence[int], alpha: float = 0.05
) -> Any:
    """Draw power over n, one line per effect; the title says which n reaches 80 %.

    Parameters
    ----------
    design : a design of `crucible_bench.power`
    effects : in the design's unit
    n : in the design's unit
    """
    from crucible_bench.sizing import power_curve as curve

    alt = _altair()
    table = curve(design, np.asarray(effects, dtype=float), np.asarray(n), alpha=alpha)
    values = [
        {"n": int(size), "power": float(table[i, j]), "effect": f"{effect:g}"}
        for i, effect in enumerate(effects)
        for j, size in enumerate(n)
    ]
    reached = []
    for effect, row in zip(effects, table, strict=True):
        enough = np.flatnonzero(row >= 0.8)
        needed = f"{n[int(enough[0])]:,} {design.unit}" if enough.size else "more than shown"
        reached.append(f"{effect:g}: {needed}")
    title = f"80 % power takes, for an effect of {'; '.join(reached)}"
    lines = alt.Chart(alt.Data(values=values)).mark_line(point=len(n) <= 20).encode(
        x=alt.X("n:Q", title=f"n ({design.unit})"),
        y=alt.Y("power:Q", scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("effect:N", title="effect", sort=[f"{e:g}" for e in effects]),
    )  # fmt: skip
    goal = alt.Chart(alt.Data(values=[{"power": 0.8}])).mark_rule(strokeDash=[4, 4])
    return alt.layer(lines, goal.encode(y="power:Q")).properties(
        title=alt.TitleParams(
            title, subtitle=f"{type(design).__name__}, alpha = {alpha:g}", anchor="start"
        ),
        width=420, height=_HEIGHT, description=title,
    )  # fmt: skip


def calibration(bins: "Sequence[ReliabilityBin]") -> Any:
    """Draw a reliability diagram: stated confidence against the share that is right.

    Parameters
    ----------
    bins : what `calibration.reliability_curve` returned

    Raises
    ------
    MissingExtraError
        If altair is not installed.
    ValueError
        If there is no bin.
    """
    alt = _altair()
    if not bins:
        raise ValueError("`bins` must hold at least one bin")
    values = [
        {"confidence": b.confidence, "right": b.accuracy, "n": b.n,
         "low": b.interval.low, "high": b.interval.high}
        for b in bins
    ]  # fmt: skip
    n = sum(b.n for b in bins)
    stated = sum(b.n * b.confidence for b in bins) / n
    right = sum(b.n * b.accuracy for b in bins) / n
    outside = sum(
        not (b.interval.low or 0.0) <= b.confidence <= (b.interval.high or 1.0) for b in bins
    )
    word = "over" if stated > right else "under"
    title = f"{100 * stated:.1f} % sure, {100 * right:.1f} % right: {word}confident on average"
    said = f"confidence is outside the interval in {outside} of {len(bins)} bins"
    subtitle = f"n = {n:,}; {said}"
    unit = alt.Scale(domain=[0, 1])
    base = alt.Chart(alt.Data(values=values))
    across = alt.X("confidence:Q", scale=unit, title="stated confidence")
    ideal = alt.Chart(alt.Data(values=[{"at": 0}, {"at": 1}])).mark_line(
        strokeDash=[4, 4], color="grey"
    )
    layers = [
        ideal.encode(
            x=alt.X("at:Q", title="stated confidence"), y=alt.Y("at:Q", title="share right")
        ),
        base.mark_rule(strokeWidth=2).encode(
            x=across, y=alt.Y("low:Q", scale=unit, title="share right"), y2="high:Q"
        ),
        base.mark_point(filled=True, opacity=1, color="black").encode(
            x=across,
            y=alt.Y("right:Q", scale=unit),
            size=alt.Size("n:Q", scale=alt.Scale(range=[30, 160]), legend=None),
        ),
    ]
    return alt.layer(*layers).properties(
        title=alt.TitleParams(title, subtitle=subtitle, anchor="start"),
        width=_HEIGHT, height=_HEIGHT, description=f"{title}; {subtitle}",
    )  # fmt: skip


def finding(c: Comparison) -> str:
    """Return what a comparison found as the title of a chart."""
    arms = f"{c.treatment.label} against {c.control.label}"
    said = f"{arms}: {_numbers(c.difference, c.confidence_interval)}"
    return said if c.verdict is None else f"{said}, {c.verdict.outcome}"


def _numbers(difference: float, interval: Interval | None) -> str:
    if interval is None:
        return f"{difference:+.3f}, no interval"
    low = "-inf" if interval.low is None else f"{interval.low:.3f}"
    high = "inf" if interval.high is None else f"{interval.high:.3f}"
    return f"{difference:+.3f} [{low}, {high}]"


def _counts(c: Comparison) -> str:
    if c.n_pairs is not None:
        return f"n = {c.n_pairs:,} pairs"
    return f"n = {c.control.n:,} and {c.treatment.n:,}"


def _ends(c: Comparison) -> dict[str, float | None]:
    interval = c.confidence_interval
    return {
        "difference": c.difference,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
    }


def _scores(
    alt: Any, labels: list[str], arms: Sequence[Any], across: Any, unit: str, *, lines: bool
) -> list[Any]:
    points = [
        {"arm": label, "score": float(value), "item": i}
        for label, arm in zip(labels, arms, strict=True)
        for i, value in enumerate(arm)
    ]
    base = alt.Chart(alt.Data(values=points))
    up = alt.Y("score:Q", title=unit, scale=alt.Scale(zero=False))
    layers = [base.mark_circle(opacity=0.4, size=25).encode(x=across, y=up)]
    if lines and len(arms[0]) <= MOST_LINES:
        pairs = base.mark_line(opacity=0.15, color="grey")
        layers.insert(0, pairs.encode(x=across, y=up, detail="item:N"))
    middle = base.mark_tick(thickness=3, size=40, color="black")
    layers.append(middle.encode(x=across, y=alt.Y("mean(score):Q", title=unit)))
    return layers


def _shares(alt: Any, labels: list[str], arms: Sequence[Any], across: Any, unit: str) -> list[Any]:
    values = []
    for label, arm in zip(labels, arms, strict=True):
        interval = proportion_interval(int(arm.sum()), arm.size)
        share = float(arm.mean())
        values.append({"arm": label, "share": share, "low": interval.low, "high": interval.high})
    base = alt.Chart(alt.Data(values=values))
    up = alt.Y("share:Q", title=unit, scale=alt.Scale(domain=[0, 1]))
    return [
        base.mark_bar(size=60, opacity=0.5).encode(x=across, y=up),
        base.mark_rule(strokeWidth=2).encode(x=across, y=alt.Y("low:Q", title=unit), y2="high:Q"),
    ]


def _difference(alt: Any, c: Comparison, unit: str) -> Any:
    """Draw a difference upright, with its own axis: it is small where scores vary much."""
    values = [{"arm": f"{c.treatment.label} - {c.control.label}", **_ends(c)}]
    base = alt.Chart(alt.Data(values=values))
    across = alt.X("arm:N", title=None, axis=alt.Axis(labelAngle=0, labelLimit=160))
    sesoi = None if c.verdict is None else c.verdict.sesoi
    layers = _ground(alt, sesoi, "y", f"difference ({unit})")
    layers.append(base.mark_rule(strokeWidth=2).encode(x=across, y="low:Q", y2="high:Q"))
    layers.append(base.mark_point(filled=True, opacity=1, size=80, color="black").encode(
        x=across, y="difference:Q"))  # fmt: skip
    return alt.layer(*layers).properties(width=120, height=_HEIGHT)


def _ground(alt: Any, sesoi: float | None, axis: str, title: str) -> list[Any]:
    """Return what a difference is drawn on: zero, and the band of those that do not matter."""
    position = alt.X if axis == "x" else alt.Y
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color="grey", strokeDash=[4, 4])
    layers = [zero.encode(**{axis: position("zero:Q", title=title)})]
    if sesoi is not None:
        band = alt.Chart(alt.Data(values=[{"from": -sesoi, "to": sesoi}])).mark_rect(opacity=0.12)
        layers.insert(0, band.encode(**{axis: position("from:Q", title=title), f"{axis}2": "to:Q"}))
    return layers


def _altair() -> Any:
    try:
        import altair
    except ImportError as error:
        raise MissingExtraError("crucible-bench[plots]") from error
    return altair
