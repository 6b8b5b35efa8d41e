"""How alike two events are, field by field."""

from collections.abc import Collection

from crucible_causaltrace.event import Event

SCORED = ("type", "decision", "reasoning", "code", "alternatives", "confidence")
# Of one text, one chain or one clock; no part of what an event says.
_PLACES = ("id", "order", "span", "parent", "depends_on", "contradicts")


def score(old: Event, new: Event, *, ignore: Collection[str] = ()) -> float:
    """Return the mean similarity of the scored fields that are not ignored, in [0, 1]."""
    fields = [name for name in SCORED if name not in ignore]
    if not fields:
        return 1.0
    return sum(_similar(name, old, new) for name in fields) / len(fields)


def text_similarity(old: str | None, new: str | None) -> float:
    """Return 2 LCS / (a + b) of two texts; 1 if both are unknown, 0 if one is."""
    if old is None or new is None:
        return float(old is new)
    from rapidfuzz.distance import Indel

    return float(Indel.normalized_similarity(old, new))


def changed_fields(old: Event, new: Event, *, ignore: Collection[str] = ()) -> tuple[str, ...]:
    """Name the fields that differ, links and places left out."""
    before, after = old.to_dict(), new.to_dict()
    return tuple(
        name
        for name in before
        if name not in _PLACES and name not in ignore and before[name] != after[name]
    )


def _similar(name: str, old: Event, new: Event) -> float:
    if name == "type":
        return float(old.type == new.type)
    if name == "alternatives":
        one, other = set(old.alternatives), set(new.alternatives)
        return len(one & other) / len(one | other) if one | other else 1.0
    if name == "confidence":
        if old.confidence is None or new.confidence is None:
            return float(old.confidence is new.confidence)
        return 1.0 - abs(old.confidence - new.confidence)
    return text_similarity(getattr(old, name), getattr(new, name))
