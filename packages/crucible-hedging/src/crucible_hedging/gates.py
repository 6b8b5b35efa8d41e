"""May a backup be sent now? Every gate must be open; the first closed one is the reason."""

from collections.abc import Callable

from crucible_hedging.breaker import Circuit
from crucible_hedging.budget import HedgeBudget
from crucible_hedging.outcome import Blocked


class Pause:
    """Until when a key sends no backup, because its server asked for peace."""

    __slots__ = ("until",)

    def __init__(self) -> None:
        self.until = float("-inf")

    def extend(self, until: float) -> None:
        """Pause until then, or longer if it is paused for longer already."""
        self.until = max(self.until, until)


class Gates:
    """The gates of one request, asked at the moment a backup is due.

    Parameters
    ----------
    budget : HedgeBudget, optional
    pause : Pause
    circuit : Circuit, optional
    enabled : callable, optional
        The kill switch, which may have been thrown since the request began.
    full : callable, optional
        True while so many attempts run that none may be added.
    """

    __slots__ = ("_budget", "_circuit", "_enabled", "_full", "pause")

    def __init__(
        self,
        budget: HedgeBudget | None,
        pause: Pause,
        *,
        circuit: Circuit | None = None,
        enabled: Callable[[], bool] | None = None,
        full: Callable[[], bool] | None = None,
    ) -> None:
        self._budget, self.pause, self._circuit = budget, pause, circuit
        self._enabled, self._full = enabled, full

    def closed(self, now: float) -> Blocked | None:
        """Return the first closed gate; if there is none, a token of the budget has been spent."""
        budget = self._budget
        if self._enabled is not None and not self._enabled():
            return "disabled"
        if budget is not None and budget.tokens < 1:
            return "budget"
        if now < self.pause.until:
            return "pushback"
        if self._circuit is not None and self._circuit.keeps_backups(now):
            return "breaker"
        if self._full is not None and self._full():
            return "inflight"
        # Spent last, so that no other gate wastes a token; another thread may have been quicker.
        if budget is not None and not budget.try_spend():
            return "budget"
        return None
