"""Writes down what happens to a request, one thread at a time."""

import threading
from collections.abc import Callable, Sequence

from crucible_hedging.attempt import Running
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
    """The one who counts for one request: its attempts while they run, its facts at the end."""

    __slots__ = ("_in_flight", "_lock", "_tallies")

    def __init__(
        self, lock: threading.RLock, in_flight: InFlight, tallies: Sequence[Tally]
    ) -> None:
        self._lock, self._in_flight, self._tallies = lock, in_flight, tallies

    def started(self, running: Running) -> None:
        """Count an attempt that starts."""
        with self._lock:
            self._in_flight.running += 1
            for tally in self._tallies:
                tally.start(running.index, running.started)

    def stopped(self, running: Running) -> None:
        """Count an attempt that stops."""
        with self._lock:
            self._in_flight.running -= 1

    def record(self, facts: Facts, observe: Callable[[], None]) -> None:
        """Count a request that is over, and let its policy learn."""
        with self._lock:
            for tally in self._tallies:
                tally.end(facts)
            observe()
