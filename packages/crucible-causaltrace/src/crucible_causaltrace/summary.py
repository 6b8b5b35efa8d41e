"""Count and measure the events of a chain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crucible_causaltrace.chain import Chain

_BANDS = ((0.9, ">=0.9"), (0.7, ">=0.7"), (0.5, ">=0.5"), (0.3, ">=0.3"), (0.0, "<0.3"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStatistics:
    """Counts and measures of a chain.

    The confidences are those that were stated; None where none was. `bands` counts each of them
    once, in the highest band it reaches. `depth` is the number of links on the longest path.
    `duration_s` is the last end minus the first start of the timed events, None for fewer than two.
    """

    n: int
    by_type: Mapping[str, int]
    by_source: Mapping[str, int]
    confidence_n: int
    confidence_mean: float | None
    confidence_median: float | None
    confidence_min: float | None
    confidence_max: float | None
    bands: Mapping[str, int]
    depth: int
    roots: int
    leaves: int
    components: int
    duration_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


def summarise(chain: Chain) -> ChainStatistics:
    """Compute the statistics of a chain."""
    from statistics import fmean, median

    stated = [event.confidence for event in chain if event.confidence is not None]
    bands = dict.fromkeys((name for _, name in _BANDS), 0)
    for value in stated:
        bands[next(name for low, name in _BANDS if value >= low)] += 1
    return ChainStatistics(
        n=len(chain),
        by_type=dict(Counter(event.type for event in chain)),
        by_source=dict(Counter(event.source for event in chain)),
        confidence_n=len(stated),
        confidence_mean=fmean(stated) if stated else None,
        confidence_median=median(stated) if stated else None,
        confidence_min=min(stated, default=None),
        confidence_max=max(stated, default=None),
        bands=bands,
        depth=_depth(chain),
        roots=len(chain.roots()),
        leaves=len(chain.leaves()),
        components=_components(chain),
        duration_s=_duration(chain),
    )


def _depth(chain: Chain) -> int:
    depth: dict[str, int] = {}
    for event in chain.topological():
        depth[event.id] = max((depth[id] + 1 for id in event.supports()), default=0)
    return max(depth.values(), default=0)


def _components(chain: Chain) -> int:
    leader = {event.id: event.id for event in chain}

    def find(id: str) -> str:
        while leader[id] != id:
            leader[id] = id = leader[leader[id]]
        return id

    count = len(leader)
    for event in chain:
        for id in event.supports():
            a, b = find(event.id), find(id)
            if a != b:
                leader[a] = b
                count -= 1
    return count


def _duration(chain: Chain) -> float | None:
    timed = [
        (event.time_s, event.time_s + (event.duration_s or 0.0))
        for event in chain
        if event.time_s is not None
    ]
    if len(timed) < 2:
        return None
    return max(end for _, end in timed) - min(start for start, _ in timed)
