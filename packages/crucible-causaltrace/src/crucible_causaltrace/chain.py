"""Events in order, and the graph of what rests on what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from crucible_causaltrace.accounting import CodeBlock, ParseReport
from crucible_causaltrace.bridging import bridge
from crucible_causaltrace.chain_json import chain_from_dict, chain_to_dict
from crucible_causaltrace.contradictions import Contradiction, find_contradictions
from crucible_causaltrace.cycles import find_cycle
from crucible_causaltrace.errors import CycleError, DuplicateEventError, UnknownEventError
from crucible_causaltrace.event import Event, Json
from crucible_causaltrace.finding import find
from crucible_causaltrace.identity import new_id
from crucible_causaltrace.links import Links
from crucible_causaltrace.problems import Problem, find_problems
from crucible_causaltrace.queries import Query
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
        self._next = 0  # the place of the event that is added next
        self._links = Links(self._events)

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
            path = None if id is None else self._links.path(child, id)
            if path is not None:
                raise CycleError([*path, child])
        if parent is not None:
            event = replace(event, parent=parent)
        if depends_on is not None:
            event = replace(event, depends_on=(*event.depends_on, depends_on))
        if contradicts is not None:
            event = replace(event, contradicts=(*event.contradicts, contradicts))
        self._links.change(self[child], event)
        self._events[child] = event
        return event

    def restore(self, events: Iterable[Event]) -> None:
        """Append events with the places in `order` that they have, as `extend` does otherwise."""
        self._append(list(events), keep_order=True)

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
            for place, event in enumerate(events, start=self._next):
                if event.order != place:
                    batch[event.id] = replace(event, order=place)
        self._next = max(self._next, *(e.order + 1 for e in batch.values()), 0)
        self._events.update(batch)
        self._links.add(batch.values())
        return list(batch.values())

    # The graph

    @property
    def graph(self) -> networkx.DiGraph:
        """The frozen `networkx.DiGraph`; edge attribute `kind`: parent, depends_on or both."""
        return self._links.graph

    def roots(self) -> list[Event]:
        """List the events that rest on none."""
        return [event for event in self._events.values() if not event.supports()]

    def leaves(self) -> list[Event]:
        """List the events on which none rests."""
        return [event for event in self._events.values() if not self._links.after(event.id)]

    def parent(self, id: str) -> Event | None:
        """Return the event under which this one happened."""
        parent = self[id].parent
        return None if parent is None else self._events[parent]

    def children(self, id: str) -> list[Event]:
        """List the events that happened under this one."""
        self[id]
        after = self._links.after(id)
        return self._links.in_order(at for at in after if self[at].parent == id)

    def dependents(self, id: str) -> list[Event]:
        """List the events that depend on this one."""
        self[id]
        after = self._links.after(id)
        return self._links.in_order(at for at in after if id in self[at].depends_on)

    def ancestors(self, id: str) -> list[Event]:
        """List all events on which this one rests, over any number of links."""
        self[id]
        return self._links.reach(id, self._links.before)

    def descendants(self, id: str) -> list[Event]:
        """List all events that rest on this one, over any number of links."""
        self[id]
        return self._links.reach(id, self._links.after)

    def topological(self) -> list[Event]:
        """List the events so that each comes after all on which it rests, else in order."""
        return self._links.topological()

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
        return find(
            self._events.values(), where, types=types, sources=sources,
            min_confidence=min_confidence, max_confidence=max_confidence, text=text,
            pattern=pattern, stage=stage, since_s=since_s, until_s=until_s,
        )  # fmt: skip

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

    def contradictions(self) -> list[Contradiction]:
        """List where the chain speaks against itself, each with the rule that finds it.

        One event names another in `contradicts`; what was turned down is chosen later; or one
        decision is both chosen and rejected. Texts are compared without case, width, white space
        and punctuation.
        """
        return find_contradictions(self)

    def validate(self) -> list[Problem]:
        """List what is odd about the events; links are sound in every chain."""
        return find_problems(self)

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
        chain.restore(events)
        return chain

    # Storage

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads; nothing is left out."""
        return chain_to_dict(self)

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
        return chain_from_dict(data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chain) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # a chain grows
