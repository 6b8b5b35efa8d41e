"""Find events by what they say, who says it, how sure they are and when."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from crucible_causaltrace.event import Event
from crucible_causaltrace.queries import Query, event_texts, matches_text


def find(
    events: Iterable[Event],
    where: Query | None,
    *,
    types: Collection[str] | None,
    sources: Collection[str] | None,
    min_confidence: float | None,
    max_confidence: float | None,
    text: str | None,
    pattern: str | None,
    stage: str | None,
    since_s: float | None,
    until_s: float | None,
) -> list[Event]:
    """List the events that satisfy every condition given; see `Chain.find`."""
    for name, value in (("types", types), ("sources", sources)):
        if isinstance(value, str):
            raise ValueError(f"`{name}` must be a collection of strings, got {value!r}")
    compiled = None if pattern is None else re.compile(pattern)

    def fits(event: Event) -> bool:
        stated, at = event.confidence, event.time_s
        return (
            (where is None or where(event))
            and (types is None or event.type in types)
            and (sources is None or event.source in sources)
            and (min_confidence is None or (stated is not None and stated >= min_confidence))
            and (max_confidence is None or (stated is not None and stated <= max_confidence))
            and (stage is None or event.stage == stage)
            and (since_s is None or (at is not None and at >= since_s))
            and (until_s is None or (at is not None and at <= until_s))
            and (text is None or matches_text(event, text))
            and (compiled is None or any(compiled.search(t) for t in event_texts(event)))
        )

    return [event for event in events if fits(event)]
