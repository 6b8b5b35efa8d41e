"""Race tiers of different quality and price: the next starts when one is late, fails or is poor."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, cast

import anyio

from crucible_hedging import attempt as current
from crucible_hedging.attempt import Running
from crucible_hedging.costs import Price, total
from crucible_hedging.delays.fixed import check_delay_s
from crucible_hedging.errors import AllAttemptsFailedError, RejectedError
from crucible_hedging.failures import Classifier, default_classify
from crucible_hedging.outcome import Attempt
from crucible_hedging.tracing import tiers_span

T = TypeVar("T")
Ended = Literal["accepted", "exhausted", "deadline"]
Prefer = Literal["first_accepted", "best_quality"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier(Generic[T]):
    """One way to get an answer.

    Attributes
    ----------
    name : str
    call : callable
        Returns an awaitable.
    delay_s : float, >= 0
        Seconds after this tier's start at which the next one starts; must be 0 for the last.
    min_quality : float, optional
        Answers below it are not accepted.
    cost_usd : float, optional
        The price of one call, paid also if it loses; None: unknown, unless it is reported.
    """

    name: str
    call: Callable[[], Awaitable[T]]
    delay_s: float
    min_quality: float | None = None
    cost_usd: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.call):
            raise TypeError(f"`call` must be callable, got {type(self.call).__name__}")
        check_delay_s(self.delay_s, name="delay_s")
        if self.cost_usd is not None and not 0 <= self.cost_usd < math.inf:
            raise ValueError(f"`cost_usd` must be a finite number >= 0, got {self.cost_usd}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOutcome(Generic[T]):
    """The answer, the tier that gave it, and what it took.

    Attributes
    ----------
    value : T
    tier : str
    quality : float or None
        None: not measured.
    accepted : bool
        False: the best that there was, below its tier's quality.
    started : tuple of str
        The tiers that were started, in that order.
    attempts : tuple of Attempt
    latency_s : float
    cost_usd : float or None
        Of all tiers that were started; None if any price is unknown.
    ended : str
        "accepted"; "exhausted": every tier ended; "deadline".
    """

    value: T
    tier: str
    quality: float | None
    accepted: bool
    started: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    latency_s: float
    cost_usd: float | None
    ended: Ended

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record without the value."""
        return {
            "tier": self.tier,
            "quality": self.quality,
            "accepted": self.accepted,
            "started": list(self.started),
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "latency_s": self.latency_s,
            "cost_usd": self.cost_usd,
            "ended": self.ended,
        }


async def hedge_tiers(
    tiers: Sequence[Tier[T]],
    *,
    quality: Callable[[T], float | None] | None = None,
    deadline_s: float | None = None,
    prefer: Prefer = "first_accepted",
    classify: Classifier = default_classify,
) -> TierOutcome[T]:
    """Try tiers in order, each beside those before it; take an answer that is good enough.

    The next tier starts when the one before it is late, has failed, or answered below its
    `min_quality`. All that have started stay in one race: an early tier that is late may still win.

    Parameters
    ----------
    tiers : sequence of Tier, at least one
    quality : callable, optional
        The quality of an answer, None where it cannot be measured; such an answer is accepted only
        by a tier without `min_quality`. Needed if a tier has one.
    deadline_s : float, > 0, optional
        When the best answer so far is taken as it is.
    prefer : {"first_accepted", "best_quality"}
        Return the first answer that is accepted; or, once one is accepted, start no further tier
        but wait for those that run, and return the best.
    classify : Classifier
        After a "fatal" or "pushback" failure, other tiers with the very same call are given up.

    Returns
    -------
    TierOutcome
        Where nothing was accepted, the answer of the best quality (ties to the earlier tier).

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or a call does not return an awaitable.
    AllAttemptsFailedError
        If every tier failed.
    TimeoutError
        If there is no answer at all at the deadline.

    Notes
    -----
    Losers are cancelled, and their clean-up is awaited, before this returns or raises.
    """
    tiers = list(tiers)
    if not tiers:
        raise ValueError("`tiers` must hold at least one Tier, got none")
    if tiers[-1].delay_s != 0:
        raise ValueError(
            f"`delay_s` must be 0 for the last tier, after which none starts, "
            f"got {tiers[-1].delay_s}"
        )
    if len({tier.name for tier in tiers}) < len(tiers):
        raise ValueError(f"`tiers` must have different names, got {[t.name for t in tiers]}")
    if deadline_s is not None and (isinstance(deadline_s, bool) or not deadline_s > 0):
        raise ValueError(f"`deadline_s` must be > 0 or None, got {deadline_s}")
    if prefer not in ("first_accepted", "best_quality"):
        raise ValueError(f'`prefer` must be "first_accepted" or "best_quality", got {prefer!r}')
    if quality is None and (
        prefer == "best_quality" or any(tier.min_quality is not None for tier in tiers)
    ):
        raise ValueError('`quality` must be given with "best_quality" or a `min_quality`, got None')
    contest = Contest(tiers, quality=quality, prefer=prefer, classify=classify)
    with tiers_span() as span:
        await contest.run(deadline_s)
        outcome = contest.outcome()
        span.set_attribute("crucible.hedging.tier", outcome.tier)
        span.set_attribute("crucible.hedging.accepted", outcome.accepted)
        return outcome


class Contest(Generic[T]):
    """The race of the tiers: run it once, then ask for the outcome."""

    def __init__(
        self,
        tiers: Sequence[Tier[T]],
        *,
        quality: Callable[[T], float | None] | None,
        prefer: Prefer,
        classify: Classifier,
    ) -> None:
        self._tiers, self._quality, self._prefer = tiers, quality, prefer
        self._classify = classify
        self._waiting = list(tiers)
        self._run: list[tuple[Tier[T], Running]] = []
        self._qualities: dict[int, float | None] = {}
        self._accepted: set[int] = set()
        self._given_up: list[Callable[[], Awaitable[T]]] = []
        self._raised: BaseException | None = None
        self._late = False
        self._changed = anyio.Event()
        self._began = self._ended = 0.0

    async def run(self, deadline_s: float | None) -> None:
        """Run until an answer is taken, all have ended, or the deadline."""
        self._began = anyio.current_time()
        try:
            async with anyio.create_task_group() as group:
                with anyio.move_on_after(deadline_s) as limit:
                    while not self._over():
                        if self._next_is_due():
                            tier = self._waiting.pop(0)
                            group.start_soon(self._attempt, tier, self._begin(tier))
                            continue
                        self._changed = anyio.Event()
                        with anyio.CancelScope(deadline=self._due()):
                            await self._changed.wait()
                        await anyio.lowlevel.checkpoint()  # what ends at this moment goes first
                self._late = limit.cancelled_caught
                group.cancel_scope.cancel()
            await anyio.lowlevel.checkpoint_if_cancelled()
        finally:
            self._ended = anyio.current_time()
        if self._raised is not None:
            raise self._raised

    def _over(self) -> bool:
        if self._raised is not None or (self._accepted and self._prefer == "first_accepted"):
            return True
        self._waiting = [t for t in self._waiting if t.call not in self._given_up]
        return not self._running() and (not self._waiting or bool(self._accepted))

    def _running(self) -> list[Running]:
        return [running for _, running in self._run if running.ended is None]

    def _due(self) -> float:
        """Return when the next tier starts."""
        if not self._run:
            return -math.inf
        if not self._waiting or self._accepted:
            return math.inf
        tier, running = self._run[-1]
        return running.started + tier.delay_s if running.ended is None else -math.inf

    def _next_is_due(self) -> bool:
        return bool(self._waiting) and anyio.current_time() >= self._due()

    def _begin(self, tier: Tier[T]) -> Running:
        index = len(self._run)
        call_id = next(
            (r.call_id for t, r in self._run if t.call is tier.call or t.call == tier.call), index
        )
        running = Running(index, tier.call, call_id=call_id, started=anyio.current_time())
        running.scope = anyio.CancelScope()
        self._run.append((tier, running))
        return running

    async def _attempt(self, tier: Tier[T], running: Running) -> None:
        assert running.scope is not None
        with running.scope:
            token = current.enter(running)
            try:
                awaitable: Any = tier.call()
                if not hasattr(awaitable, "__await__"):
                    kind = type(awaitable).__name__
                    mistake = TypeError(f"tier {tier.name} must return an awaitable, got {kind}")
                    self._raised = self._raised or mistake
                    raise mistake
                value = await awaitable
            except anyio.get_cancelled_exc_class():
                running.end("cancelled", anyio.current_time())
                raise
            except Exception as error:  # noqa: BLE001  # kept, and raised if nobody answers
                running.end("failed", anyio.current_time(), error)
                self._on_failure(tier, error)
            except BaseException as error:  # noqa: BLE001  # raised after the clean-up
                running.end("failed", anyio.current_time(), error)
                self._raised = error
            else:
                running.value, running.answered = value, True
                running.end("lost", anyio.current_time())
                self._on_answer(tier, running, value)
            finally:
                current.leave(token)
                self._changed.set()

    def _on_answer(self, tier: Tier[T], running: Running, value: T) -> None:
        try:
            measured = None if self._quality is None else self._quality(value)
            if measured is not None:
                measured = float(measured)
        except BaseException as error:  # noqa: BLE001  # the caller's mistake, after the clean-up
            self._raised = self._raised or error
            return
        self._qualities[running.index] = measured
        least = tier.min_quality
        if least is None or (measured is not None and measured >= least):
            self._accepted.add(running.index)
        else:
            running.status = "rejected"

    def _on_failure(self, tier: Tier[T], error: Exception) -> None:
        try:
            verdict = self._classify(error)
        except BaseException as mistake:  # noqa: BLE001  # the caller's, after the clean-up
            self._raised = self._raised or mistake
            return
        if verdict.kind == "retryable":
            return
        self._given_up.append(tier.call)
        if verdict.kind == "fatal":
            for other, running in self._run:
                if running.ended is None and other.call == tier.call:
                    assert running.scope is not None
                    running.scope.cancel()

    def outcome(self) -> TierOutcome[T]:
        """Return the answer taken, or raise because there is none."""
        answered = [running for _, running in self._run if running.answered]
        if not answered:
            failures = [r.error for _, r in self._run if isinstance(r.error, Exception)]
            if self._late:
                raise TimeoutError(
                    f"no tier had answered at the deadline; {len(failures)} of {len(self._run)} "
                    "that were started had failed"
                )
            raise AllAttemptsFailedError(failures)
        good = [running for running in answered if running.index in self._accepted]
        if good and self._prefer == "first_accepted":
            taken = min(good, key=lambda r: r.ended or 0.0)
        else:
            taken = max(good or answered, key=self._rank)
        taken.status = "won"
        tier = self._run[taken.index][0]
        accepted = taken.index in self._accepted
        ended: Ended = "exhausted"
        if accepted:
            ended = "accepted"
        elif self._late:
            ended = "deadline"
        prices = [_price(t, running) for t, running in self._run]
        return TierOutcome(
            value=cast("T", taken.value),
            tier=tier.name,
            quality=self._qualities[taken.index],
            accepted=accepted,
            started=tuple(t.name for t, _ in self._run),
            attempts=tuple(
                Attempt(
                    index=running.index,
                    name=t.name,
                    start_s=running.started - self._began,
                    latency_s=None if running.ended is None else running.ended - running.started,
                    status=running.status,
                    error=(
                        RejectedError(t.name, running.value)
                        if running.status == "rejected"
                        else running.error
                    ),
                    cost_usd=usd,
                    cost_source=source,
                )
                for (t, running), (usd, source) in zip(self._run, prices, strict=True)
            ),
            latency_s=self._ended - self._began,
            cost_usd=total([usd for usd, _ in prices]),
            ended=ended,
        )

    def _rank(self, running: Running) -> tuple[float, int]:
        measured = self._qualities[running.index]
        return (-math.inf if measured is None else measured, -running.index)


def _price(tier: Tier[Any], running: Running) -> Price:
    if running.reported_usd is not None:
        return running.reported_usd, "reported"
    if tier.cost_usd is None:
        return None, None
    return tier.cost_usd, "value" if running.answered else "assumed_full"
