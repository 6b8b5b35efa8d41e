"""Writes down what happens to a request, one thread at a time."""

import threading
from collections.abc import Callable, Hashable, Sequence

from crucible_hedging.attempt import Running
from crucible_hedging.breaker import Circuit
from crucible_hedging.events import Events
from crucible_hedging.outcome import Blocked
from crucible_hedging.request import Facts
from crucible_hedging.statistics import Tally


class InFlight:
    """How many attempts of all keys run now, and how many at most may when a backup starts."""

    __slots__ = ("most", "running")

    def __init__(self, most: int | None) -> None:
        self.most, self.running = most, 0

    def full(self) -> bool:
        """Whether no backup may be added."""
        return self.most is not None and self.running >= self.most


class Recorder:
    """Counts the attempts of a key's requests while they run, and their facts at the end.

    `key`, `events` and `shadow` are of one request, `circuit` and the tallies of all of a key.
    """

    __slots__ = ("_circuit", "_events", "_in_flight", "_key", "_lock", "_shadow", "_tallies")

    def __init__(
        self,
        lock: threading.RLock,
        in_flight: InFlight,
        tallies: Sequence[Tally],
        *,
        circuit: Circuit | None,
        events: Events | None = None,
        key: Hashable = None,
        shadow: bool = False,
    ) -> None:
        self._lock, self._in_flight, self._tallies = lock, in_flight, tallies
        self._circuit, self._events, self._key, self._shadow = circuit, events, key, shadow

    def started(self, running: Running) -> None:
        """Count an attempt that starts."""
        index = running.index
        with self._lock:
            self._in_flight.running += 1
            for tally in self._tallies:
                tally.start(index, running.started, shadow=self._shadow)
            if self._circuit is not None:
                self._circuit.started(index)
        if index > 0 and self._events is not None and not self._shadow:
            self._events("hedge.fired", self._key, attempt=index)

    def stopped(self, running: Running) -> None:
        """Count an attempt that stops."""
        turn = None
        with self._lock:
            self._in_flight.running -= 1
            if self._circuit is not None:
                assert running.ended is not None
                turn = self._circuit.stopped(running.index, running.status, running.ended)
        if self._events is None:
            return
        if running.status in ("failed", "rejected"):
            error = None if running.error is None else type(running.error).__name__
            self._events("attempt.failed", self._key, attempt=running.index, error=error)
        if turn is not None:
            self._events(f"breaker.{turn}", self._key)

    def refused(self, reason: Blocked) -> None:
        """Tell of a backup that was not sent."""
        if self._events is not None:
            self._events("hedge.blocked", self._key, blocked=reason)

    def record(self, facts: Facts, observe: Callable[[], None]) -> None:
        """Count a request that is over, and let its policy learn."""
        with self._lock:
            for tally in self._tallies:
                tally.end(facts)
            observe()
        if self._events is None:
            return
        if facts.settled in ("won", "lost") and not facts.shadow:
            self._events(f"hedge.{facts.settled}", self._key, winner=facts.winner)
        self._events(
            "request.stop",
            self._key,
            latency_s=facts.ended - facts.started,
            outcome="cancelled" if facts.settled is None else
            "error" if facts.settled == "failed" else "ok",
            hedged=facts.backups > 0,
            backups=facts.backups,
            winner=facts.winner,
            blocked=facts.blocked,
            shadow=facts.shadow,
            wasted_s=facts.wasted_s,
            cost_usd=facts.cost_usd,
        )  # fmt: skip

    def late(self, wasted_s: float, usd: float | None, observe: Callable[[], None]) -> None:
        """Count a loser that ran on after its request."""
        with self._lock:
            for tally in self._tallies:
                tally.late(wasted_s, usd)
            observe()
