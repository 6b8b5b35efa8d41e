"""When failures end a run, and how often the harness itself tries again."""

from collections import deque
from dataclasses import dataclass

FATAL = (
    "AuthenticationError", "PermissionDeniedError", "ModelNotFoundError", "UncalibratedError",
    "UnsupportedOptionError",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPolicy:
    """Stop when more than `max_failure_rate` of the last `window` cells failed.

    The first `minimum` cells are always let through. A call that raises an error of a class in
    `fatal` ends the run at once: no further call could succeed.
    """

    max_failure_rate: float = 0.1
    window: int = 100
    minimum: int = 20
    fatal: tuple[str, ...] = FATAL

    def __post_init__(self) -> None:
        if not 0 <= self.max_failure_rate <= 1:
            raise ValueError(f"`max_failure_rate` must be in [0, 1], got {self.max_failure_rate}")
        if not 1 <= self.minimum <= self.window:
            raise ValueError(
                f"`minimum` must be in [1, window], got {self.minimum} of {self.window}"
            )
        if not isinstance(self.fatal, tuple):
            raise ValueError(f"`fatal` must be a tuple of class names, got {self.fatal!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a function (`Condition(call=...)`) is called; waits grow, with jitter.

    Models retry themselves and are not retried again: two layers multiply.
    """

    attempts: int = 1
    initial_s: float = 0.5
    max_s: float = 20.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"`attempts` must be >= 1, got {self.attempts}")
        if not 0 <= self.initial_s <= self.max_s:
            raise ValueError(f"`initial_s` must be in [0, max_s], got {self.initial_s}")


class FailureWatch:
    """The outcomes of the last cells."""

    def __init__(self, policy: ErrorPolicy) -> None:
        self._policy = policy
        self._outcomes: deque[bool] = deque(maxlen=policy.window)

    def too_many(self, *, failed: bool) -> bool:
        """Take one more cell into account; say whether the run must stop."""
        self._outcomes.append(failed)
        seen = len(self._outcomes)
        return (
            seen >= self._policy.minimum
            and sum(self._outcomes) > self._policy.max_failure_rate * seen
        )
