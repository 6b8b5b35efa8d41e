"""Coroutines for people who write scripts and notebooks."""

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


def blocking(call: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine to its end, also where an event loop runs already."""

    async def main() -> T:
        return await call()

    if not _loop_is_running():
        return anyio.run(main)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(anyio.run, main).result()


def _loop_is_running() -> bool:
    """Say whether an event loop runs in this thread already, as in a notebook."""
    asyncio = sys.modules.get("asyncio")  # an application that runs it has imported it
    try:
        if asyncio is not None:
            asyncio.get_running_loop()
            return True
    except RuntimeError:
        pass
    try:
        anyio.get_cancelled_exc_class()
    except RuntimeError:
        return False
    return True
