"""What votes share: adding up, and finding who leads."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from crucible_ensemble.prediction import Tally

NOBODY = "no member gave an answer that could be read"


def added(votes: Iterable[tuple[str | None, float]]) -> dict[str, float]:
    """Return the sum per key, in the order of the keys; None is left out.

    Sums are exact until they are rounded, so the order of ballots cannot change them.
    """
    parts: dict[str, list[float]] = {}
    for key, score in votes:
        if key is not None:
            parts.setdefault(key, []).append(score)
    return {key: math.fsum(parts[key]) for key in sorted(parts)}


def leaders(scores: Mapping[str, float]) -> tuple[str, ...]:
    """Return the keys with the highest score, sorted; equal up to rounding is equal."""
    if not scores:
        return ()
    best = max(scores.values())
    return tuple(
        k for k, s in scores.items() if math.isclose(s, best, rel_tol=1e-12, abs_tol=1e-12)
    )


def tally(scores: Mapping[str, float], *, confidence: float | None = None, **facts: Any) -> Tally:
    """Return the count with its winner, its tie, or nobody."""
    first = leaders(scores)
    if not first:
        return Tally(scores=scores, reason=NOBODY, **facts)
    if len(first) > 1:
        return Tally(scores=scores, tied=tuple(sorted(first)), confidence=confidence, **facts)
    return Tally(scores=scores, winner=first[0], confidence=confidence, **facts)


def beaten(scores: Mapping[str, float], still_open: float) -> bool:
    """Say whether the leader stays ahead whatever `still_open` more points do.

    An answer that nobody gave yet has 0 points, and may still get all of them.
    """
    if not scores:
        return False
    first, second = 0.0, 0.0
    for score in scores.values():
        if score > first:
            first, second = score, first
        elif score > second:
            second = score
    return first - second > still_open + 1e-12
