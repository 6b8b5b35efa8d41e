"""What a hedger has done: counts, latencies, the price."""

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from fractions import Fraction
from typing import Final

from crucible_hedging.outcome import Blocked
from crucible_hedging.request import Facts


class AllKeys(Enum):
    """The type of `ALL`."""

    ALL = "all"


ALL: Final = AllKeys.ALL
"""All keys together, in `Hedger.statistics` and `Hedger.reset`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeStatistics:
    """What was sent and what came of it, of one key or of all.

    Attributes
    ----------
    requests : int
        Requests that have started, those under way included.
    hedged : int
        Requests for which a backup has started.
    backups : int
        Backups that have started; within the budget at every moment.
    wins : int
        Requests that a backup answered.
    failures : int
        Requests that raised.
    cancelled : int
        Requests that the caller gave up.
    blocked : mapping of str to int
        Why backups were not sent.
    fire_rate, extra_ratio, win_rate : float or None
        hedged / requests, backups / requests, wins / hedged; None where that is 0 / 0.
    p50_s, p95_s, p99_s, p999_s : float or None
        Of the end-to-end latencies of the last answered requests: order statistics x_(k) with
        k = ceil(p (n + 1)), None while k > n.
    wasted_s : float
        Seconds that attempts ran without being the answer.
    cost_usd, extra_cost_usd : float or None
        The price of all attempts, and of all but the answers; None if any of it is unknown.
    uptime_s : float or None
        From the first request to the last one that started or ended.
    requests_per_s : float or None
    """

    requests: int
    hedged: int
    backups: int
    wins: int
    failures: int
    cancelled: int
    blocked: Mapping[Blocked, int]
    fire_rate: float | None
    extra_ratio: float | None
    win_rate: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    p999_s: float | None
    wasted_s: float
    cost_usd: float | None
    extra_cost_usd: float | None
    uptime_s: float | None
    requests_per_s: float | None

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record."""
        return asdict(self)


class Tally:
    """Counts of one key, or of all keys."""

    def __init__(self, window: int) -> None:
        self._latencies: deque[float] = deque(maxlen=window)
        self._blocked: Counter[Blocked] = Counter()
        self._requests = self._hedged = self._backups = self._wins = 0
        self._failures = self._cancelled = 0
        self._wasted_s = 0.0
        self._cost_usd: float | None = 0.0
        self._extra_cost_usd: float | None = 0.0
        self._first = math.inf
        self._last = -math.inf

    def start(self, index: int, now: float) -> None:
        """Count an attempt that starts: a request where it is the primary, else a backup."""
        self._requests += index == 0
        self._hedged += index == 1
        self._backups += index > 0
        self._first, self._last = min(self._first, now), max(self._last, now)

    def end(self, facts: Facts) -> None:
        """Count one request that is over."""
        self._wins += facts.winner is not None and facts.winner > 0
        self._failures += facts.settled == "failed"
        self._cancelled += facts.settled is None
        if facts.blocked is not None:
            self._blocked[facts.blocked] += 1
        if facts.settled is not None and facts.settled != "failed":
            self._latencies.append(facts.ended - facts.started)
        self._wasted_s += facts.wasted_s
        self._cost_usd = _plus(self._cost_usd, facts.cost_usd)
        self._extra_cost_usd = _plus(self._extra_cost_usd, facts.extra_cost_usd)
        self._last = max(self._last, facts.ended)

    def summary(self) -> HedgeStatistics:
        """Return the figures as they are now."""
        latencies = sorted(self._latencies)
        uptime_s = self._last - self._first if self._requests else None
        return HedgeStatistics(
            requests=self._requests,
            hedged=self._hedged,
            backups=self._backups,
            wins=self._wins,
            failures=self._failures,
            cancelled=self._cancelled,
            blocked=dict(sorted(self._blocked.items())),
            fire_rate=_ratio(self._hedged, self._requests),
            extra_ratio=_ratio(self._backups, self._requests),
            win_rate=_ratio(self._wins, self._hedged),
            p50_s=order_statistic(latencies, "0.5"),
            p95_s=order_statistic(latencies, "0.95"),
            p99_s=order_statistic(latencies, "0.99"),
            p999_s=order_statistic(latencies, "0.999"),
            wasted_s=self._wasted_s,
            cost_usd=self._cost_usd if self._requests else None,
            extra_cost_usd=self._extra_cost_usd if self._requests else None,
            uptime_s=uptime_s,
            requests_per_s=self._requests / uptime_s if uptime_s else None,
        )


def order_statistic(ordered: Sequence[float], p: str) -> float | None:
    """Return x_(k) with k = ceil(p (n + 1)), or None while k > n."""
    k = math.ceil(Fraction(p) * (len(ordered) + 1))
    return ordered[k - 1] if k <= len(ordered) else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _plus(sum_usd: float | None, usd: float | None) -> float | None:
    return None if sum_usd is None or usd is None else sum_usd + usd
