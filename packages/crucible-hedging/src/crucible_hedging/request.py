"""One request from its plan to its outcome: run the race, price it, tell everybody."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from crucible_hedging.costs import CancelledCost, Price, price, total
from crucible_hedging.delays.policy import DelayPolicy, Settled
from crucible_hedging.outcome import Attempt, Blocked, HedgeOutcome
from crucible_hedging.race import Race
from crucible_hedging.tracing import RequestSpan

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a request that is over leaves behind, however it ended.

    `settled` is None if the caller cancelled it. `wasted_s` and `extra_cost_usd` are about every
    attempt but the winner; where nobody won, about the backups.
    """

    settled: Settled | None
    started: float
    ended: float
    backups: int
    winner: int | None
    blocked: Blocked | None
    wasted_s: float
    cost_usd: float | None
    extra_cost_usd: float | None


class Records(Protocol):
    """Keeps the facts of requests, and serialises what a policy is told."""

    def record(self, facts: Facts, observe: Callable[[], None]) -> None:
        """Note a request that is over; `observe()` tells the policy."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Generic[T]):
    """A race, and who wants to know about it."""

    race: Race[T]
    policy: DelayPolicy
    delay_s: float | None
    blocked: Blocked | None
    key: Hashable
    cost: Callable[[Any], float | None] | None
    cancelled_cost: CancelledCost
    recorder: Records | None = None

    async def run(self) -> HedgeOutcome[T]:
        """Run the race and return its outcome, or raise what it ended with."""
        race, span = self.race, RequestSpan()
        prices: list[Price] | None = None
        settled: Settled | None = None
        error: BaseException | None = None
        try:
            await race.run()
            settled = "failed"
            prices = self._prices(self.cost)
            value = race.result()
            settled = _settled(race)
            return self._outcome(value, self._attempts(prices))
        except BaseException as raised:
            error = raised
            raise
        finally:
            # Where the caller cancelled, or `cost` raised, only reported prices are known.
            attempts = self._attempts(prices if prices is not None else self._prices(None))
            self._tell(span, attempts, settled, error)

    @property
    def _blocked(self) -> Blocked | None:
        return self.race.blocked or self.blocked

    def _prices(self, cost: Callable[[Any], float | None] | None) -> list[Price]:
        race = self.race
        return price(race.attempts, race.winner, cost=cost, cancelled_cost=self.cancelled_cost)

    def _attempts(self, prices: Sequence[Price]) -> tuple[Attempt, ...]:
        return tuple(
            Attempt(
                index=running.index,
                name=running.name,
                start_s=running.started - self.race.started,
                latency_s=None if running.ended is None else running.ended - running.started,
                status=running.status,
                error=running.error,
                cost_usd=usd,
                cost_source=source,
            )
            for running, (usd, source) in zip(self.race.attempts, prices, strict=True)
        )

    def _outcome(self, value: T, attempts: tuple[Attempt, ...]) -> HedgeOutcome[T]:
        race = self.race
        assert race.winner is not None
        costs = [attempt.cost_usd for attempt in attempts]
        return HedgeOutcome(
            value=value,
            winner=race.winner.index,
            hedged=race.backups > 0,
            hedge_won=race.winner.index > 0,
            latency_s=race.ended - race.started,
            delay_s=self.delay_s,
            requests=len(attempts),
            attempts=attempts,
            blocked=self._blocked,
            key=self.key,
            cost_usd=total(costs),
            known_cost_usd=total([usd for usd in costs if usd is not None]) or 0.0,
        )

    def _tell(
        self,
        span: RequestSpan,
        attempts: Sequence[Attempt],
        settled: Settled | None,
        error: BaseException | None,
    ) -> None:
        race = self.race
        winner = race.winner.index if race.winner is not None and settled != "failed" else None
        extra = [a for a in attempts if a.index != (winner or 0)]
        facts = Facts(
            settled=settled,
            started=race.started,
            ended=race.ended,
            backups=race.backups,
            winner=winner,
            blocked=self._blocked,
            wasted_s=sum(a.latency_s or 0.0 for a in extra),
            cost_usd=total([a.cost_usd for a in attempts]),
            extra_cost_usd=total([a.cost_usd for a in extra]),
        )
        span.end(
            policy=self.policy,
            key=self.key,
            delay_s=self.delay_s,
            blocked=facts.blocked,
            winner=winner,
            latency_s=race.ended - race.started,
            attempts=attempts,
            cost_usd=facts.cost_usd,
            wasted_s=facts.wasted_s,
            error=error,
        )

        def observe() -> None:
            self._observe(settled)

        if self.recorder is None:
            observe()
        else:
            self.recorder.record(facts, observe)

    def _observe(self, settled: Settled | None) -> None:
        """Tell the policy every attempt that answered or was cut short, and how it all ended."""
        decided = self.race.decided
        for running in self.race.attempts:
            if running.status in ("failed", "rejected") or running.ended is None:
                continue  # a fast refusal is not a fast answer
            won = running.status == "won"
            stopped = running.ended
            if not won and decided is not None:
                stopped = min(stopped, decided)  # it was beaten then; clean-up is not latency
            # A backup that won ends the request; the primary, beaten, is censored at that time.
            self.policy.observe(stopped - running.started, censored=not won, attempt=running.index)
        settle = getattr(self.policy, "settle", None)
        if settle is not None and settled is not None:
            settle(settled)


def _settled(race: Race[Any]) -> Settled:
    assert race.winner is not None
    if race.backups == 0:
        return "unhedged"
    return "won" if race.winner.index > 0 else "lost"
