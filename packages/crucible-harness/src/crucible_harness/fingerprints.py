"""What a condition is, for the hash of the design: a model's own word, a function's source."""

import hashlib
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from crucible_harness.errors import FingerprintError

_CONSTANT = (str, int, float, bool, bytes, type(None))


def structure(model: Any) -> dict[str, Any]:
    """Return what a model is: its fingerprint and those of its members.

    Raises
    ------
    FingerprintError
        If it has no `fingerprint()`: two runs could not be told apart.
    """
    identify = getattr(model, "fingerprint", None)
    if identify is None:
        raise FingerprintError(
            f"`model` {getattr(model, 'name', model)!r} has no fingerprint(): two runs could not "
            "be told apart. Give the condition a `fingerprint`"
        )
    found: dict[str, Any] = dict(identify())
    members = getattr(model, "members", None)
    if members is not None:
        found["members"] = [structure(member) for member in members()]
    return found


def of_function(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's name, the SHA-256 of its source, and the constants it closes over.

    Raises
    ------
    FingerprintError
        For a lambda, an object or method, a function without readable source, or one that closes
        over values that may change.
    """
    name = getattr(function, "__qualname__", type(function).__name__)

    def refuse(reason: str) -> FingerprintError:
        return FingerprintError(
            f"`call` {name} {reason}: what it does cannot be hashed. Give the condition a "
            "`fingerprint` that changes whenever the function does"
        )

    if not inspect.isfunction(function):
        raise refuse("is no plain function")
    if function.__name__ == "<lambda>":
        raise refuse("is a lambda")
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        raise refuse("has no readable source") from None
    closed = inspect.getclosurevars(function).nonlocals
    for variable, value in closed.items():
        if not _constant(value):
            raise refuse(f"closes over {variable!r}, which may change,")
    found: dict[str, Any] = {
        "function": f"{function.__module__}.{name}",
        "sha256": hashlib.sha256(source.encode()).hexdigest(),
    }
    if closed:
        found["closes_over"] = {variable: repr(value) for variable, value in sorted(closed.items())}
    return found


def _constant(value: object) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(_constant(part) for part in value)
    return isinstance(value, _CONSTANT)
