"""The race: a primary, the backups that are started when it is late, and who decides it."""

import contextvars
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

import anyio

from crucible_hedging import attempt as current
from crucible_hedging.attempt import Running
from crucible_hedging.errors import AllAttemptsFailedError, HedgerClosedError, RejectedError
from crucible_hedging.failures import Classifier
from crucible_hedging.gates import Gates
from crucible_hedging.outcome import AttemptStatus, Blocked
from crucible_hedging.track import Due, Track

T = TypeVar("T")
Keep = Literal["nobody", "primary", "all"]


class Watcher(Protocol):
    """Told when attempts start and stop, and when a backup was due and not sent."""

    def started(self, running: Running) -> None:
        """Note a start."""
        ...

    def stopped(self, running: Running) -> None:
        """Note a stop."""
        ...

    def refused(self, reason: Blocked) -> None:
        """Note a closed gate."""
        ...


class Race(Generic[T]):
    """One request: run it once with `run`, then read what happened.

    The primary runs inline in the caller's task under a cancel scope; where it may have to run on
    after the race, it has a task of its own, as every backup has, on a `Track`. The track's timer
    says when a backup is due; the gates say whether it is sent. Whoever decides the race cancels
    the others, and `run` waits for their clean-up. Nothing but cancellation leaves an attempt.

    Parameters
    ----------
    call : callable
        The primary.
    backups : sequence of callable
        The i-th is the i-th backup's call; beyond the list the primary's is repeated.
    delay_s : float or None
        Seconds before the first backup; None: no backup at all.
    stagger : float, > 0
        Backup k is due delay * stagger^(k-1) after attempt k-1 started.
    keep : {"nobody", "primary", "all"}
        Which losers run on after a win.
    shadow : bool
        Start one backup at once, past all gates; the primary's success alone decides, the backup's
        answer is for when the primary fails. `keep` must be "all".
    late : callable, optional
        Told of each kept loser when it has stopped.
    """

    def __init__(
        self,
        call: Callable[[], Awaitable[T]],
        backups: Sequence[Callable[[], Awaitable[T]]],
        *,
        delay_s: float | None,
        stagger: float,
        max_backups: int,
        gates: Gates,
        accept: Callable[[T], bool] | None,
        classify: Classifier,
        watcher: Watcher | None = None,
        keep: Keep = "nobody",
        shadow: bool = False,
        late: Callable[[Running], None] | None = None,
    ) -> None:
        self._calls = (call, *backups)
        self._wait_s, self._stagger = delay_s or 0.0, stagger
        self._next = 1  # the backup that is due next
        self._last = max_backups if delay_s is not None and not shadow else 0
        self._gates, self._accept, self._classify = gates, accept, classify
        self._watcher, self._keep, self._shadow, self.late = watcher, keep, shadow, late
        self._track: Track | None = None
        self._context: contextvars.Context | None = None
        self._due: Due | None = None
        self._bell: anyio.Event | None = None  # rung when nobody has to be waited for any more
        self.attempts: list[Running] = []
        self.blocked: Blocked | None = None
        self.winner: Running | None = None
        self.started = math.nan
        self.decided: float | None = None
        self.ended = math.nan
        self._raised: BaseException | None = None
        self._interrupt: BaseException | None = None  # such as KeyboardInterrupt

    @property
    def backups(self) -> int:
        """Backups that were started."""
        return max(len(self.attempts) - 1, 0)

    @property
    def shadow(self) -> bool:
        """Whether both copies ran side by side, for the log."""
        return self._shadow

    async def run(self, track: Track | None = None) -> None:
        """Run the race until it is decided and every loser that is not kept has stopped.

        Without a track, the race makes one for itself. Only the caller's cancellation is raised
        here, also if it comes at the moment of a win.
        """
        self.started = anyio.current_time()
        try:
            if self._last == 0 and not self._shadow:
                await self._attempt(self._begin(0))
            elif track is not None:
                await self._run_on(track)
            else:
                async with Track() as own:
                    await self._run_on(own)
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            if self._interrupt is not None:
                raise self._interrupt from None
            raise
        finally:
            alone = len(self.attempts) == 1 and self.decided is not None
            self.ended = self.decided if alone else anyio.current_time()  # type: ignore[assignment]  # mypy loses the condition

    async def _run_on(self, track: Track) -> None:
        self._track, self._context = track, contextvars.copy_context()
        primary = self._begin(0)
        try:
            if not self._shadow:
                self._due = track.at(self.started + self._wait_s, self._fire)
            if self._keep == "nobody":
                with anyio.CancelScope() as primary.scope:
                    await self._attempt(primary)
            else:
                self._spawn(primary)
                if self._shadow:
                    self._spawn(self._begin(1))
        except BaseException:
            self._decide()
            await self._wait()
            raise
        if self.decided is None or len(self.attempts) > 1:
            await self._wait()

    def result(self) -> T:
        """Return the winner's value, or raise what the race ended with."""
        if self._interrupt is not None:
            raise self._interrupt
        if self.winner is not None:
            return cast("T", self.winner.value)
        if self._raised is not None:
            raise self._raised
        failures = list(self._failures())
        if len(failures) == 1 and not isinstance(failures[0], RejectedError):
            raise failures[0]
        raise AllAttemptsFailedError(failures)

    def _failures(self) -> Iterator[Exception]:
        for running in self.attempts:
            if running.status == "rejected":
                yield RejectedError(running.name, running.value)
            elif isinstance(running.error, Exception):
                yield running.error

    # When a backup starts.

    def _fire(self) -> None:
        """Do what is due: the timer calls this."""
        self._due = None
        if self.decided is None:
            self._launch()

    def _launch(self) -> bool:
        """Start the next backup if every gate is open."""
        now = anyio.current_time()
        self.blocked = self._gates.closed(now)
        if self.blocked is not None:
            if self._watcher is not None:
                self._watcher.refused(self.blocked)
            return False
        assert self._track is not None
        running = self._begin(self._next)
        self._next += 1
        if self._next <= self._last:
            self._wait_s *= self._stagger
            self._due = self._track.at(now + self._wait_s, self._fire)
        self._spawn(running)
        return True

    def _go_on(self) -> None:
        """After a failure: wait for those that run, else start a backup at once, else end."""
        if self.decided is not None or self._anyone_runs():
            return
        if self._next <= self._last:
            self._disarm()
            if self._launch():
                return
        self._decide()

    def _disarm(self) -> None:
        if self._due is not None and self._track is not None:
            self._track.drop(self._due)
            self._due = None

    def _begin(self, index: int) -> Running:
        own = index if index < len(self._calls) else 0
        call = self._calls[own]
        call_id = 0
        if own:
            call_id = next(i for i, c in enumerate(self._calls) if c is call or c == call)
        now = anyio.current_time() if index else self.started
        running = Running(index, call, call_id=call_id, started=now)
        self.attempts.append(running)
        if self._watcher is not None:
            self._watcher.started(running)
        return running

    def _spawn(self, running: Running) -> None:
        """Give an attempt a task of its own, in a copy of the caller's context."""
        assert self._track is not None
        assert self._context is not None
        running.scope = anyio.CancelScope()
        self._track.spawn(self._context, self._alone, running)

    async def _alone(self, running: Running) -> None:
        assert running.scope is not None
        try:
            with running.scope:
                await self._attempt(running)
        except anyio.get_cancelled_exc_class():
            # Not by us: the hedger is being left while the request is under way.
            if self.decided is None and not self._anyone_runs():
                self._decide(HedgerClosedError("the hedger was left while the request ran"))
            raise

    # What comes of an attempt.

    async def _attempt(self, running: Running) -> None:
        """Run one copy of the call to its end; raise nothing but cancellation."""
        token = current.enter(running)
        try:
            value = await self._awaitable(running)
        except Exception as error:  # noqa: BLE001  # kept, classified, and raised if nobody wins
            if not running.kept and (
                self.decided is not None or anyio.current_effective_deadline() == -math.inf
            ):
                self._stopped(running, "cancelled", error)  # its clean-up raised
            else:
                self._stopped(running, "failed", error)
                self._on_failure(running, error)
        except BaseException as error:
            cancellation, rest = _split(error)
            if rest is not None and not isinstance(rest, Exception):
                self._interrupt = rest
            if cancellation is None:
                self._stopped(running, "failed", error)
                self._decide(error)
                return
            self._stopped(running, "abandoned" if running.abandoned else "cancelled", rest)
            if cancellation is error:
                raise
            raise cancellation from None
        else:
            running.value, running.answered = value, True
            self._on_answer(running, value)
        finally:
            current.leave(token)

    def _awaitable(self, running: Running) -> Awaitable[T]:
        awaitable: Any = running.call()
        if not hasattr(awaitable, "__await__"):
            kind = type(awaitable).__name__
            mistake = TypeError(f"{running.name} must return an awaitable, got {kind}")
            self._decide(mistake)  # not to be hidden by another attempt
            raise mistake
        return cast("Awaitable[T]", awaitable)

    def _on_answer(self, running: Running, value: T) -> None:
        if self.decided is not None:
            self._stopped(running, "lost")
            return
        try:
            accepted = self._accept is None or bool(self._accept(value))
        except BaseException as error:  # noqa: BLE001  # raised by `result` after the clean-up
            self._stopped(running, "failed", error)
            self._decide(error)
            return
        if not accepted:
            self._stopped(running, "rejected")
            self._go_on()
        elif self._shadow and running.index > 0 and self.attempts[0].ended is None:
            self._stopped(running, "lost")  # unless the primary fails
        else:
            self._stopped(running, "won")
            self._win(running)

    def _on_failure(self, running: Running, error: Exception) -> None:
        try:
            verdict = self._classify(error)
        except BaseException as mistake:  # noqa: BLE001  # raised by `result` after the clean-up
            self._decide(mistake)
            return
        if verdict.kind == "pushback":
            wait = 1.0 if verdict.retry_after_s is None else verdict.retry_after_s
            self._gates.pause.extend(anyio.current_time() + wait)
        # A fatal error of a backup's own call says nothing about the primary.
        if verdict.kind == "fatal" and running.call_id == 0:
            self._decide(error)
            return
        self._go_on()

    def _anyone_runs(self) -> bool:
        return any(running.ended is None for running in self.attempts)

    # The end.

    def _win(self, running: Running) -> None:
        self.winner = running
        self._decide(now=running.ended)

    def _decide(self, error: BaseException | None = None, *, now: float | None = None) -> None:
        """End the race: all that still run are cancelled or kept. The first decision stands."""
        if self.decided is not None:
            return
        if self._shadow and self.winner is None and error is None:
            held = next((r for r in self.attempts[1:] if r.status == "lost"), None)
            if held is not None and self.attempts[0].ended is not None:
                held.status, self.winner = "won", held
        self.decided, self._raised = anyio.current_time() if now is None else now, error
        if self._due is not None:
            self._disarm()
        for running in self.attempts:
            if running.ended is not None or running.scope is None:
                continue
            index = running.index
            if self.winner is not None and (
                self._keep == "all" or (self._keep == "primary" and index == 0)
            ):
                running.kept = True
            else:
                running.scope.cancel()
        if self._bell is not None:
            self._ring()

    def _stopped(
        self, running: Running, status: AttemptStatus, error: BaseException | None = None
    ) -> None:
        running.end(status, anyio.current_time(), error)
        if self._watcher is not None:
            self._watcher.stopped(running)
        if running.kept and self.late is not None:
            self.late(running)
        if self._bell is not None:
            self._ring()

    def _over(self) -> bool:
        return self.decided is not None and all(
            running.ended is not None or running.kept for running in self.attempts
        )

    def _ring(self) -> None:
        if self._bell is not None and self._over():
            self._bell.set()

    async def _wait(self) -> None:
        """Wait until the race is over; if the caller is cancelled, end it, and wait all the same.

        Once it is decided, waiting is shielded: the losers' clean-up is awaited in any case.
        """
        cancellation: BaseException | None = None
        while not self._over():
            self._bell = anyio.Event()
            try:
                with anyio.CancelScope(shield=self.decided is not None):
                    await self._bell.wait()
            except anyio.get_cancelled_exc_class() as error:
                cancellation = error
                self._decide()
        if cancellation is not None:
            raise cancellation


def _split(
    error: BaseException,
) -> tuple[BaseException | None, BaseException | None]:
    """Return the cancellation in an exception, if there is one, and what came with it."""
    cancelled = (anyio.get_cancelled_exc_class(), GeneratorExit)
    if isinstance(error, cancelled):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        found, rest = error.split(cancelled)
        leaf: BaseException | None = found
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        return leaf, rest
    return None, error
