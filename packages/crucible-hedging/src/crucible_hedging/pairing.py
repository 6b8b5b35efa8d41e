"""Both copies of a shadowed request, written to the log when both have stopped."""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime

from crucible_hedging.attempt import Running
from crucible_hedging.costs import Price
from crucible_hedging.shadow import ShadowLog, ShadowRecord


class ShadowPairing:
    """One request's line in the log."""

    __slots__ = ("_log", "_started_at")

    def __init__(self, log: ShadowLog) -> None:
        self._log = log
        self._started_at = datetime.now(UTC).isoformat()

    def write(self, attempts: Sequence[Running], prices: Sequence[Price], *, key: Hashable) -> None:
        """Write the record; a cut attempt's latency is a lower bound."""
        if len(attempts) < 2:
            return  # cancelled before the second copy was there
        primary, backup = attempts[:2]
        record = ShadowRecord(
            key=key,
            started_at=self._started_at,
            primary_s=_latency(primary),
            backup_s=_latency(backup),
            primary_ok=_ok(primary),
            backup_ok=_ok(backup),
            primary_censored=primary.status in ("cancelled", "abandoned"),
            backup_censored=backup.status in ("cancelled", "abandoned"),
            primary_cost_usd=_own_price(prices[0]),
            backup_cost_usd=_own_price(prices[1]),
            primary_measures=self._measures(primary),
            backup_measures=self._measures(backup),
        )
        try:
            self._log.append(record)
        except OSError as error:  # a full disk must not end the hedger's other requests
            warnings.warn(f"a pair was not written: {error}", RuntimeWarning, stacklevel=2)

    def _measures(self, running: Running) -> Mapping[str, float]:
        if self._log.measure is None or not running.answered:
            return {}
        try:
            return {
                name: float(number) for name, number in self._log.measure(running.value).items()
            }
        except Exception as error:  # noqa: BLE001  # a measure that fails must not lose the pair
            warnings.warn(
                f"`measure` raised {type(error).__name__}: {error}; the pair is kept without it",
                RuntimeWarning,
                stacklevel=2,
            )
            return {}


def _latency(running: Running) -> float:
    assert running.ended is not None
    return max(running.ended - running.started, 0.0)


def _ok(running: Running) -> bool:
    return running.status not in ("failed", "rejected")


def _own_price(known: Price) -> float | None:
    usd, source = known
    return usd if source in ("value", "reported") else None
