"""The time of day, for what is written down about a run."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day. How long something takes is measured by the event loop's own clock.

    With a clock of your own, what is written down says the times that you give.
    """

    def time_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 00:00 UTC."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The clock of this machine."""

    def time_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 00:00 UTC."""
        return time.time_ns()


def utc(clock: Clock) -> str:
    """Return the time in UTC to the second, such as "2026-03-01T12:00:00+00:00"."""
    return datetime.fromtimestamp(clock.time_ns() // 1_000_000_000, UTC).isoformat()
