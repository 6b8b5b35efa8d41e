"""How long a run will take: its schedule played through in virtual time."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crucible_harness.limits import Limits

_BURST_S = 1.0  # as the limiter allows


@dataclass(frozen=True, slots=True)
class TimedCall:
    """One request: which provider answers it, how long that takes, and its tokens."""

    key: str
    provider: str
    seconds: float
    tokens: int = 0


def play(
    cells: Sequence[Sequence[TimedCall]],
    *,
    concurrency: int,
    limits: Mapping[str, Limits],
) -> float:
    """Return the seconds from the first call to the last answer.

    Parameters
    ----------
    cells : the calls of each cell, in the order in which cells are started
        Calls of a cell are sent together. A key that was seen before is a shared answer: it is
        waited for, and not asked again.
    concurrency : int, >= 1
        Cells in work at a time; also the calls in flight to a provider that `limits` does not name.
    limits : mapping of provider to Limits

    Notes
    -----
    A cell starts when a worker is free; a call when its provider has a free place and its limits
    per minute (one second's worth at once) allow it. First come, first served.
    """
    workers = [0.0] * min(concurrency, max(1, len(cells)))
    places: dict[str, list[float]] = {}
    paces: dict[str, list[_Pace]] = {}
    answered: dict[str, float] = {}
    last = 0.0
    for cell in cells:
        begun = heapq.heappop(workers)
        done = begun
        for call in cell:
            if call.key not in answered:
                if call.provider not in places:
                    limit = limits.get(call.provider) or Limits(concurrency=concurrency)
                    places[call.provider] = [0.0] * limit.concurrency
                    paces[call.provider] = _paces(limit)
                free = places[call.provider]
                at = max(begun, heapq.heappop(free))
                for pace in paces[call.provider]:
                    at = max(at, pace.turn(at, call.tokens))
                answered[call.key] = at + call.seconds
                heapq.heappush(free, answered[call.key])
            done = max(done, answered[call.key])
        heapq.heappush(workers, done)
        last = max(last, done)
    return last


class _Pace:
    """An average rate with a burst of one second (generic cell rate algorithm)."""

    def __init__(self, per_minute: float, *, of_tokens: bool) -> None:
        self._each, self._of_tokens, self._free_at = 60.0 / per_minute, of_tokens, -float("inf")

    def turn(self, now: float, tokens: int) -> float:
        length = self._each * (tokens if self._of_tokens else 1)
        at = max(now, self._free_at + min(length, _BURST_S) - _BURST_S)
        self._free_at = max(self._free_at, at) + length
        return at


def _paces(limit: Limits) -> list[_Pace]:
    found = []
    if limit.requests_per_minute is not None:
        found.append(_Pace(limit.requests_per_minute, of_tokens=False))
    if limit.tokens_per_minute is not None:
        found.append(_Pace(limit.tokens_per_minute, of_tokens=True))
    return found
