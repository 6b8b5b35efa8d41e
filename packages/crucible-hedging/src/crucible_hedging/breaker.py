"""Stop sending to a key that does nothing but fail."""

import math
from dataclasses import dataclass
from typing import Literal

from crucible_hedging.outcome import AttemptStatus

Turn = Literal["open", "close"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """After so many failed attempts of a key in a row, leave it alone for a while.

    Parameters
    ----------
    failures : int, >= 1
        Failed attempts in a row that open the circuit.
    reset_s : float, > 0
        Seconds after which one attempt is let through: its success closes the circuit, its failure
        opens it for as long again.
    scope : {"backups", "calls"}
        What an open circuit keeps back: backups alone, or the calls themselves, which then raise
        `CircuitOpenError`.
    """

    failures: int = 5
    reset_s: float = 30.0
    scope: Literal["backups", "calls"] = "backups"

    def __post_init__(self) -> None:
        if isinstance(self.failures, bool) or not isinstance(self.failures, int):
            raise TypeError(f"`failures` must be an integer >= 1, got {self.failures!r}")
        if self.failures < 1:
            raise ValueError(f"`failures` must be >= 1, got {self.failures}")
        if isinstance(self.reset_s, bool) or not 0 < self.reset_s < math.inf:
            raise ValueError(f"`reset_s` must be a finite number > 0, got {self.reset_s}")
        if self.scope not in ("backups", "calls"):
            raise ValueError(f'`scope` must be "backups" or "calls", got {self.scope!r}')


class Circuit:
    """The circuit of one key."""

    __slots__ = ("_breaker", "_failed", "_opened", "_probing")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._failed = 0
        self._opened: float | None = None
        self._probing = False

    def keeps_backups(self, now: float) -> bool:
        """Whether no backup may be sent."""
        return self._breaker.scope == "backups" and self._keeps(now)

    def keeps_calls(self, now: float) -> float | None:
        """Return in how many seconds a call may be sent; None: now."""
        if self._breaker.scope == "backups" or not self._keeps(now):
            return None
        assert self._opened is not None
        return max(self._opened + self._breaker.reset_s - now, 0.0)

    def _keeps(self, now: float) -> bool:
        return self._opened is not None and (self._probing or not self._rested(now))

    def _rested(self, now: float) -> bool:
        return self._opened is not None and now >= self._opened + self._breaker.reset_s

    def started(self, index: int) -> None:
        """Note an attempt; the first that an open circuit lets through is the probe."""
        if self._opened is not None and self._guards(index):
            self._probing = True

    def stopped(self, index: int, status: AttemptStatus, now: float) -> Turn | None:
        """Note how an attempt stopped; return whether that opened or closed the circuit."""
        answered = status in ("won", "lost")
        failed = status in ("failed", "rejected")
        probe = self._probing and self._guards(index)
        if probe:
            self._probing = False
        if answered:
            self._failed = 0
            if self._rested(now):
                self._opened = None
                return "close"
        elif failed:
            self._failed += 1
            full = self._opened is None and self._failed >= self._breaker.failures
            if full or (probe and self._rested(now)):
                self._opened = now
                return "open"
        return None

    def _guards(self, index: int) -> bool:
        return (index > 0) == (self._breaker.scope == "backups")
