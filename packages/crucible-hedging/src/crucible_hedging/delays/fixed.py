"""Delays that do not learn."""

import math


def check_delay_s(value: object, *, name: str) -> float:
    """Return a number of seconds >= 0 (inf: never), or raise naming the parameter."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"`{name}` must be a number of seconds >= 0, got {value!r}")
    if not value >= 0:
        raise ValueError(f"`{name}` must be >= 0 seconds, got {value}")
    return float(value)


class NoHedge:
    """Never send a backup; requests are measured all the same."""

    name = "off"

    def delay(self) -> float:
        """Return inf."""
        return math.inf

    def observe(self, latency_s: float, *, censored: bool, attempt: int = 0) -> None:
        """Learn nothing."""

    def reset(self) -> None:
        """Forget nothing."""


class FixedDelay:
    """Wait `delay_s` seconds, always.

    Parameters
    ----------
    delay_s : float, >= 0
    """

    def __init__(self, delay_s: float = 0.1) -> None:
        self._delay_s = check_delay_s(delay_s, name="delay_s")

    @property
    def name(self) -> str:
        """What an experiment's design should say about it."""
        return f"fixed({self._delay_s:g} s)"

    def delay(self) -> float:
        """Return the constant."""
        return self._delay_s

    def observe(self, latency_s: float, *, censored: bool, attempt: int = 0) -> None:
        """Learn nothing."""

    def reset(self) -> None:
        """Forget nothing."""
