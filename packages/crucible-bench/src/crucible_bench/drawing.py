"""A comparison's interval as a small SVG that needs no library and fits any theme."""

import html

from crucible_bench.results import Comparison

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _MIDDLE = 360, 66, 30, 330, 34


def interval_svg(c: Comparison) -> str:
    """Return the difference, its interval, zero and the region of no interest as inline SVG.

    Notes
    -----
    Lines and text take the colour of the surrounding text. The title, which a screen reader speaks,
    holds the numbers. A side without a limit ends in an arrow at the edge. Empty without an
    interval.
    """
    interval = c.confidence_interval
    if interval is None:
        return ""
    sesoi = None if c.verdict is None else c.verdict.sesoi
    known = [0.0, c.difference]
    known += [limit for limit in (interval.low, interval.high) if limit is not None]
    known += [] if sesoi is None else [-sesoi, sesoi]
    low, high = min(known), max(known)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return _LEFT + (value - low) / span * (_RIGHT - _LEFT)

    left = 4.0 if interval.low is None else x(interval.low)
    right = _WIDTH - 4.0 if interval.high is None else x(interval.high)
    parts = [_line(2, _MIDDLE + 16, _WIDTH - 2, _MIDDLE + 16, opacity=0.35)]
    if sesoi is not None:
        parts.append(
            f'<rect x="{x(-sesoi):.1f}" y="{_MIDDLE - 14}" width="{x(sesoi) - x(-sesoi):.1f}" '
            f'height="30" fill="currentColor" opacity="0.12"/>'
        )
    parts.append(_line(x(0), _MIDDLE - 16, x(0), _MIDDLE + 19, opacity=0.6, dash="3 3"))
    parts.append(_line(left, _MIDDLE, right, _MIDDLE, width=2))
    parts += [_end(left, interval.low, -1), _end(right, interval.high, 1)]
    parts.append(f'<circle cx="{x(c.difference):.1f}" cy="{_MIDDLE}" r="4.5" fill="currentColor"/>')
    together = right - left < 90  # the numbers would run into each other
    for at, limit, anchor in ((left, interval.low, "end"), (right, interval.high, "start")):
        if limit is not None:
            outside = anchor if together else "middle"
            parts.append(_text(min(max(at, 20.0), _WIDTH - 20.0), 12, f"{limit:.3g}", outside))
    parts.append(_text(x(0), _HEIGHT - 3, "0", "middle"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" style="max-width:100%">'
        f"<title>{html.escape(spoken(c))}</title>{''.join(parts)}</svg>"
    )


def spoken(c: Comparison) -> str:
    """Return what the drawing shows, in words."""
    interval = c.confidence_interval
    if interval is None:
        return f"difference {c.difference:.3g}, without an interval"
    low = "without a lower limit" if interval.low is None else f"from {interval.low:.3g}"
    high = "without an upper limit" if interval.high is None else f"to {interval.high:.3g}"
    arms = f"{c.treatment.label} minus {c.control.label}"
    said = f"{arms}: {c.difference:.3g}, {100 * interval.level:g} % interval {low} {high}"
    if c.verdict is None:
        return said
    return f"{said}; differences within {c.verdict.sesoi:g} of zero do not matter (shaded)"


def _line(
    x1: float, y1: float, x2: float, y2: float, *, width: float = 1, opacity: float = 1,
    dash: str | None = None,
) -> str:  # fmt: skip
    dashed = "" if dash is None else f' stroke-dasharray="{dash}"'
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="currentColor" '
        f'stroke-width="{width:g}" opacity="{opacity:g}"{dashed}/>'
    )


def _end(x: float, limit: float | None, side: int) -> str:
    """Return a cap at a limit, an arrow head where there is none."""
    if limit is not None:
        return _line(x, _MIDDLE - 6, x, _MIDDLE + 6, width=2)
    back = x - 7 * side
    head = f"M{back:.1f} {_MIDDLE - 5}L{x:.1f} {_MIDDLE}L{back:.1f} {_MIDDLE + 5}"
    return f'<path d="{head}" fill="none" stroke="currentColor" stroke-width="2"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" '
        f'font-family="sans-serif" fill="currentColor">{html.escape(text)}</text>'
    )
