"""Chains as Mermaid diagrams; text of a model never stands in the syntax."""

import re

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.errors import ExportTooLargeError
from crucible_causaltrace.event import Event
from crucible_causaltrace.exports.wording import replace_unspeakable

_MOST_NODES = 500
_LONGEST_LABEL = 80
_UNSAFE = re.compile(r"[^A-Za-z0-9 .,_\-+/=!?\u0080-\U0010ffff]")
_CLASSES = (
    "  classDef self_report stroke-dasharray: 5 4",
    "  classDef system_observed stroke-width: 1px",
    "  classDef intervention stroke-width: 4px",
)


def to_mermaid_flowchart(chain: Chain, *, limit: int | None = None) -> str:
    """Write a chain as a flowchart: self-reports dashed, interventions thick."""
    events = list(chain)
    if limit is None and len(events) > _MOST_NODES:
        raise ExportTooLargeError(len(events), _MOST_NODES)
    shown = events if limit is None else events[:limit]
    names = {event.id: f"n{n}" for n, event in enumerate(shown, start=1)}
    lines = ["flowchart TD", *_CLASSES]
    lines += [f'  {names[event.id]}["{_label(event)}"]:::{event.source}' for event in shown]
    for event in shown:
        here = names[event.id]
        if event.parent in names:
            lines.append(f"  {names[event.parent]} --> {here}")
        lines += [f"  {names[id]} -.-> {here}" for id in event.depends_on if id in names]
        lines += [
            f'  {here} -. "contradicts" .-> {names[id]}' for id in event.contradicts if id in names
        ]
    if len(shown) < len(events):
        lines.append(f'  cut["the first {len(shown)} of {len(events)} events"]')
    return "\n".join(lines) + "\n"


def _label(event: Event) -> str:
    text = event.type if event.decision is None else f"{event.type}: {event.decision}"
    text = " ".join(replace_unspeakable(text).split())
    if len(text) > _LONGEST_LABEL:
        text = text[: _LONGEST_LABEL - 1] + "…"
    return _UNSAFE.sub(lambda match: f"#{ord(match[0])};", text)
