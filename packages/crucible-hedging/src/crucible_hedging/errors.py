"""What can go wrong, readable at the top.

HedgingError
    AllAttemptsFailedError     every attempt that was started failed (also an `ExceptionGroup`)
    RejectedError              an answer that `accept` refused; a leaf of the group above
    NotIdempotentError         a call that must not be sent twice
    CircuitOpenError           a breaker keeps the calls of a key back
    PolicyError                a delay policy returned NaN, a negative number or no number
    HedgerClosedError          a hedger was used, or still in use, after its `async with`
    InsufficientDataError      a log is too short for what was asked of it
"""

from collections.abc import Sequence


class HedgingError(Exception):
    """Root of this package's errors. Bad arguments raise `ValueError` or `TypeError` instead."""


class RejectedError(HedgingError):
    """An attempt answered with `value`, and `accept` refused it."""

    def __init__(self, attempt: str, value: object) -> None:
        super().__init__(f"the answer of attempt {attempt!r} was not accepted")
        self.attempt = attempt
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.attempt, self.value)


class AllAttemptsFailedError(HedgingError, ExceptionGroup[Exception]):
    """Every attempt that was started failed; `exceptions` are in start order."""

    def __new__(cls, failures: Sequence[Exception]) -> "AllAttemptsFailedError":
        """Make the group; `ExceptionGroup` wants its members here."""
        return super().__new__(cls, _summary(failures), failures)

    def __init__(self, failures: Sequence[Exception]) -> None:
        super().__init__(_summary(failures), failures)

    @property
    def rejected(self) -> tuple[object, ...]:
        """The answers that came and were not accepted."""
        return tuple(e.value for e in self.exceptions if isinstance(e, RejectedError))

    def derive(self, failures: Sequence[Exception], /) -> "AllAttemptsFailedError":  # type: ignore[override]  # failures are Exceptions here
        """Return the same group over some of its failures, for `split` and `except*`."""
        return AllAttemptsFailedError(failures)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (list(self.exceptions),)


def _summary(failures: Sequence[Exception]) -> str:
    kinds = ", ".join(type(failure).__name__ for failure in failures)
    return f"no attempt succeeded: {kinds}"


class NotIdempotentError(HedgingError):
    """`hedge()` was asked to send a call twice that is not idempotent."""


class CircuitOpenError(HedgingError):
    """A breaker keeps the calls of `key` back for `retry_in_s` more seconds."""

    def __init__(self, key: object, retry_in_s: float) -> None:
        super().__init__(f"the circuit of key {key!r} is open; it is tried in {retry_in_s:.3g} s")
        self.key = key
        self.retry_in_s = retry_in_s

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.key, self.retry_in_s)


class HedgerClosedError(HedgingError):
    """A hedger was used after its `async with` block, or left while a request ran."""


class PolicyError(HedgingError):
    """A delay policy returned something that is not a number of seconds >= 0."""

    def __init__(self, policy: str, value: object) -> None:
        super().__init__(f"policy {policy} must return seconds >= 0, got {value!r}")
        self.policy = policy
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.policy, self.value)


class InsufficientDataError(HedgingError):
    """A log has `n` usable pairs, and `needed` are the least."""

    def __init__(self, n: int, needed: int) -> None:
        super().__init__(f"the log has {n} pairs of which both copies answered, {needed} needed")
        self.n = n
        self.needed = needed

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.n, self.needed)
