"""What rests on what: the links between the events of a chain, without a cycle."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from crucible_causaltrace.event import Event

if TYPE_CHECKING:
    import networkx


class Links:
    """The graph over a chain's events, kept while the chain grows.

    Parameters
    ----------
    events : mapping of str to Event
        The chain's own, by id, in its order. The chain says when it changes.
    """

    def __init__(self, events: Mapping[str, Event]) -> None:
        self._events = events
        self._after: dict[str, list[str]] = {}  # id -> the events that rest on it
        self._graph: networkx.DiGraph | None = None
        self._topological: tuple[Event, ...] | None = None
        self._places: dict[str, int] | None = None

    def add(self, events: Iterable[Event]) -> None:
        """Link new events, which the chain holds by now."""
        events = list(events)
        for event in events:
            self._after[event.id] = []
        for event in events:
            for id in event.supports():
                self._after[id].append(event.id)
        self._forget()

    def change(self, old: Event, new: Event) -> None:
        """Link an event anew whose links have changed."""
        for id in old.supports():
            self._after[id].remove(old.id)
        for id in new.supports():
            self._after[id].append(new.id)
        self._forget()

    def _forget(self) -> None:
        self._graph = self._topological = self._places = None

    @property
    def graph(self) -> networkx.DiGraph:
        """The frozen `networkx.DiGraph`, made when it is first asked for."""
        if self._graph is None:
            import networkx

            graph = networkx.DiGraph()
            graph.add_nodes_from(self._events)
            for event in self._events.values():
                for id in event.supports():
                    kind = "parent" if id == event.parent else "depends_on"
                    if id == event.parent and id in event.depends_on:
                        kind = "both"
                    graph.add_edge(id, event.id, kind=kind)
            self._graph = networkx.freeze(graph)
        return self._graph

    def after(self, id: str) -> list[str]:
        """List the ids of the events that rest on this one directly."""
        return self._after[id]

    def before(self, id: str) -> tuple[str, ...]:
        """List the ids of the events on which this one rests directly."""
        return self._events[id].supports()

    def topological(self) -> list[Event]:
        """List the events so that each comes after all on which it rests, else in order."""
        if self._topological is None:
            waits = {event.id: len(event.supports()) for event in self._events.values()}
            place = self._place()
            names = list(self._events)
            ready = [place[id] for id, count in waits.items() if not count]
            sorted_events: list[Event] = []
            while ready:
                id = names[heapq.heappop(ready)]
                sorted_events.append(self._events[id])
                for after in self._after[id]:
                    waits[after] -= 1
                    if not waits[after]:
                        heapq.heappush(ready, place[after])
            self._topological = tuple(sorted_events)
        return list(self._topological)

    def reach(self, id: str, step: Callable[[str], Iterable[str]]) -> list[Event]:
        """List all events that repeated steps from one event lead to, in the chain's order."""
        found: set[str] = set()
        waiting = [id]
        while waiting:
            for other in step(waiting.pop()):
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return self.in_order(found)

    def in_order(self, ids: Iterable[str]) -> list[Event]:
        """List events by id, each once, in the chain's order."""
        return [self._events[id] for id in sorted(set(ids), key=self._place().__getitem__)]

    def path(self, start: str, end: str) -> list[str] | None:
        """Return a way from `start` down to `end`, both included."""
        came_from = {start: start}
        waiting = [start]
        while waiting:
            at = waiting.pop()
            if at == end:
                path = [at]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path[::-1]
            for after in self._after[at]:
                if after not in came_from:
                    came_from[after] = at
                    waiting.append(after)
        return None

    def _place(self) -> dict[str, int]:
        if self._places is None:
            self._places = {id: n for n, id in enumerate(self._events)}
        return self._places
