"""One request from its plan to its outcome: run the race, price it, tell everybody."""

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from crucible_hedging.attempt import Running
from crucible_hedging.costs import CancelledCost, Price, price, total
from crucible_hedging.delays.policy import DelayPolicy, Settled
from crucible_hedging.effect import Sample
from crucible_hedging.outcome import Attempt, Blocked, HedgeOutcome
from crucible_hedging.race import Race
from crucible_hedging.tracing import RequestSpan
from crucible_hedging.track import Track

T = TypeVar("T")
_UNKNOWN: Sequence[Price] = ((None, None),)


@dataclass(slots=True, kw_only=True)
class Facts:
    """What a request that is over leaves behind, however it ended.

    `settled` is None if the caller cancelled it. `wasted_s` and `extra_cost_usd` are about every
    attempt that has stopped, but the winner; where nobody won, about the backups. A loser that runs
    on is counted when it stops.
    """

    settled: Settled | None
    started: float
    ended: float
    backups: int
    winner: int | None
    blocked: Blocked | None
    shadow: bool
    wasted_s: float
    cost_usd: float | None
    extra_cost_usd: float | None
    sample: Sample


class Records(Protocol):
    """Keeps the facts of requests, and serialises what a policy is told."""

    def record(self, facts: Facts, observe: Callable[[], None]) -> None:
        """Note a request that is over; `observe()` tells the policy."""
        ...

    def late(self, wasted_s: float, usd: float | None, observe: Callable[[], None]) -> None:
        """Note a loser that ran on and has stopped; `observe()` tells the policy."""
        ...


class Pairing(Protocol):
    """Writes down both copies of a request when both have stopped."""

    def write(self, attempts: Sequence[Running], prices: Sequence[Price], *, key: Hashable) -> None:
        """Write the record."""
        ...


class Request(Generic[T]):
    """A race, and who wants to know about it."""

    __slots__ = (
        "_blocked", "_cancelled_cost", "_cost", "_delay_s", "_key", "_pairing", "_policy", "_race",
        "_recorder", "_sample", "_settled", "_span", "_told",
    )  # fmt: skip

    def __init__(
        self,
        *,
        race: Race[T],
        policy: DelayPolicy,
        delay_s: float | None,
        blocked: Blocked | None,
        key: Hashable,
        cost: Callable[[Any], float | None] | None,
        cancelled_cost: CancelledCost,
        recorder: Records | None = None,
        pairing: Pairing | None = None,
    ) -> None:
        self._race, self._policy, self._delay_s = race, policy, delay_s
        self._blocked: Blocked | None = blocked
        self._key, self._cost, self._cancelled_cost = key, cost, cancelled_cost
        self._recorder, self._pairing = recorder, pairing
        self._told = False
        race.late = self._late

    async def run(self, track: Track | None = None) -> HedgeOutcome[T]:
        """Run the race and return its outcome, or raise what it ended with."""
        race = self._race
        self._span = RequestSpan()
        attempts: tuple[Attempt, ...] | None = None
        settled: Settled | None = None
        error: BaseException | None = None
        try:
            await race.run(track)
            settled = "failed"
            attempts = self._attempts(self._prices(self._cost))
            value = race.result()
            settled = _settled(race)
            return self._outcome(value, attempts)
        except BaseException as raised:
            error = raised
            raise
        finally:
            # Where the caller cancelled, or `cost` raised, only reported prices are known.
            if attempts is None:
                attempts = self._attempts(self._prices(None))
            self._tell(attempts, settled, error)

    def _prices(self, cost: Callable[[Any], float | None] | None) -> Sequence[Price]:
        attempts = self._race.attempts
        if cost is None and len(attempts) == 1 and attempts[0].reported_usd is None:
            return _UNKNOWN
        return price(attempts, self._race.winner, cost=cost, cancelled_cost=self._cancelled_cost)

    def _attempts(self, prices: Sequence[Price]) -> tuple[Attempt, ...]:
        running = self._race.attempts
        if len(running) == 1:
            return (self._attempt(running[0], prices[0]),)
        return tuple(map(self._attempt, running, prices))

    def _attempt(self, running: Running, known: Price) -> Attempt:
        return Attempt(
            index=running.index,
            name=running.name,
            start_s=running.started - self._race.started,
            latency_s=None if running.ended is None else running.ended - running.started,
            status=running.status,
            error=running.error,
            cost_usd=known[0],
            cost_source=known[1],
        )

    def _outcome(self, value: T, attempts: tuple[Attempt, ...]) -> HedgeOutcome[T]:
        race = self._race
        assert race.winner is not None
        index = race.winner.index
        if len(attempts) == 1:
            usd = attempts[0].cost_usd
            known_usd = usd or 0.0
        else:
            costs = [attempt.cost_usd for attempt in attempts]
            usd = total(costs)
            known_usd = total([cost for cost in costs if cost is not None]) or 0.0
        return HedgeOutcome(
            value=value,
            winner=index,
            hedged=len(attempts) > 1,
            hedge_won=index > 0,
            latency_s=race.ended - race.started,
            delay_s=self._delay_s,
            requests=len(attempts),
            attempts=attempts,
            blocked=race.blocked or self._blocked,
            key=self._key,
            cost_usd=usd,
            known_cost_usd=known_usd,
            shadow=race.shadow,
        )

    def _tell(
        self,
        attempts: Sequence[Attempt],
        settled: Settled | None,
        error: BaseException | None,
    ) -> None:
        race, winner = self._race, None
        if race.winner is not None and settled != "failed":
            winner = race.winner.index
        cost_usd: float | None = attempts[0].cost_usd if attempts else 0.0
        extra_usd: float | None = 0.0
        wasted_s = 0.0
        if len(attempts) > 1:
            stopped = [a for a in attempts if a.latency_s is not None]
            extra = [a for a in stopped if a.index != (winner or 0)]
            cost_usd = total([a.cost_usd for a in stopped])
            extra_usd = total([a.cost_usd for a in extra])
            wasted_s = sum(a.latency_s or 0.0 for a in extra)
        self._settled = settled
        self._sample = self._sampled(answered=winner is not None)
        facts = Facts(
            settled=settled,
            started=race.started,
            ended=race.ended,
            backups=race.backups,
            winner=winner,
            blocked=race.blocked or self._blocked,
            shadow=race.shadow,
            wasted_s=wasted_s,
            cost_usd=cost_usd,
            extra_cost_usd=extra_usd,
            sample=self._sample,
        )
        self._span.end(
            policy=self._policy,
            key=self._key,
            delay_s=self._delay_s,
            facts=facts,
            attempts=attempts,
            error=error,
        )
        self._told = True
        if self._recorder is None:
            self._observe_all()
        else:
            self._recorder.record(facts, self._observe_all)
        if self._pairing is not None:
            self._write_pair()

    def _observe_all(self) -> None:
        for running in self._race.attempts:
            self._observe(running)
        settle = getattr(self._policy, "settle", None)
        if settle is not None and self._settled is not None and not self._race.shadow:
            settle(self._settled)

    def _sampled(self, *, answered: bool) -> Sample:
        race = self._race
        total_s = race.ended - race.started if answered else math.nan
        if answered and len(race.attempts) == 1:
            return Sample(total_s, censored=False, total_s=total_s)
        if not race.attempts:
            return Sample(math.nan, censored=False, total_s=total_s)
        primary = race.attempts[0]
        sample = Sample(self._seen(primary), censored=primary.status != "won", total_s=total_s)
        if primary.status in ("failed", "rejected"):
            sample.primary_s = math.nan
        elif primary.status == "lost":
            sample.censored, sample.explored = False, primary.kept
        sample.open = primary.ended is None
        return sample

    def _seen(self, running: Running) -> float:
        """Return how long an attempt was seen to run; a beaten one's clean-up is not latency."""
        decided, stopped = self._race.decided, running.ended
        if stopped is None:
            stopped = self._race.ended if decided is None else decided
        elif decided is not None and not running.answered and not running.kept:
            stopped = min(stopped, decided)
        return max(stopped - running.started, 0.0)

    def _observe(self, running: Running) -> None:
        """Tell the policy an attempt that answered or was cut short."""
        if running.ended is None or running.status in ("failed", "rejected"):
            return  # a fast refusal is not a fast answer
        # A backup that won ends the request; the primary, beaten, is censored at that time.
        censored = not running.answered
        self._policy.observe(self._seen(running), censored=censored, attempt=running.index)

    def _late(self, running: Running) -> None:
        """Count a loser that ran on and has stopped."""
        if not self._told:
            return  # the request itself is not over yet: this loser is counted with it
        sample = self._sample
        if running.index == 0:
            sample.open = False
            if running.answered:
                sample.primary_s, sample.censored = self._seen(running), False
                sample.explored = True
            elif running.status == "failed":
                sample.primary_s = math.nan
            else:
                sample.primary_s = self._seen(running)
        try:
            known = self._prices(self._cost)[running.index]
        except Exception as error:  # noqa: BLE001  # nobody is left to raise it to
            warnings.warn(
                f"`cost` raised {type(error).__name__} for a loser that ran on: {error}; its "
                "price is unknown",
                RuntimeWarning,
                stacklevel=2,
            )
            known = (running.reported_usd, None)
        attempt = self._attempt(running, known)
        self._span.late(attempt)
        if self._recorder is not None:
            self._recorder.late(attempt.latency_s or 0.0, known[0], lambda: self._observe(running))
        self._write_pair()

    def _write_pair(self) -> None:
        attempts = self._race.attempts
        if self._pairing is None or any(running.ended is None for running in attempts):
            return
        pairing, self._pairing = self._pairing, None
        try:
            prices = self._prices(self._cost)
        except Exception:  # noqa: BLE001  # it was raised, or warned of, before
            prices = self._prices(None)
        pairing.write(attempts, prices, key=self._key)


def _settled(race: Race[Any]) -> Settled:
    assert race.winner is not None
    if race.backups == 0:
        return "unhedged"
    return "won" if race.winner.index > 0 else "lost"
