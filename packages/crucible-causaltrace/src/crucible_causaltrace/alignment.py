"""Which event of one chain is which of another."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import Event
from crucible_causaltrace.folding import fold

Match = Literal["auto", "id", "structure"]
_LIKE_ENOUGH = 0.6
# Given by the parser (e1) or from telemetry without span ids (s1), not by who wrote the text.
_GENERATED = re.compile(r"[es][0-9]+(~[0-9]+)?")
_MOST_CELLS = 1_000_000_000  # of the exact method's table: 125 MB of bits

Pairs = dict[str, str]  # id in the old chain -> id in the new one


def align(old: Chain, new: Chain, *, match: Match) -> tuple[Pairs, set[str]]:
    """Pair the events of two chains.

    Returns
    -------
    pairs : dict of str to str
        Id in the old chain -> id in the new one, in the old one's order.
    moved : set of str
        Ids, in the old chain, of those with equal type and decision but another parent or another
        place among their siblings.
    """
    if match == "id" or (match == "auto" and _both_have_ids(old, new)):
        pairs = {event.id: event.id for event in old if event.id in new}
    else:
        pairs = _by_structure(old, new)
    return pairs, _moved(old, new, pairs)


def _both_have_ids(old: Chain, new: Chain) -> bool:
    explicit = not any(_GENERATED.fullmatch(event.id) for chain in (old, new) for event in chain)
    return explicit and any(event.id in new for event in old)


def home(event: Event) -> str | None:
    """Return the id under which an event stands: its parent, else what it first depends on."""
    return event.supports()[0] if event.supports() else None


def _key(event: Event) -> tuple[str, str | None]:
    return event.type, None if event.decision is None else fold(event.decision)


def _families(chain: Chain) -> dict[str | None, list[Event]]:
    families: dict[str | None, list[Event]] = {}
    for event in chain:
        families.setdefault(home(event), []).append(event)
    return families


def _by_structure(old: Chain, new: Chain) -> Pairs:
    """Pair siblings from the roots down, then what is left over anywhere."""
    families = _families(old), _families(new)
    pairs: Pairs = {}
    waiting: list[tuple[str | None, str | None]] = [(None, None)]
    while waiting:
        above, other = waiting.pop()
        for a, b in _pair(families[0].get(above, []), families[1].get(other, [])):
            pairs[a.id] = b.id
            waiting.append((a.id, b.id))
    taken = set(pairs.values())
    rest = [event for event in old if event.id not in pairs]
    others = [event for event in new if event.id not in taken]
    pairs |= {a.id: b.id for a, b in _pair(rest, others)}
    return {event.id: pairs[event.id] for event in old if event.id in pairs}


def _pair(old: Sequence[Event], new: Sequence[Event]) -> list[tuple[Event, Event]]:
    """Pair what is equal and in order, then what is equal, then what is like."""
    if not old or not new:
        return []
    keys, others = [_key(event) for event in old], [_key(event) for event in new]
    places = common(keys, others)
    left = [n for n in range(len(old)) if n not in {a for a, _ in places}]
    right = [n for n in range(len(new)) if n not in {b for _, b in places}]
    where: dict[Hashable, list[int]] = {}
    for n in reversed(right):
        where.setdefault(others[n], []).append(n)
    for n in left:
        if where.get(keys[n]):
            places.append((n, where[keys[n]].pop()))
    done, other_done = {a for a, _ in places}, {b for _, b in places}
    places += _alike(
        [(n, old[n]) for n in left if n not in done],
        [(n, new[n]) for n in right if n not in other_done],
    )
    return [(old[a], new[b]) for a, b in places]


def _alike(
    old: Sequence[tuple[int, Event]], new: Sequence[tuple[int, Event]]
) -> list[tuple[int, int]]:
    """Pair events of equal type whose decisions are similar, the most similar first."""
    from rapidfuzz import process
    from rapidfuzz.distance import Indel

    by_type: dict[str, dict[int, str]] = {}
    for n, event in new:
        if event.decision is not None:
            by_type.setdefault(event.type, {})[n] = event.decision
    found = [
        (-likeness, n, other)
        for n, event in old
        if event.decision is not None and event.type in by_type
        for _, likeness, other in process.extract(
            event.decision,
            by_type[event.type],
            scorer=Indel.normalized_similarity,
            score_cutoff=_LIKE_ENOUGH,
            limit=None,
        )
    ]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, n, other in sorted(found):
        if n not in pairs and other not in taken:
            pairs[n] = other
            taken.add(other)
    return list(pairs.items())


def common(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the places of a longest common subsequence of two sequences.

    Beyond what fits into memory only what stands once in both is looked at.
    """
    if len(old) * len(new) > _MOST_CELLS:
        return _common_rare(old, new)
    from rapidfuzz.distance import LCSseq

    numbers: dict[Hashable, int] = {}
    one = [numbers.setdefault(key, len(numbers)) for key in old]
    other = [numbers.setdefault(key, len(numbers)) for key in new]
    return [
        (block.a + n, block.b + n)
        for block in LCSseq.opcodes(one, other).as_matching_blocks()
        for n in range(block.size)
    ]


def _common_rare(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[tuple[int, int]]:
    counts, other_counts = Counter(old), Counter(new)
    where = {key: n for n, key in enumerate(new)}
    places = [
        (n, where[key]) for n, key in enumerate(old) if counts[key] == 1 and other_counts[key] == 1
    ]
    return [places[n] for n in _rising([b for _, b in places])]


def _rising(numbers: Sequence[int]) -> list[int]:
    """Return the places of a longest rising subsequence."""
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for n, number in enumerate(numbers):
        at = bisect_left(tails, number)
        before.append(ends[at - 1] if at else -1)
        tails[at : at + 1] = [number]
        ends[at : at + 1] = [n]
    found = []
    n = ends[-1] if ends else -1
    while n >= 0:
        found.append(n)
        n = before[n]
    return found[::-1]


def _moved(old: Chain, new: Chain, pairs: Pairs) -> set[str]:
    place = {event.id: n for n, event in enumerate(new)}
    siblings: dict[str | None, list[str]] = {}
    moved: set[str] = set()
    for a, b in pairs.items():
        above, other = home(old[a]), home(new[b])
        if (None if above is None else pairs.get(above, "")) == other:
            siblings.setdefault(above, []).append(a)
        else:
            moved.add(a)
    for family in siblings.values():
        kept = {family[n] for n in _rising([place[pairs[a]] for a in family])}
        moved.update(a for a in family if a not in kept)
    return {a for a in moved if _key(old[a]) == _key(new[pairs[a]])}
