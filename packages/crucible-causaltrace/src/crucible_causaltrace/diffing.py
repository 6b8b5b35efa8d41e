"""What changed from one chain to another."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from crucible_causaltrace.alignment import Match, align
from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import Event
from crucible_causaltrace.likeness import changed_fields, score

_MOVED = 0.9  # of its score is what a moved pair counts
_FIELDS = tuple(f.name for f in fields(Event) if f.name != "id")
_LINKS = ("parent", "depends_on", "contradicts")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPair:
    """An event of the old chain and what it is in the new one.

    `fields` names what differs, links included if they lead to other events; `score` is the mean
    similarity of type, decision, reasoning, code, alternatives and confidence, in [0, 1].
    """

    old: Event
    new: Event
    fields: tuple[str, ...]
    score: float
    moved: bool

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {
            "old": self.old.to_dict(),
            "new": self.new.to_dict(),
            "fields": list(self.fields),
            "score": self.score,
            "moved": self.moved,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainDiff:
    """What changed.

    `pairs` are all events that both chains have, in the old one's order. `similarity` is twice the
    sum of their scores, of which a moved pair counts nine tenths, over the number of events in both
    chains; it is 1.0 only if nothing changed, and None if both are empty.
    """

    added: tuple[Event, ...]
    removed: tuple[Event, ...]
    pairs: tuple[EventPair, ...]
    similarity: float | None
    old_task: str = field(repr=False)
    new_task: str = field(repr=False)

    @property
    def modified(self) -> tuple[EventPair, ...]:
        """The pairs of which something differs."""
        return tuple(pair for pair in self.pairs if pair.fields)

    @property
    def moved(self) -> tuple[EventPair, ...]:
        """The pairs of equal type and decision at another place or under another parent."""
        return tuple(pair for pair in self.pairs if pair.moved)

    @property
    def confidence_deltas(self) -> dict[str, float]:
        """New minus old confidence, by id in the new chain, where both are stated and differ."""
        return {
            pair.new.id: pair.new.confidence - pair.old.confidence
            for pair in self.pairs
            if pair.old.confidence is not None
            and pair.new.confidence is not None
            and pair.old.confidence != pair.new.confidence
        }

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {
            "similarity": self.similarity,
            "added": [event.to_dict() for event in self.added],
            "removed": [event.to_dict() for event in self.removed],
            "pairs": [pair.to_dict() for pair in self.pairs],
            "confidence_deltas": self.confidence_deltas,
        }

    def to_text(self) -> str:
        """Write what changed, a line an event: `+` added, `-` removed, `~` modified, `>` moved."""
        from crucible_causaltrace.diff_views import to_text

        return to_text(self)

    def to_html(self) -> str:
        """Write what changed as an escaped table without script, also what a notebook shows."""
        from crucible_causaltrace.diff_views import to_html

        return to_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()


def diff(
    old: Chain,
    new: Chain,
    *,
    match: Match = "auto",
    ignore: Collection[str] = ("time_s",),
) -> ChainDiff:
    """Compare two chains, event by event.

    Parameters
    ----------
    old, new : Chain
    match : {"auto", "id", "structure"}
        How events find each other: by id, or from the roots down, siblings of equal type and
        decision first, then of equal type and similar decision. "auto" goes by id if all ids were
        given by whoever wrote the events, and at least one is in both chains.
    ignore : collection of str
        Fields of `Event` that may differ. A scored one leaves the score.

    Returns
    -------
    ChainDiff
        `diff(new, old)` is its mirror: what was added is removed, with the same similarity.

    Raises
    ------
    ValueError
        If an argument is not known.
    """
    if match not in get_args(Match):
        raise ValueError(f"`match` must be one of {get_args(Match)}, got {match!r}")
    unknown = [ignore] if isinstance(ignore, str) else [n for n in ignore if n not in _FIELDS]
    if unknown:
        raise ValueError(f"`ignore` must be a collection of fields of an event, got {unknown}")
    # Of several alignments that are as good, both directions must find the same.
    if _content(new) < _content(old):
        back, moved_back = align(new, old, match=match)
        forth = {b: a for a, b in back.items()}
        pairs = {event.id: forth[event.id] for event in old if event.id in forth}
        moved = {back[id] for id in moved_back}
    else:
        pairs, moved = align(old, new, match=match)
    made = tuple(_compare(old[a], new[b], pairs, a in moved, ignore) for a, b in pairs.items())
    found = set(pairs.values())
    return ChainDiff(
        added=tuple(event for event in new if event.id not in found),
        removed=tuple(event for event in old if event.id not in pairs),
        pairs=made,
        similarity=_similarity(made, len(old) + len(new)),
        old_task=old.task,
        new_task=new.task,
    )


def _content(chain: Chain) -> list[tuple[str, ...]]:
    return [
        (event.type, event.decision or "", event.reasoning or "", event.id, *event.supports())
        for event in chain
    ]


def _compare(
    old: Event, new: Event, pairs: Mapping[str, str], moved: bool, ignore: Collection[str]
) -> EventPair:
    relinked = [
        name
        for name in _LINKS
        if name not in ignore and _mapped(old, name, pairs) != _ids(new, name)
    ]
    if moved and "parent" in relinked:
        relinked.remove("parent")  # that it moved says so
    return EventPair(
        old=old,
        new=new,
        fields=(*changed_fields(old, new, ignore=ignore), *relinked),
        score=score(old, new, ignore=ignore),
        moved=moved,
    )


def _ids(event: Event, name: str) -> set[str]:
    if name == "parent":
        return set() if event.parent is None else {event.parent}
    return set(event.depends_on if name == "depends_on" else event.contradicts)


def _mapped(event: Event, name: str, pairs: Mapping[str, str]) -> set[str]:
    # What was removed can be no id of the new chain: an id is never empty.
    return {pairs.get(id, "") for id in _ids(event, name)}


def _similarity(pairs: tuple[EventPair, ...], events: int) -> float | None:
    if not events:
        return None
    # Sorted, so that both directions add in one order.
    counted = sorted(pair.score * (_MOVED if pair.moved else 1.0) for pair in pairs)
    similarity = 2.0 * math.fsum(counted) / events
    same = 2 * len(pairs) == events and not any(pair.fields or pair.moved for pair in pairs)
    # What changed outside the scored fields shows too: 1.0 is said of equal chains only.
    return 1.0 if same else min(similarity, math.nextafter(1.0, 0.0))
