"""Async functions for scripts and notebooks."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def run_sync(main: Callable[[], Awaitable[T]]) -> T:
    """Run an async function to its end in a thread, also where an event loop runs already."""
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    import anyio

    context = copy_context()  # it goes along, so that spans have their parent
    found: list[T] = []

    def run() -> None:
        found.append(anyio.run(main))

    with ThreadPoolExecutor(1) as thread:
        thread.submit(context.run, run).result()
    return found[0]
