"""Ctrl-C: the first asks the run to end, the second ends it."""

import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio


@asynccontextmanager
async def interruptible(stop: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `stop` at the first SIGINT or SIGTERM, and cancel the body at the second.

    Outside of the main thread, where signals cannot be seen, the body just runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    async with anyio.create_task_group() as group:
        ready = anyio.Event()

        async def watch() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                ready.set()
                seen = 0
                async for _ in signals:
                    seen += 1
                    if seen == 2:
                        group.cancel_scope.cancel()
                        return
                    await stop()

        group.start_soon(watch)
        await ready.wait()
        yield
        group.cancel_scope.cancel()
