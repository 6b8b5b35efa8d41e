"""Chains as a table for notebooks."""

from html import escape

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.exports.wording import CAVEAT, SOURCE_NAMES, replace_unspeakable

_MOST_ROWS = 50
_LONGEST_CELL = 200


def to_table(chain: Chain) -> str:
    """Return an escaped HTML table of the first events, without any script."""
    rows = []
    for event in chain.events[:_MOST_ROWS]:
        stated = "not stated" if event.confidence is None else f"{event.confidence:g}"
        cells = (str(event.order + 1), event.type, SOURCE_NAMES[event.source], event.decision or "",
                 stated)  # fmt: skip
        rows.append("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in cells) + "</tr>")
    shown = "" if len(chain) <= _MOST_ROWS else f", the first {_MOST_ROWS} shown"
    heads = "".join(f"<th>{name}</th>" for name in ("", "type", "source", "decision", "confidence"))
    return (
        f"<p><b>{_cell(chain.task)}</b>: {len(chain)} events{shown}. {CAVEAT}</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _cell(text: str) -> str:
    text = replace_unspeakable(text)
    return escape(text if len(text) <= _LONGEST_CELL else text[:_LONGEST_CELL] + "…")
