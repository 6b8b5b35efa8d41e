"""Chains as Mermaid diagrams; text of a model never stands in the syntax."""

import re
from collections.abc import Callable
from typing import Literal

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.errors import ExportTooLargeError
from crucible_causaltrace.event import SOURCES, Event
from crucible_causaltrace.exports.wording import SOURCE_NAMES, replace_unspeakable

MermaidFormat = Literal[
    "mermaid_flowchart", "mermaid_sequence", "mermaid_timeline", "mermaid_graph"
]

_MOST_NODES = 500
_LONGEST_LABEL = 80
_UNSAFE = re.compile(r"[^A-Za-z0-9 .,_\-+/=!?\u0080-\U0010ffff]")
_STYLES = (
    "  classDef self_report stroke-dasharray: 5 4",
    "  classDef system_observed stroke-width: 1px",
    "  classDef intervention stroke-width: 4px",
)
# In a sequence a line cannot be thick: an intervention has a crossed head.
_ARROWS = {"self_report": "-->>", "system_observed": "->>", "intervention": "-x"}
_ACTORS = {"self_report": "model", "system_observed": "system", "intervention": "experimenter"}


def to_mermaid(chain: Chain, format: MermaidFormat, *, limit: int | None = None) -> str:
    """Write the events of a chain, or the first `limit` of them, as one kind of diagram.

    Raises
    ------
    ExportTooLargeError
        If there are more than 500 events and no limit.
    """
    events = list(chain)
    if limit is None and len(events) > _MOST_NODES:
        raise ExportTooLargeError(len(events), _MOST_NODES)
    shown = events if limit is None else sorted(events, key=lambda e: e.order)[:limit]
    cut = None
    if len(shown) < len(events):
        cut = f"the first {len(shown)} of {len(events)} events"
    return "\n".join(_WRITERS[format](shown, cut)) + "\n"


def _flowchart(events: list[Event], cut: str | None) -> list[str]:
    names = _names(events)
    lines = ["flowchart TD", *_STYLES]
    lines += [f'  {names[e.id]}["{_label(e)}"]:::{e.source}' for e in events]
    lines += _links(events, names)
    return lines if cut is None else [*lines, f'  cut["{cut}"]']


def _graph(events: list[Event], cut: str | None) -> list[str]:
    """Draw from left to right, what each source says in a box of its own."""
    names = _names(events)
    lines = ["graph LR", *_STYLES]
    for number, source in enumerate(SOURCES, start=1):
        said = [
            f'    {names[e.id]}("{_label(e)}"):::{source}' for e in events if e.source == source
        ]
        if said:
            lines += [f'  subgraph g{number}["{SOURCE_NAMES[source]}"]', *said, "  end"]
    lines += _links(events, names)
    return lines if cut is None else [*lines, f'  cut["{cut}"]']


def _links(events: list[Event], names: dict[str, str]) -> list[str]:
    lines = []
    for event in events:
        here = names[event.id]
        if event.parent in names:
            lines.append(f"  {names[event.parent]} --> {here}")
        lines += [f"  {names[id]} -.-> {here}" for id in event.depends_on if id in names]
        lines += [
            f'  {here} -. "contradicts" .-> {names[id]}' for id in event.contradicts if id in names
        ]
    return lines


def _sequence(events: list[Event], cut: str | None) -> list[str]:
    """Draw one message an event, from whoever it follows to whoever reports it."""
    sources = [source for source in SOURCES if any(e.source == source for e in events)]
    actors = {source: f"n{n}" for n, source in enumerate(sources, start=1)}
    by_id = {event.id: event for event in events}
    lines = ["sequenceDiagram"]
    lines += [
        f"  participant {name} as {_ACTORS[source]}, {SOURCE_NAMES[source]}"
        for source, name in actors.items()
    ]
    for event in events:
        before = next((by_id[id] for id in event.supports() if id in by_id), event)
        arrow = _ARROWS[event.source]
        lines.append(f"  {actors[before.source]}{arrow}{actors[event.source]}: {_label(event)}")
    if cut is not None:
        lines.append(f"  Note over {actors[events[0].source]}: {cut}")
    return lines


def _timeline(events: list[Event], cut: str | None) -> list[str]:
    """Put events in their order; each stage is a section."""
    lines = ["timeline", f"  title {'Events in order' if cut is None else cut}"]
    stage = None
    for event in events:
        if event.stage is not None and event.stage != stage:
            lines.append(f"  section {_encode(_cut(event.stage)) or 'stage'}")
        stage = event.stage if event.stage is not None else stage
        said = f"{SOURCE_NAMES[event.source]} {event.order + 1}"
        lines.append(f"  {said} : {_label(event)}")
    return lines


_WRITERS: dict[MermaidFormat, Callable[[list[Event], str | None], list[str]]] = {
    "mermaid_flowchart": _flowchart,
    "mermaid_sequence": _sequence,
    "mermaid_timeline": _timeline,
    "mermaid_graph": _graph,
}


def _names(events: list[Event]) -> dict[str, str]:
    return {event.id: f"n{n}" for n, event in enumerate(events, start=1)}


def _label(event: Event) -> str:
    said = event.type if event.decision is None else f"{event.type}: {event.decision}"
    return _encode(_cut(said)) or "blank"


def _cut(text: str) -> str:
    text = " ".join(replace_unspeakable(text).split())
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"


def _encode(text: str) -> str:
    return _UNSAFE.sub(lambda match: f"#{ord(match[0])};", text)
