"""Work that must not be torn, and a session's work in a worker thread, one piece at a time."""

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from crucible_lora.errors import SessionClosedError

T = TypeVar("T")


class Workbench:
    """Runs a session's work one piece after another; after `close`, nothing more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Do a piece of work to its end; cancellation waits for it.

        Raises
        ------
        SessionClosedError
            If the session was closed.
        """
        return await anyio.to_thread.run_sync(lambda: self._guarded(work))

    async def run_until_cancelled(self, work: Callable[[Callable[[], bool]], T]) -> T:
        """Do a piece of work that asks now and then whether it is still wanted."""
        gone = threading.Event()
        try:
            return await anyio.to_thread.run_sync(
                lambda: self._guarded(lambda: work(gone.is_set)), abandon_on_cancel=True
            )
        finally:
            gone.set()

    async def close(self) -> None:
        """Refuse further work."""
        self._closed = True

    def _guarded(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._closed:
                raise SessionClosedError
            return work()


async def to_the_end(work: Callable[[], Awaitable[T]]) -> T:
    """Wait for work to end, and only then let a cancellation through.

    A task of its own holds off the native cancellation of asyncio too, which a shield does not.
    """
    done: list[T] = []
    failed: list[Exception] = []

    async def shielded() -> None:
        with anyio.CancelScope(shield=True):
            try:
                done.append(await work())
            except Exception as error:  # noqa: BLE001 - raised again below, not in a group
                failed.append(error)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(shielded)
    finally:
        if failed:
            raise failed[0]
    return done[0]
