"""How recorded spans hang together beyond who is whose parent."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, zip_longest
from typing import Any

from crucible_causaltrace.event import Event
from crucible_causaltrace.span_rules import attribute

_CALLS = ("system:model_call", "system:retry")
_MEMBER = "crucible.ensemble.member"
# Spans under which several calls are attempts at the same thing, one after the other.
_ONE_QUESTION = (_MEMBER, "crucible.hedging.attempt")
_FAILED = ("error", "timeout")
# Durations and starts come from two clocks and pass through floats.
_SAME_TIME_NS = 1_000


def link(
    spans: Sequence[Mapping[str, Any]], made: list[Event], parents: Sequence[int | None]
) -> None:
    """Let attempts follow attempts, retries what failed, stages each other, and votes their calls.

    Parameters
    ----------
    spans : sequence of mapping
        By start.
    made : list of Event
        One for each span; replaced where links are added.
    parents : sequence of int or None
        The place of each span's parent.
    """
    under: dict[int, list[int]] = {}
    for place, above in enumerate(parents):
        if above is not None:
            under.setdefault(above, []).append(place)
    for above, places in under.items():
        _chain_attempts([p for p in places if made[p].type == "system:attempt"], spans, made)
        if made[above].type == "system:cascade":
            _chain_stages([p for p in places if spans[p]["name"] == _MEMBER], spans, made)
        calls = [p for p in places if made[p].type in _CALLS]
        hedges = [p for p in places if made[p].type == "system:hedge"]
        raced = _attach_to_attempts(calls, hedges, under, spans, made)
        if spans[above]["name"] in _ONE_QUESTION:
            _mark_retries([p for p in calls if p not in raced], spans, made)
    votes = {p for p, span in enumerate(spans) if span["name"] == "crucible.ensemble.vote"}
    for vote in votes:
        above = parents[vote]
        if above is None:
            continue
        calls = _calls_below(above, under, made, votes)
        ended = [p for p in calls if p != vote and _ended_before(spans[p], spans[vote])]
        if ended:
            depends_on = (*made[vote].depends_on, *(made[p].id for p in sorted(ended)))
            made[vote] = replace(made[vote], depends_on=depends_on)


def _chain_attempts(
    places: list[int], spans: Sequence[Mapping[str, Any]], made: list[Event]
) -> None:
    def index(place: int) -> tuple[int, int]:
        stated = attribute(spans[place], "crucible.hedging.attempt.index")
        return (stated if isinstance(stated, int) else place), place

    places = sorted(places, key=index)
    for before, after in pairwise(places):
        made[after] = replace(made[after], depends_on=(*made[after].depends_on, made[before].id))


def _attach_to_attempts(
    calls: list[int],
    hedges: list[int],
    under: Mapping[int, list[int]],
    spans: Sequence[Mapping[str, Any]],
    made: list[Event],
) -> set[int]:
    """Let calls rest on the attempts that made them; return those that were raced.

    A hedger leaves the caller's span the current one, so that an attempt and its call are recorded
    side by side: the calls that start while a hedge runs are its attempts', one each and in order.
    Where a busy machine had the hedge recorded as shorter than it was, they are those that start
    before the next hedge does.
    """
    raced: set[int] = set()
    for hedge, following in zip_longest(hedges, hedges[1:]):
        attempts = [p for p in under.get(hedge, ()) if made[p].type == "system:attempt"]
        begun = [p for p in calls if _starts_within(spans[p], spans[hedge])]
        if len(begun) < len(attempts):
            begun = [p for p in calls if hedge < p and (following is None or p < following)]
        if len(attempts) != len(begun):
            continue  # who made which cannot be known
        for attempt, call in zip(attempts, begun, strict=True):
            depends_on = (*made[call].depends_on, made[attempt].id)
            made[call] = replace(made[call], depends_on=depends_on)
        raced.update(begun)
    return raced


def _chain_stages(places: list[int], spans: Sequence[Mapping[str, Any]], made: list[Event]) -> None:
    """Say of each stage of a cascade but the first that it was gone on to, and after which."""
    for before, after in pairwise(places):
        member = attribute(spans[after], "crucible.ensemble.member")
        made[after] = replace(
            made[after],
            type="system:escalation",
            decision=None if member is None else f"ask {member}",
            depends_on=(*made[after].depends_on, made[before].id),
        )


def _mark_retries(places: list[int], spans: Sequence[Mapping[str, Any]], made: list[Event]) -> None:
    """Mark the calls that begin after an earlier one for the same question has failed."""
    for before, after in pairwise(places):
        failed = spans[before]["outcome"] in _FAILED and _ended_before(spans[before], spans[after])
        if failed or made[after].type == "system:retry":
            made[after] = replace(
                made[after],
                type="system:retry",
                depends_on=(*made[after].depends_on, made[before].id),
            )


def _calls_below(
    above: int, under: Mapping[int, list[int]], made: Sequence[Event], votes: set[int]
) -> list[int]:
    """List the calls under a span; where a part of them was voted on, that vote instead."""
    found: list[int] = []
    waiting = [p for p in under.get(above, ()) if p not in votes]
    while waiting:
        place = waiting.pop()
        below = under.get(place, ())
        if made[place].type in _CALLS:
            found.append(place)
        elif any(p in votes for p in below):
            found += [p for p in below if p in votes]
        else:
            waiting += below
    return found


def _starts_within(span: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    at, start, duration = span["start_ns"], other["start_ns"], other["duration_s"]
    if at is None or start is None or duration is None:
        return False
    end = start + round(duration * 1e9)
    return bool(start - _SAME_TIME_NS <= at <= end + _SAME_TIME_NS)


def _ended_before(span: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    start, duration, begun = span["start_ns"], span["duration_s"], other["start_ns"]
    if start is None or duration is None or begun is None:
        return False
    return bool(start + round(duration * 1e9) <= begun + _SAME_TIME_NS)
