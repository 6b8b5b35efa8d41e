"""What a failed attempt says about the request."""

from dataclasses import dataclass
from typing import Literal, Protocol

_BUGS = (
    TypeError,
    AttributeError,
    NameError,
    ImportError,
    NotImplementedError,
    AssertionError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How to go on after a failed attempt.

    `retryable`: another copy may succeed. `fatal`: every copy of the same call would fail.
    `pushback`: the server asks for peace; retryable, but no backup before `retry_after_s` seconds
    have passed (None: 1 second).
    """

    kind: Literal["retryable", "fatal", "pushback"]
    retry_after_s: float | None = None


class Classifier(Protocol):
    """Reads an attempt's exception."""

    def __call__(self, error: Exception, /) -> Verdict:
        """Return what the failure means. Never asked about cancellation."""
        ...


def default_classify(error: Exception, /) -> Verdict:
    """Read the attributes `retry_after_s` and `retryable`; then tell bugs from bad luck.

    Notes
    -----
    In this order: `retry_after_s` is not None: pushback. `retryable` is False: fatal. A bug
    (`TypeError`, `AttributeError`, `NameError`, `ImportError`, `NotImplementedError`,
    `AssertionError`): fatal. Anything else: retryable.

    Examples
    --------
    >>> default_classify(ConnectionError("reset")).kind
    'retryable'
    >>> default_classify(TypeError("no such argument")).kind
    'fatal'
    """
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        return Verdict(kind="pushback", retry_after_s=float(retry_after_s))
    if getattr(error, "retryable", None) is False or isinstance(error, _BUGS):
        return Verdict(kind="fatal")
    return Verdict(kind="retryable")
