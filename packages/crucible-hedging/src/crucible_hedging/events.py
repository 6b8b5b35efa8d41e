"""Tells a callable of the application what a hedger does."""

import warnings
from collections.abc import Mapping
from typing import Protocol

Attribute = str | int | float | bool


class Outlet(Protocol):
    """Takes an event: a counter, a logger, a queue.

    The names are "request.start", "request.stop", "hedge.fired", "hedge.won", "hedge.lost",
    "hedge.blocked", "attempt.failed", "breaker.open" and "breaker.close".
    """

    def __call__(self, event: str, /, attributes: Mapping[str, Attribute]) -> None:
        """Take it quickly: this runs in the event loop, between two attempts."""
        ...


class Events:
    """Hands events of one hedger to its outlet. What the outlet raises is warned of once."""

    __slots__ = ("_outlet", "_warned")

    def __init__(self, outlet: Outlet) -> None:
        self._outlet, self._warned = outlet, False

    def __call__(self, event: str, key: object, **facts: Attribute | None) -> None:
        """Hand over an event; facts that are None are left out."""
        if key is not None:
            facts["key"] = str(key)
        attributes = {f"crucible.hedging.{k}": v for k, v in facts.items() if v is not None}
        try:
            self._outlet(event, attributes)
        except Exception as error:  # noqa: BLE001  # a counter that fails must not fail a request
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"`on_event` raised {type(error).__name__}: {error}; the event is dropped, "
                    "and further ones that it fails on silently",
                    RuntimeWarning,
                    stacklevel=2,
                )
