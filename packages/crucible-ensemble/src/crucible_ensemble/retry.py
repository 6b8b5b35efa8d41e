"""Retries with jitter, for errors that may pass."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from crucible_ensemble.errors import ModelError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """`attempts` in all; waits grow from `initial_s` to `max_s`, a provider's hint is obeyed."""

    attempts: int = 3
    initial_s: float = 0.5
    max_s: float = 20.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"`attempts` must be >= 1, got {self.attempts}")
        if not 0 <= self.initial_s <= self.max_s:
            raise ValueError(f"`initial_s` must be in [0, max_s], got {self.initial_s}")


async def with_retries(call: Callable[[], Awaitable[T]], retries: Retries) -> tuple[T, int]:
    """Return the first success and the number of attempts; the last error is raised."""
    import stamina

    made = 0

    def decide(error: Exception) -> bool | float:
        if not (isinstance(error, ModelError) and error.retryable):
            return False
        return True if error.retry_after_s is None else error.retry_after_s

    async for attempt in stamina.retry_context(
        on=decide,
        attempts=retries.attempts,
        timeout=None,
        wait_initial=retries.initial_s,
        wait_max=retries.max_s,
        wait_jitter=retries.initial_s,
    ):
        with attempt:
            made += 1
            return await call(), made
    raise AssertionError("unreachable: the retry context returns or raises")
