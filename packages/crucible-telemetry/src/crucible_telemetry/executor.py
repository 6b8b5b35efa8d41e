"""Thread pools whose work belongs to the experiment of whoever submits it."""

import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class ContextExecutor(concurrent.futures.Executor):
    """Run each call in a copy of its submitter's context.

    Parameters
    ----------
    executor : Executor
        Does the work, usually a `ThreadPoolExecutor`. It is shut down with this one.

    Raises
    ------
    ValueError
        For a `ProcessPoolExecutor`: a context cannot cross to another process.
    """

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        if isinstance(executor, concurrent.futures.ProcessPoolExecutor):
            raise ValueError("`executor` must run threads, got a ProcessPoolExecutor")
        self._executor = executor

    def submit(
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[R]:
        """Submit a call together with today's context."""
        context = copy_context()
        return self._executor.submit(lambda: context.run(fn, *args, **kwargs))

    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[R]:
        """Map, each call in its own copy of today's context."""
        context = copy_context()

        def bound(*args: Any) -> R:
            return context.copy().run(fn, *args)

        return self._executor.map(bound, *iterables, timeout=timeout, chunksize=chunksize)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the inner executor down."""
        self._executor.shutdown(wait=wait, cancel_futures=cancel_futures)
