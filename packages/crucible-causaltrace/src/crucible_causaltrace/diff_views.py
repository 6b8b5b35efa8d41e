"""A comparison as text and as a table; texts of a model stay texts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from crucible_causaltrace.exports.wording import CAVEAT, SOURCE_NAMES, replace_unspeakable

if TYPE_CHECKING:
    from crucible_causaltrace.diffing import ChainDiff, EventPair
    from crucible_causaltrace.event import Event

_LONGEST = 200
_STYLE = (
    "border-collapse:collapse;text-align:left;vertical-align:top",
    "padding:4px 10px;text-align:left;vertical-align:top;overflow-wrap:anywhere",
)


def to_text(diff: ChainDiff) -> str:
    """Write what changed; see `ChainDiff.to_text`."""
    lines = [_summary(diff)]
    for mark, event, pair in _rows(diff):
        lines.append(f"{mark} {_line(event)}")
        if pair is not None:
            lines += [f"    {name}: {old} -> {new}" for name, old, new in _changes(pair)]
    return "\n".join(lines) + "\n"


def to_html(diff: ChainDiff) -> str:
    """Write what changed; see `ChainDiff.to_html`."""
    table, cell = _STYLE
    words = {"+": "added", "-": "removed", "~": "modified", ">": "moved"}
    rows = []
    for mark, event, pair in _rows(diff):
        changes = [] if pair is None else _changes(pair)
        said = "<br>".join(
            f"{_cell(name)}: <del>{_cell(old)}</del> → <ins>{_cell(new)}</ins>"
            for name, old, new in changes
        )
        cells = (
            f"{mark} {words[mark]}",
            _cell(event.type),
            SOURCE_NAMES[event.source],
            _cell(_short(event.decision)),
            said,
            "" if pair is None else f"{pair.score:.3f}",
        )
        rows.append("<tr>" + "".join(f'<td style="{cell}">{c}</td>' for c in cells) + "</tr>")
    heads = "".join(
        f'<th scope="col" style="{cell}">{name}</th>'
        for name in ("change", "type", "source", "decision", "what differs", "score")
    )
    body = "".join(rows) or f'<tr><td style="{cell}" colspan="6">nothing changed</td></tr>'
    return (
        f"<p>{_cell(_summary(diff))}</p><p>{escape(CAVEAT)}</p>"
        f'<table style="{table}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    )


def _summary(diff: ChainDiff) -> str:
    alike = "nothing to compare" if diff.similarity is None else f"similarity {diff.similarity:.3f}"
    unchanged = sum(not pair.fields and not pair.moved for pair in diff.pairs)
    return (
        f"{alike}: {len(diff.added)} added, {len(diff.removed)} removed, "
        f"{len(diff.modified)} modified, {len(diff.moved)} moved, {unchanged} unchanged"
    )


def _rows(diff: ChainDiff) -> list[tuple[str, Event, EventPair | None]]:
    rows: list[tuple[str, Event, EventPair | None]] = [("-", event, None) for event in diff.removed]
    rows += [
        (">" if pair.moved else "~", pair.new, pair)
        for pair in diff.pairs
        if pair.fields or pair.moved
    ]
    rows += [("+", event, None) for event in diff.added]
    return rows


def _changes(pair: EventPair) -> list[tuple[str, str, str]]:
    return [
        (name, _short(getattr(pair.old, name)), _short(getattr(pair.new, name)))
        for name in pair.fields
    ]


def _line(event: Event) -> str:
    return f"{event.type} ({SOURCE_NAMES[event.source]}): {_short(event.decision)}"


def _short(value: Any) -> str:
    if value is None:
        return "not stated"
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(replace_unspeakable(text).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _cell(text: str) -> str:
    return escape(replace_unspeakable(text))
