"""Find the cycle that a set of events would make."""

from collections.abc import Mapping

from crucible_causaltrace.event import Event


def find_cycle(batch: Mapping[str, Event]) -> list[str] | None:
    """Return a cycle among the events of a batch, its first id repeated at the end."""
    waits: dict[str, int] = {}
    after: dict[str, list[str]] = {}
    for event in batch.values():
        inside = [id for id in event.supports() if id in batch]
        waits[event.id] = len(inside)
        for id in inside:
            after.setdefault(id, []).append(event.id)
    ready = [id for id, count in waits.items() if not count]
    settled = 0
    while ready:
        settled += 1
        for id in after.get(ready.pop(), ()):
            waits[id] -= 1
            if not waits[id]:
                ready.append(id)
    if settled == len(batch):
        return None
    # Every event that still waits rests on another one that waits: walk until one returns.
    at = next(id for id, count in waits.items() if count)
    way: dict[str, None] = {}
    while at not in way:
        way[at] = None
        at = next(id for id in batch[at].supports() if id in batch and waits[id])
    upwards = list(way)
    return [at, *upwards[upwards.index(at) + 1 :][::-1], at]
