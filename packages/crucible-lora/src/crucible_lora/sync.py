"""Async functions for scripts and notebooks, also where an event loop runs already."""

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from anyio.from_thread import start_blocking_portal

P = ParamSpec("P")
T = TypeVar("T")


def run_sync(work: Callable[[], Awaitable[T]]) -> T:
    """Run to the end in a loop of its own; an interrupt cancels the work and waits for it."""
    with start_blocking_portal() as portal:
        future = portal.start_task_soon(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def synchronous(work: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Return the twin of an async function for scripts and notebooks, of the same signature.

    It may be called where an event loop runs already. An interrupt cancels the work, which ends as
    it does when it is cancelled, and is raised.
    """

    @wraps(work)
    def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_sync(partial(work, *args, **kwargs))

    name = getattr(work, "__name__", "work")
    twin.__name__ = twin.__qualname__ = f"{name}_sync"
    twin.__doc__ = (
        f"Do what `{name}` does, for scripts and notebooks, also where an event loop runs already."
        "\n\nAn interrupt cancels the work first (training finishes the update and writes a "
        "checkpoint)\nand is raised then."
    )
    return twin
