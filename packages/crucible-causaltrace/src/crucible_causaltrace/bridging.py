"""Remove events from a graph and keep what was linked through them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from crucible_causaltrace.event import Event


def bridge(
    events: Iterable[Event], kept: Collection[str], *, order: Iterable[Event]
) -> list[Event]:
    """Return the kept events; the nearest kept ones before a removed event take its place.

    Parameters
    ----------
    events : iterable of Event
    kept : collection of str
        Ids of those to keep.
    order : iterable of Event
        The same events, each after those on which it rests.
    """
    nearest: dict[str, tuple[str, ...]] = {}  # of a removed event: the kept ones before it
    for event in order:
        if event.id not in kept:
            before = (nearest.get(id, (id,)) for id in event.supports())
            nearest[event.id] = tuple(dict.fromkeys(id for ids in before for id in ids))
    return [_relink(event, nearest) for event in events if event.id in kept]


def _relink(event: Event, nearest: Mapping[str, tuple[str, ...]]) -> Event:
    lost = [id for id in event.supports() if id in nearest]
    contradicts = tuple(id for id in event.contradicts if id not in nearest)
    if not lost and contradicts == event.contradicts:
        return event
    bridges = [id for gone in lost for id in nearest[gone] if id != event.parent]
    kept = [id for id in event.depends_on if id not in nearest]
    return replace(
        event,
        parent=None if event.parent in nearest else event.parent,
        depends_on=tuple(kept + bridges),
        contradicts=contradicts,
        metadata={**event.metadata, "bridged": True} if bridges else event.metadata,
    )
