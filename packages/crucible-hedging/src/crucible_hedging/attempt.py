"""One attempt while it runs, and the price it reports."""

import math
from collections.abc import Callable
from contextvars import ContextVar, Token

import anyio

from crucible_hedging.outcome import AttemptStatus


class Running:
    """One attempt in flight. `call_id` is equal for attempts of the same call; 0 is the primary's.

    `ended` is on the race's clock, and None until the attempt has stopped. `kept` marks a beaten
    attempt that runs on after its race.
    """

    __slots__ = (
        "abandoned", "answered", "call", "call_id", "ended", "error", "index", "kept",
        "reported_usd", "scope", "started", "status", "value",
    )  # fmt: skip

    def __init__(
        self, index: int, call: Callable[[], object], *, call_id: int, started: float
    ) -> None:
        self.index, self.call, self.call_id, self.started = index, call, call_id, started
        self.ended: float | None = None
        self.status: AttemptStatus = "running"
        self.error: BaseException | None = None
        self.value: object = None
        self.answered = self.abandoned = self.kept = False
        self.reported_usd: float | None = None
        self.scope: anyio.CancelScope | None = None

    @property
    def name(self) -> str:
        """How messages and records call it."""
        return "primary" if self.index == 0 else f"backup {self.index}"

    def end(self, status: AttemptStatus, now: float, error: BaseException | None = None) -> None:
        """Note how it stopped."""
        self.status, self.ended, self.error = status, now, error


_CURRENT: ContextVar[Running | None] = ContextVar("crucible_hedging_attempt", default=None)


def enter(attempt: Running) -> Token[Running | None]:
    """Make this the attempt that `report_cost` speaks of."""
    return _CURRENT.set(attempt)


def leave(token: Token[Running | None]) -> None:
    """Undo `enter`."""
    _CURRENT.reset(token)


def abandon_current() -> None:
    """Note that the current attempt cannot be stopped and runs on, unattended."""
    attempt = _CURRENT.get()
    if attempt is not None:
        attempt.abandoned = True


def report_cost(usd: float) -> None:
    """Say what the current attempt really cost.

    Parameters
    ----------
    usd : float, >= 0
        The attempt's price; a later report replaces an earlier one.

    Notes
    -----
    Called inside an attempt, also in its `finally` after it was cancelled. Outside an attempt
    nothing happens, so that the same function can be called without a hedger.
    """
    if isinstance(usd, bool) or not 0 <= usd < math.inf:
        raise ValueError(f"`usd` must be a finite number >= 0, got {usd}")
    attempt = _CURRENT.get()
    if attempt is not None:
        attempt.reported_usd = float(usd)
