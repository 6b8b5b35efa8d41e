"""Retries with jitter, for errors that may pass."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from crucible_ensemble.errors import ModelError, ResponseFormatError

if TYPE_CHECKING:
    from crucible_ensemble.limits import Limiter

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often to try, and how long to wait in between.

    Attributes
    ----------
    attempts : int, >= 1
        In all; 1 means no retry.
    initial_s, max_s : float, >= 0
        Waits double from `initial_s` to `max_s`, each with up to `initial_s` of jitter. Where the
        provider says how long to wait, that is obeyed instead.
    """

    attempts: int = 3
    initial_s: float = 0.5
    max_s: float = 20.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"`attempts` must be >= 1, got {self.attempts}")
        if not 0 <= self.initial_s <= self.max_s:
            raise ValueError(f"`initial_s` must be in [0, max_s], got {self.initial_s}")


async def with_retries(
    call: Callable[[int], Awaitable[T]], retries: Retries, *, limiter: "Limiter | None" = None
) -> T:
    """Return the first success of `call(attempt)`; the last error is raised.

    Notes
    -----
    Only errors that are `retryable` are tried again, unusable bodies once. A provider's hint pauses
    the whole limiter. A wait that would outlast the deadline of the caller's cancel scope is not
    begun: the error is raised at once.
    """
    made = unusable = 0

    def decide(error: Exception) -> bool | float:
        import anyio

        nonlocal unusable
        if not (isinstance(error, ModelError) and error.retryable) or made >= retries.attempts:
            return False
        unusable += isinstance(error, ResponseFormatError)
        if unusable > 1:
            return False
        wait = error.retry_after_s
        if wait is None:
            wait = min(retries.max_s, retries.initial_s * 2 ** (made - 1))
            wait = min(retries.max_s, wait + random.uniform(0, retries.initial_s))
        elif limiter is not None:
            limiter.pause(wait)
        if anyio.current_time() + wait > anyio.current_effective_deadline():
            return False
        return wait

    async def once() -> T:
        nonlocal made
        made += 1
        return await call(made - 1)

    try:
        return await once()  # most calls need no retry, and none of its machinery
    except ModelError as error:
        wait = decide(error)
        if wait is False:
            raise
        first = wait
    import anyio
    import stamina

    await anyio.sleep(first)
    async for attempt in stamina.retry_context(
        on=decide, attempts=retries.attempts - 1, timeout=None
    ):
        with attempt:
            return await once()
    raise RuntimeError("unreachable: the retry context returns or raises")
