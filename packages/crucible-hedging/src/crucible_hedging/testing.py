"""For people who write a delay policy: says what is broken in it."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import get_args
from unittest import mock

from crucible_hedging.delays.policy import DelayPolicy, Settled

_CLOCKS = ("time", "monotonic", "perf_counter")


def check_delay_policy(make: Callable[[], DelayPolicy]) -> None:
    """Raise if what `make` returns breaks a promise of `DelayPolicy`.

    Parameters
    ----------
    make : callable
        Returns a new policy, with equal settings each time.

    Raises
    ------
    AssertionError
        With every broken promise in its message.

    Notes
    -----
    The promises: `delay()` returns a number of seconds >= 0, never NaN, before and after any
    observation (inf is a number: no backup); it depends on the observations alone, not on the time
    at which it is asked; policies made one after the other do not share what they learn; `settle`,
    if there is one, takes its four words.

    Examples
    --------
    >>> from crucible_hedging import PercentileDelay
    >>> check_delay_policy(PercentileDelay)
    """
    broken = list(dict.fromkeys(_broken(make)))
    if broken:
        raise AssertionError("; ".join(broken))


def _broken(make: Callable[[], DelayPolicy]) -> Iterator[str]:
    policy = make()
    missing = [n for n in ("delay", "observe") if not callable(getattr(policy, n, None))]
    if missing:
        yield from (f"{name}() is missing" for name in missing)
        return
    fresh = _delays(policy)
    yield from _wrong(fresh, "before any observation")
    try:
        learned = _teach(policy)
        with ExitStack() as hour:
            for clock in _CLOCKS:
                _shift(hour, clock, 3600)
                _shift(hour, f"{clock}_ns", 3600 * 10**9)
            twin = make()
            unmoved = _delays(twin)
            later = _teach(twin)
        untaught = _delays(make())
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
        yield f"a promised call raised {type(error).__name__}: {error}"
        return
    yield from _wrong(learned, "after observations")
    if (unmoved != fresh and untaught == fresh) or later != learned:
        yield "delay() depends on the time at which it is asked"
    if untaught != fresh:
        yield "policies share what they learn"


def _shift(stack: ExitStack, clock: str, by: int) -> None:
    real = getattr(time, clock)

    def later() -> int | float:
        now: int | float = real()
        return now + by

    stack.enter_context(mock.patch.object(time, clock, later))


def _teach(policy: DelayPolicy) -> list[object]:
    delays: list[object] = []
    for number in range(600):
        # 1 to 2 seconds with a tail, some beaten, now and then a backup; every value a new one.
        latency_s = 1 + (number * 0.618034) % 1 + (20.0 if number % 37 == 0 else 0.0)
        policy.observe(latency_s, censored=number % 10 == 0, attempt=int(number % 25 == 0))
        if number % 50 == 49:
            delays.extend(_delays(policy))
    policy.observe(0.0, censored=False)
    settle = getattr(policy, "settle", None)
    if settle is not None:
        for result in get_args(Settled):
            settle(result)
            delays.extend(_delays(policy))
    return [*delays, *_delays(policy)]


def _delays(policy: DelayPolicy) -> list[object]:
    # Compared by repr, in which NaN is equal to itself; a coin gets some tosses.
    return [repr(policy.delay()) for _ in range(3)]


def _wrong(delays: list[object], when: str) -> Iterator[str]:
    for text in delays:
        try:
            value = float(str(text))
        except ValueError:
            yield f"delay() returns {text} {when}, not a number"
            continue
        if math.isnan(value):
            yield f"delay() is NaN {when}"
        elif value < 0:
            yield f"delay() is negative {when}: {value}"
