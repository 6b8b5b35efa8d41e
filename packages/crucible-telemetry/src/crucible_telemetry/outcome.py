"""How a call ended, read from what OpenTelemetry leaves behind."""

from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, get_args

Outcome = Literal["ok", "error", "timeout", "cancelled", "unknown"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_KNOWN = frozenset(OUTCOMES)

_TIMEOUT_ENDINGS = ("Timeout", "TimeoutError", "TimeoutException")
_TIMEOUT_CODES = frozenset({"504", "408", "DEADLINE_EXCEEDED"})
_CANCELLED = frozenset({"CancelledError", "Cancelled"})


def check_outcome(outcome: object) -> None:
    """Raise `ValueError` unless it is one of the five."""
    if outcome not in _KNOWN:
        raise ValueError(f"`outcome` must be one of {', '.join(OUTCOMES)}, got {outcome!r}")


def type_name(error: type[BaseException]) -> str:
    """Return the qualified name of an exception, written as OpenTelemetry writes it."""
    if error.__module__ in ("builtins", None):
        return error.__qualname__
    return f"{error.__module__}.{error.__qualname__}"


def failure_outcome(error_type: str | None) -> Outcome:
    """Tell timeouts and cancellations from other failures by the last part of the type's name."""
    last = (error_type or "").rpartition(".")[2]
    if last.endswith(_TIMEOUT_ENDINGS) or last in _TIMEOUT_CODES:
        return "timeout"
    return "cancelled" if last in _CANCELLED else "error"


def raised_outcome(error: type[BaseException]) -> Outcome:
    """Return the outcome of code that raised this exception."""
    return failure_outcome(type_name(error)) if issubclass(error, Exception) else "cancelled"


def span_outcome(
    attributes: MutableMapping[str, Any],
    *,
    failed: bool,
    cancelled_by: str | None,
    exceptions: list[Mapping[str, Any]],
) -> tuple[Outcome, str | None]:
    """Return outcome and error type of an ended span; what is used leaves `attributes`.

    Parameters
    ----------
    failed : bool
        Whether the span's status is ERROR.
    cancelled_by : str or None
        Type of an exception that is not an `Exception` and was in flight when the span ended.
        OpenTelemetry records only `Exception`: without it a cancelled call counts as a success.
    exceptions : list of mapping
        Attributes of the span's exception events, oldest first.
    """
    stated = attributes.get("crucible.outcome")
    if stated in OUTCOMES:
        del attributes["crucible.outcome"]
        if stated in ("ok", "unknown"):
            return stated, None
        return stated, _error_type(attributes, exceptions) or cancelled_by
    if cancelled_by is not None:
        return "cancelled", cancelled_by
    if failed:
        error_type = _error_type(attributes, exceptions)
        return failure_outcome(error_type), error_type
    return "ok", None


def _error_type(
    attributes: MutableMapping[str, Any], exceptions: list[Mapping[str, Any]]
) -> str | None:
    if isinstance(attributes.get("error.type"), str):
        return str(attributes.pop("error.type"))
    if exceptions:
        named = exceptions[-1].get("exception.type")
        return named if isinstance(named, str) else None
    return None
