"""Events in order, and the graph of what rests on what."""

from __future__ import annotations

import heapq
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

from crucible_causaltrace.accounting import (
    CodeBlock,
    ParseReport,
    account_from_dict,
    account_to_dict,
)
from crucible_causaltrace.bridging import bridge
from crucible_causaltrace.cycles import find_cycle
from crucible_causaltrace.errors import (
    CycleError,
    DuplicateEventError,
    SchemaVersionError,
    UnknownEventError,
)
from crucible_causaltrace.event import SCHEMA, Event, Json
from crucible_causaltrace.identity import new_id
from crucible_causaltrace.queries import Query, event_texts, matches_text
from crucible_causaltrace.summary import ChainStatistics, summarise

if TYPE_CHECKING:
    import networkx

SortKey = Literal["order", "time", "confidence", "topological"]


class Chain:
    """An ordered collection of events, linked without a cycle.

    An event rests on its parent and on what it depends on; `contradicts` is a remark and no link of
    the graph.

    Parameters
    ----------
    task : str
        What was to be done.
    id : str, optional
        A new ULID by default.
    metadata : mapping of str to JSON, optional
    text : str
        What the source says outside events: the answer.
    code_blocks : iterable of CodeBlock
    parse_report : ParseReport, optional
        The account of the text that the chain was read from.
    """

    def __init__(
        self,
        task: str,
        *,
        id: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        text: str = "",
        code_blocks: Iterable[CodeBlock] = (),
        parse_report: ParseReport | None = None,
    ) -> None:
        if id is not None and not id:
            raise ValueError("`id` must have a character, got ''")
        self.id = new_id() if id is None else id
        self.task = task
        self.metadata: dict[str, Json] = dict(metadata or {})
        self.text = text
        self.code_blocks = tuple(code_blocks)
        self.parse_report = parse_report
        self._events: dict[str, Event] = {}
        self._after: dict[str, list[str]] = {}  # id -> the events that rest on it
        self._graph: networkx.DiGraph | None = None
        self._topological: tuple[Event, ...] | None = None
        self._places: dict[str, int] | None = None

    # What it holds

    @property
    def events(self) -> tuple[Event, ...]:
        """The events, in the chain's order."""
        return tuple(self._events.values())

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(tuple(self._events.values()))

    def __contains__(self, id: object) -> bool:
        return id in self._events

    def __getitem__(self, id: str) -> Event:
        try:
            return self._events[id]
        except KeyError:
            raise UnknownEventError(id) from None

    def __repr__(self) -> str:
        return f"<Chain {self.id}: {len(self)} events, task {self.task!r}>"

    def _repr_html_(self) -> str:
        from crucible_causaltrace.exports.notebook import to_table

        return to_table(self)

    # How it grows

    def add(self, event: Event) -> Event:
        """Append an event and return it with its place in `order`.

        Raises
        ------
        DuplicateEventError, UnknownEventError
            If its id is taken, or an event that it names does not exist.
        """
        return self._append([event])[0]

    def extend(self, events: Iterable[Event]) -> list[Event]:
        """Append events, which may name each other in any order; all of them or none.

        Raises
        ------
        DuplicateEventError, UnknownEventError, CycleError
        """
        return self._append(list(events))

    def link(
        self,
        child: str,
        *,
        parent: str | None = None,
        depends_on: str | None = None,
        contradicts: str | None = None,
    ) -> Event:
        """Link an event to others, and return it as it is then.

        Raises
        ------
        UnknownEventError, CycleError
        """
        event = self[child]
        named = (parent, depends_on, contradicts)
        if named == (None, None, None):
            raise ValueError("one of `parent`, `depends_on`, `contradicts` must be given, got none")
        for id in named:
            if id is not None:
                self[id]
        for id in (parent, depends_on):
            path = None if id is None else self._path(child, id)
            if path is not None:
                raise CycleError([*path, child])
        if parent is not None:
            event = replace(event, parent=parent)
        if depends_on is not None:
            event = replace(event, depends_on=(*event.depends_on, depends_on))
        if contradicts is not None:
            event = replace(event, contradicts=(*event.contradicts, contradicts))
        for id in self[child].supports():
            self._after[id].remove(child)
        for id in event.supports():
            self._after[id].append(child)
        self._events[child] = event
        self._forget()
        return event

    def _append(self, events: list[Event], *, keep_order: bool = False) -> list[Event]:
        batch: dict[str, Event] = {}
        for event in events:
            if event.id in self._events or event.id in batch:
                raise DuplicateEventError(event.id)
            batch[event.id] = event
        for event in events:
            for id in (*event.supports(), *event.contradicts):
                if id not in batch and id not in self._events:
                    raise UnknownEventError(id)
        cycle = find_cycle(batch)
        if cycle is not None:
            raise CycleError(cycle)
        if not keep_order:
            first = max((e.order for e in self._events.values()), default=-1) + 1
            for n, event in enumerate(events):
                if event.order != first + n:
                    batch[event.id] = replace(event, order=first + n)
        self._events |= batch
        for event in batch.values():
            self._after[event.id] = []
        for event in batch.values():
            for id in event.supports():
                self._after[id].append(event.id)
        self._forget()
        return list(batch.values())

    def _forget(self) -> None:
        self._graph = self._topological = self._places = None

    # The graph

    @property
    def graph(self) -> networkx.DiGraph:
        """The frozen `networkx.DiGraph`; edge attribute `kind`: parent, depends_on or both."""
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

    def roots(self) -> list[Event]:
        """List the events that rest on none."""
        return [event for event in self._events.values() if not event.supports()]

    def leaves(self) -> list[Event]:
        """List the events on which none rests."""
        return [event for event in self._events.values() if not self._after[event.id]]

    def parent(self, id: str) -> Event | None:
        """Return the event under which this one happened."""
        parent = self[id].parent
        return None if parent is None else self._events[parent]

    def children(self, id: str) -> list[Event]:
        """List the events that happened under this one."""
        self[id]
        return self._in_order(after for after in self._after[id] if self[after].parent == id)

    def dependents(self, id: str) -> list[Event]:
        """List the events that depend on this one."""
        self[id]
        return self._in_order(after for after in self._after[id] if id in self[after].depends_on)

    def ancestors(self, id: str) -> list[Event]:
        """List all events on which this one rests, over any number of links."""
        return self._reach(id, lambda at: self._events[at].supports())

    def descendants(self, id: str) -> list[Event]:
        """List all events that rest on this one, over any number of links."""
        return self._reach(id, self._after.__getitem__)

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

    def _place(self) -> dict[str, int]:
        if self._places is None:
            self._places = {id: n for n, id in enumerate(self._events)}
        return self._places

    def _in_order(self, ids: Iterable[str]) -> list[Event]:
        return [self._events[id] for id in sorted(set(ids), key=self._place().__getitem__)]

    def _reach(self, id: str, step: Any) -> list[Event]:
        self[id]
        found: set[str] = set()
        waiting = [id]
        while waiting:
            for other in step(waiting.pop()):
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return self._in_order(found)

    def _path(self, start: str, end: str) -> list[str] | None:
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

    # Questions

    def find(
        self,
        where: Query | None = None,
        *,
        types: Collection[str] | None = None,
        sources: Collection[str] | None = None,
        min_confidence: float | None = None,
        max_confidence: float | None = None,
        text: str | None = None,
        pattern: str | None = None,
        stage: str | None = None,
        since_s: float | None = None,
        until_s: float | None = None,
    ) -> list[Event]:
        """List the events that satisfy every condition given.

        An event without a confidence satisfies no bound on it, one without a time no bound on time.
        `text` is looked for in decision, reasoning and alternatives, in any case; `pattern` is a
        regular expression on the same.
        """
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

        return [event for event in self._events.values() if fits(event)]

    def decision_points(self) -> list[Event]:
        """List the events that name at least one alternative."""
        return [event for event in self._events.values() if event.alternatives]

    def low_confidence(self, threshold: float = 0.7) -> list[Event]:
        """List the events whose stated confidence is below `threshold`."""
        return [
            event
            for event in self._events.values()
            if event.confidence is not None and event.confidence < threshold
        ]

    def unresolved(self) -> list[Event]:
        """List the doubts on which no decision and no synthesis rests."""
        ends = ("decision_made", "synthesis")
        return [
            event
            for event in self.find(types=("uncertainty_noted",))
            if not any(after.type in ends for after in self.descendants(event.id))
        ]

    def statistics(self) -> ChainStatistics:
        """Count and measure; see `ChainStatistics`."""
        return summarise(self)

    # Others made from it

    def filter(self, where: Query) -> Chain:
        """Return a chain of the events that satisfy `where`.

        What rested on a removed event depends on the nearest kept ones before it instead, and says
        so: `metadata["bridged"]` is True.
        """
        kept = {event.id for event in self._events.values() if where(event)}
        return self._with(bridge(self._events.values(), kept, order=self.topological()))

    def sort(self, key: SortKey = "order", *, reverse: bool = False) -> Chain:
        """Return a chain of the same events in another order; what lacks the key comes last."""
        if key == "topological":
            events = self.topological()
            return self._with(events[::-1] if reverse else events)
        if key not in ("order", "time", "confidence"):
            raise ValueError(
                f'`key` must be "order", "time", "confidence" or "topological", got {key!r}'
            )
        field = {"order": "order", "time": "time_s", "confidence": "confidence"}[key]
        have = [event for event in self if getattr(event, field) is not None]
        lack = [event for event in self if getattr(event, field) is None]
        return self._with(sorted(have, key=lambda e: getattr(e, field), reverse=reverse) + lack)

    def _with(self, events: list[Event]) -> Chain:
        chain = Chain(
            self.task,
            id=self.id,
            metadata=self.metadata,
            text=self.text,
            code_blocks=self.code_blocks,
            parse_report=self.parse_report,
        )
        chain._append(events, keep_order=True)
        return chain

    # Storage

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads; nothing is left out."""
        report = self.parse_report
        events = [event.to_dict() for event in self._events.values()]
        account: dict[str, Any] | None = None
        if report is not None:
            parsed = [event.to_dict() for event in report.events]
            # The events as parsed, where the chain has other ones by now.
            account = account_to_dict(report) | {"events": None if parsed == events else parsed}
        return {
            "schema": SCHEMA,
            "id": self.id,
            "task": self.task,
            "metadata": dict(self.metadata),
            "text": self.text,
            "code_blocks": [asdict(block) for block in self.code_blocks],
            "parse_report": account,
            "events": events,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Chain:
        """Read what `to_dict` wrote.

        Raises
        ------
        SchemaVersionError
            If another version wrote it.
        ValueError, KeyError, TypeError, CausalTraceError
            If it is not what `to_dict` writes.
        """
        if data.get("schema") != SCHEMA:
            raise SchemaVersionError(data.get("schema"), SCHEMA)
        events = [Event.from_dict(event) for event in data["events"]]
        blocks = tuple(CodeBlock(**block) for block in data["code_blocks"])
        account = data["parse_report"]
        report = None
        if account is not None:
            parsed = account["events"]
            report = account_from_dict(
                account,
                events=tuple(events if parsed is None else map(Event.from_dict, parsed)),
                text=data["text"],
                code_blocks=blocks,
            )
        chain = cls(
            data["task"],
            id=data["id"],
            metadata=data["metadata"],
            text=data["text"],
            code_blocks=blocks,
            parse_report=report,
        )
        chain._append(events, keep_order=True)
        return chain

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chain) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # a chain grows
