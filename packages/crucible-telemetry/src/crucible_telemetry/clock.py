"""Two clocks: one that tells the date and may step, one that never goes back."""

import time
from typing import Protocol

_MILLISECOND = 1_000_000


class Clock(Protocol):
    """Tell the time."""

    def wall_ns(self) -> int:
        """Return Unix nanoseconds."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go back."""
        ...


class SystemClock:
    """The machine's clocks."""

    # The functions themselves: every span reads both clocks twice.
    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)


def stepped(wall_ns: int, monotonic_ns: int) -> bool:
    """Whether the wall clock moved otherwise than the monotonic one over the same time."""
    return abs(wall_ns - monotonic_ns) > _MILLISECOND + monotonic_ns // 1000
