"""What a hedger has done: counts, latencies, the price."""

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from fractions import Fraction
from typing import Final

from crucible_hedging.effect import HedgeEffect, Sample, measure_effect
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
    shadowed : int
        Requests of which both copies were started at once for the log; not in hedged and backups.
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
    effect : HedgeEffect
        What hedging did to P99, computed when it is first read.
    """

    requests: int
    hedged: int
    backups: int
    wins: int
    failures: int
    cancelled: int
    shadowed: int
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
    _samples: tuple[Sample, ...] = field(default=(), repr=False, compare=False)
    _effect: list[HedgeEffect] = field(default_factory=list, repr=False, compare=False)

    @property
    def effect(self) -> HedgeEffect:
        """Measure the effect; half a second of bootstrap at most, done once for this record."""
        if not self._effect:
            self._effect.append(measure_effect(self._samples))
        return self._effect[0]

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record, with the effect."""
        names = [f.name for f in fields(self) if not f.name.startswith("_")]
        record = {name: getattr(self, name) for name in names}
        return {**record, "blocked": dict(self.blocked), "effect": asdict(self.effect)}


class Tally:
    """Counts of one key, or of all keys."""

    def __init__(self, window: int) -> None:
        self._samples: deque[Sample] = deque(maxlen=window)
        self._blocked: Counter[Blocked] = Counter()
        self._requests = self._hedged = self._backups = self._wins = 0
        self._failures = self._cancelled = self._shadowed = 0
        self._wasted_s = 0.0
        self._cost_usd: float | None = 0.0
        self._extra_cost_usd: float | None = 0.0
        self._first = math.inf
        self._last = -math.inf

    def start(self, index: int, now: float, *, shadow: bool) -> None:
        """Count an attempt that starts: a request where it is the primary, else a backup."""
        if index == 0:
            self._requests += 1
            self._shadowed += shadow
        elif not shadow:
            self._hedged += index == 1
            self._backups += 1
        if now < self._first:
            self._first = now
        if now > self._last:
            self._last = now

    def end(self, facts: Facts) -> None:
        """Count one request that is over."""
        if facts.winner is not None and facts.winner > 0 and not facts.shadow:
            self._wins += 1
        if facts.settled == "failed":
            self._failures += 1
        elif facts.settled is None:
            self._cancelled += 1
        if facts.blocked is not None:
            self._blocked[facts.blocked] += 1
        self._samples.append(facts.sample)
        self._wasted_s += facts.wasted_s
        self._cost_usd = _plus(self._cost_usd, facts.cost_usd)
        self._extra_cost_usd = _plus(self._extra_cost_usd, facts.extra_cost_usd)
        if facts.ended > self._last:
            self._last = facts.ended

    def late(self, wasted_s: float, usd: float | None) -> None:
        """Count a loser that ran on after its request."""
        self._wasted_s += wasted_s
        self._cost_usd = _plus(self._cost_usd, usd)
        self._extra_cost_usd = _plus(self._extra_cost_usd, usd)

    def summary(self) -> HedgeStatistics:
        """Return the figures as they are now."""
        samples = tuple(self._samples)
        latencies = sorted(s.total_s for s in samples if not math.isnan(s.total_s))
        uptime_s = self._last - self._first if self._requests else None
        return HedgeStatistics(
            requests=self._requests,
            hedged=self._hedged,
            backups=self._backups,
            wins=self._wins,
            failures=self._failures,
            cancelled=self._cancelled,
            shadowed=self._shadowed,
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
            _samples=tuple(s.frozen() for s in samples),
        )


def order_statistic(ordered: Sequence[float], p: str) -> float | None:
    """Return x_(k) with k = ceil(p (n + 1)), or None while k > n."""
    k = math.ceil(Fraction(p) * (len(ordered) + 1))
    return ordered[k - 1] if k <= len(ordered) else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _plus(sum_usd: float | None, usd: float | None) -> float | None:
    return None if sum_usd is None or usd is None else sum_usd + usd
