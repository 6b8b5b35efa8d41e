"""Grow the delay when backups are in vain, shrink it when they help."""

from crucible_hedging.delays.fixed import check_delay_s
from crucible_hedging.delays.policy import Settled


class BackoffDelay:
    """Multiply the delay after every request.

    Parameters
    ----------
    base_s : float
        The delay at the start.
    min_s, max_s : float
        Bounds of the delay.
    on_win : float, in (0, 1]
        After a backup that won, and after an answer without a backup.
    on_loss, on_error : float, >= 1
        After a backup that lost, and after a request that failed.

    Notes
    -----
    Where the delay settles, on_win and on_loss balance: the share of requests with a lost backup is
    ln(1/on_win) / (ln on_loss + ln(1/on_win)), 20.6 % for the defaults, whatever the latencies.
    That is a load nobody chose, so this policy runs only under a budget.
    """

    learns = True
    needs_budget = True

    def __init__(
        self,
        base_s: float = 0.1,
        *,
        min_s: float = 0.01,
        max_s: float = 5.0,
        on_win: float = 0.9,
        on_loss: float = 1.5,
        on_error: float = 2.0,
    ) -> None:
        self._min_s = check_delay_s(min_s, name="min_s")
        self._max_s = check_delay_s(max_s, name="max_s")
        self._base_s = check_delay_s(base_s, name="base_s")
        if not 0 < self._min_s <= self._base_s <= self._max_s < float("inf"):
            raise ValueError(
                f"`base_s` must be in [min_s, max_s] = [{min_s}, {max_s}], finite and > 0, "
                f"got {base_s}"
            )
        if isinstance(on_win, bool) or not 0 < on_win <= 1:
            raise ValueError(f"`on_win` must be in (0, 1], got {on_win}")
        for name, factor in (("on_loss", on_loss), ("on_error", on_error)):
            if isinstance(factor, bool) or not 1 <= factor < float("inf"):
                raise ValueError(f"`{name}` must be a finite number >= 1, got {factor}")
        self._factors: dict[Settled, float] = {
            "unhedged": on_win,
            "won": on_win,
            "lost": on_loss,
            "failed": on_error,
        }
        self._delay_s = self._base_s

    @property
    def name(self) -> str:
        """What an experiment's design should say about it."""
        numbers = (self._base_s, self._min_s, self._max_s, *list(self._factors.values())[1:])
        if numbers == (0.1, 0.01, 5.0, 0.9, 1.5, 2.0):
            return "exponential_backoff"
        base, low, high, win, loss, failed = numbers
        return (
            f"exponential_backoff({base:g} s, min_s={low:g}, max_s={high:g}, on_win={win:g}, "
            f"on_loss={loss:g}, on_error={failed:g})"
        )

    def delay(self) -> float:
        """Return the delay as the last requests left it."""
        return self._delay_s

    def observe(self, latency_s: float, *, censored: bool, attempt: int = 0) -> None:
        """Learn nothing from latencies."""

    def settle(self, result: Settled) -> None:
        """Follow how a request ended."""
        self._delay_s = min(max(self._delay_s * self._factors[result], self._min_s), self._max_s)

    def reset(self) -> None:
        """Start again at `base_s`."""
        self._delay_s = self._base_s
