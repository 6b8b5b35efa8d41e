"""The race: a primary in the caller's task, a timer, and the backups it starts."""

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

import anyio
from anyio.abc import TaskGroup

from crucible_hedging import attempt as current
from crucible_hedging.attempt import Running
from crucible_hedging.errors import AllAttemptsFailedError, RejectedError
from crucible_hedging.failures import Classifier
from crucible_hedging.gates import Gates
from crucible_hedging.outcome import AttemptStatus, Blocked

T = TypeVar("T")


class Watcher(Protocol):
    """Told when attempts start and stop."""

    def started(self, running: Running) -> None:
        """Note a start."""
        ...

    def stopped(self, running: Running) -> None:
        """Note a stop."""
        ...


class Race(Generic[T]):
    """One request: run it once with `run`, then read what happened.

    The primary runs inline in the caller's task. A timer task, spawned before it in the caller's
    context, sleeps until a backup is due, asks the gates, and becomes the backup; before that it
    spawns the timer of the next one. Whoever decides the race cancels the task group, so that
    leaving it waits for every loser's clean-up. Nothing but cancellation ever leaves an attempt.

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
    ) -> None:
        self._calls = (call, *backups)
        self._delay_s, self._stagger = delay_s or 0.0, stagger
        self._max_backups = max_backups if delay_s is not None else 0
        self._gates, self._accept, self._classify = gates, accept, classify
        self._watcher = watcher
        self._group: TaskGroup | None = None
        self._timer: anyio.CancelScope | None = None  # of the backup that waits, if one does
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

    async def run(self) -> None:
        """Run the race until it is decided and every loser has stopped.

        Only the caller's cancellation is raised here, also if it comes at the moment of a win.
        """
        self.started = anyio.current_time()
        try:
            if self._max_backups == 0:
                await self._attempt(0)
            else:
                async with anyio.create_task_group() as self._group:
                    self._arm(1, self.started, self._delay_s)
                    await self._attempt(0)
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            if self._interrupt is not None:
                raise self._interrupt from None
            raise
        finally:
            self.ended = anyio.current_time()

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

    def _arm(self, index: int, since: float, wait_s: float) -> None:
        """Spawn the timer of a backup, in the context of the task that calls this."""
        assert self._group is not None
        self._timer = anyio.CancelScope()
        self._group.start_soon(self._backup, index, since, wait_s)

    async def _backup(self, index: int, since: float, wait_s: float) -> None:
        due = since + wait_s
        while True:
            assert self._timer is not None
            with self._timer:  # cancelled when the backup is wanted at once
                await anyio.sleep_until(due)
                # A primary that ends at this very moment goes first: no backup for nothing.
                await anyio.lowlevel.checkpoint()
            if self.decided is not None:
                return
            self.blocked = self._gates.closed(anyio.current_time())
            if self.blocked is None:
                break
            if not self._anyone_runs():
                self._decide()
                return
            # Only a failure of all that run can ask the gates again.
            self._timer, due = anyio.CancelScope(), math.inf
        self._timer = None
        if index < self._max_backups:
            self._arm(index + 1, anyio.current_time(), wait_s * self._stagger)
        await self._attempt(index)

    async def _attempt(self, index: int) -> None:
        """Run one copy of the call to its end; raise nothing but cancellation."""
        own = index if index < len(self._calls) else 0
        call = self._calls[own]
        call_id = next(i for i, other in enumerate(self._calls) if other is call or other == call)
        running = Running(index, call, call_id=call_id, started=anyio.current_time())
        self.attempts.append(running)
        if self._watcher is not None:
            self._watcher.started(running)
        token = current.enter(running)
        try:
            value = await self._awaitable(running, call)
        except Exception as error:  # noqa: BLE001  # kept, classified, and raised if nobody wins
            if self.decided is not None or anyio.current_effective_deadline() == -math.inf:
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

    def _awaitable(self, running: Running, call: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        awaitable: Any = call()
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
        if accepted:
            self._stopped(running, "won")
            self.winner = running
            self._decide()
        else:
            self._stopped(running, "rejected")
            self._go_on()

    def _on_failure(self, running: Running, error: Exception) -> None:
        try:
            verdict = self._classify(error)
        except BaseException as mistake:  # noqa: BLE001  # raised by `result` after the clean-up
            self._decide(mistake)
            return
        # A fatal error of a backup's own call says nothing about the primary.
        if verdict.kind == "fatal" and running.call_id == 0:
            self._decide(error)
            return
        if verdict.kind == "pushback":
            wait = 1.0 if verdict.retry_after_s is None else verdict.retry_after_s
            self._gates.pause.extend(anyio.current_time() + wait)
        self._go_on()

    def _go_on(self) -> None:
        """After a failure: wait for those that run, else for a backup at once, else end."""
        if self._anyone_runs():
            return
        if self._timer is not None:
            self._timer.cancel()
        else:
            self._decide()

    def _anyone_runs(self) -> bool:
        return any(running.ended is None for running in self.attempts)

    def _decide(self, error: BaseException | None = None) -> None:
        """End the race: every attempt that still runs is cancelled. The first decision stands."""
        if self.decided is not None:
            return
        self.decided, self._raised = anyio.current_time(), error
        if self._group is not None:
            self._group.cancel_scope.cancel()

    def _stopped(
        self, running: Running, status: AttemptStatus, error: BaseException | None = None
    ) -> None:
        running.end(status, anyio.current_time(), error)
        if self._watcher is not None:
            self._watcher.stopped(running)


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
