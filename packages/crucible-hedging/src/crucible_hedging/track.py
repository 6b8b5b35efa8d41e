"""Where attempts run: a task group, and one timer for everything that is due."""

import contextlib
import heapq
import itertools
import math
from collections.abc import Awaitable, Callable
from contextvars import Context
from types import TracebackType
from typing import Any

import anyio
from anyio.abc import TaskGroup


class Due:
    """Something to do at a time; `act` is None once it is done or no longer wanted."""

    __slots__ = ("act", "at", "turn")

    def __init__(self, at: float, turn: int, act: Callable[[], None]) -> None:
        self.at, self.turn = at, turn
        self.act: Callable[[], None] | None = act

    def __lt__(self, other: "Due") -> bool:
        return (self.at, self.turn) < (other.at, other.turn)


class Track:
    """One task group and one timer task, for one request or for all of an entered hedger.

    Parameters
    ----------
    drain_s : float, >= 0
        On leaving, what still runs may go on for that long; then it is cancelled, and awaited.

    Notes
    -----
    The timer sleeps until the nearest time in a heap and is woken early only by a nearer one.
    What is no longer wanted stays in the heap until its time comes or it outnumbers the rest, so
    the heap holds at most a constant more than twice what is wanted.
    """

    def __init__(self, *, drain_s: float = 0.0) -> None:
        self._drain_s = drain_s
        self._heap: list[Due] = []
        self._wanted = 0
        self._turns = itertools.count()
        self._sleep: anyio.CancelScope | None = None
        self._running = 0
        self._empty: anyio.Event | None = None

    async def __aenter__(self) -> "Track":
        self._group: TaskGroup = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._keep_time)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._running:
                with anyio.move_on_after(self._drain_s):
                    while self._running:
                        self._empty = anyio.Event()
                        await self._empty.wait()
        finally:
            self._group.cancel_scope.cancel()
            cancelled = anyio.get_cancelled_exc_class()
            if isinstance(error, cancelled):
                await self._group.__aexit__(kind, error, trace)
            elif error is None:
                await self._group.__aexit__(None, None, None)
            else:
                # An error of the body is the body's: the group would wrap it, a cancellation of
                # the caller hide it.
                with contextlib.suppress(cancelled):
                    await self._group.__aexit__(None, None, None)

    def spawn(
        self, context: Context, run: Callable[..., Awaitable[object]], /, *args: object
    ) -> None:
        """Start a task in a copy of that context."""
        self._running += 1
        context.run(self._group.start_soon, self._counted, run, *args)

    async def _counted(self, run: Callable[..., Awaitable[object]], *args: Any) -> None:
        try:
            await run(*args)
        finally:
            self._running -= 1
            if self._running == 0 and self._empty is not None:
                self._empty.set()

    def at(self, time: float, act: Callable[[], None]) -> Due:
        """Have something done then, or at once if that is past. `act` must not raise."""
        due = Due(time, next(self._turns), act)
        heapq.heappush(self._heap, due)
        self._wanted += 1
        if self._sleep is not None and time < self._sleep.deadline:
            self._sleep.deadline = time
        return due

    def drop(self, due: Due) -> None:
        """Have it not done."""
        if due.act is not None:
            due.act = None
            self._wanted -= 1
            if len(self._heap) > 2 * self._wanted + 64:
                self._heap = [due for due in self._heap if due.act is not None]
                heapq.heapify(self._heap)

    async def _keep_time(self) -> None:
        while True:
            nearest = self._heap[0].at if self._heap else math.inf
            with anyio.CancelScope(deadline=nearest) as self._sleep:
                await anyio.sleep_forever()
            self._sleep = None
            # What ends at this very moment goes first: no backup for nothing.
            await anyio.lowlevel.checkpoint()
            now = anyio.current_time()
            while self._heap and (self._heap[0].at <= now or self._heap[0].act is None):
                due = heapq.heappop(self._heap)
                if due.act is not None:
                    act, due.act = due.act, None
                    self._wanted -= 1
                    act()
