import math
import time

import pytest

from crucible_hedging import (
    AdaptiveDelay,
    BackoffDelay,
    FixedDelay,
    NoHedge,
    PercentileDelay,
    Workload,
    WorkloadDelays,
)
from crucible_hedging.testing import check_delay_policy


@pytest.mark.parametrize(
    "make",
    [
        NoHedge,
        FixedDelay,
        PercentileDelay,
        lambda: PercentileDelay(99, window=100),
        lambda: AdaptiveDelay(budget=0.05),
        lambda: AdaptiveDelay(budget=0.02, percentile=99.9, seed=4),
        BackoffDelay,
        lambda: WorkloadDelays()(Workload(complexity="complex")),
    ],
)
def test_our_own_policies_keep_every_promise(make):
    check_delay_policy(make)


class Policy:
    def delay(self):
        return 0.1

    def observe(self, latency_s, *, censored, attempt=0): ...


def test_what_is_broken_is_named():
    seen = []

    class Negative(Policy):
        def delay(self):
            return -1.0

    class Nan(Policy):
        value = 0.1

        def delay(self):
            return self.value

        def observe(self, latency_s, *, censored, attempt=0):
            self.value = math.nan

    class Text(Policy):
        def delay(self):
            return "soon"

    class Clock(Policy):
        def __init__(self):
            self.last = time.monotonic()

        def delay(self):
            return 0.1 if time.monotonic() - self.last < 60 else 5.0

    class Born(Policy):
        def __init__(self):
            self.delay_s = time.time() % 1e6

        def delay(self):
            return self.delay_s

    class Shared(Policy):
        def delay(self):
            return len(seen)

        def observe(self, latency_s, *, censored, attempt=0):
            seen.append(latency_s)

    class Settled(Policy):
        def settle(self, result):
            {"won": 1}[result]

    for broken, message in [
        (Negative, "negative before any observation: -1.0"),
        (Nan, "NaN after observations"),
        (Text, "returns 'soon' before any observation, not a number"),
        (Born, "depends on the time"),
        (Shared, "share what they learn"),
        (Settled, "raised KeyError"),
        (object, "delay.. is missing; observe.. is missing"),
    ]:
        with pytest.raises(AssertionError, match=message):
            check_delay_policy(broken)


def test_a_policy_that_follows_the_clock_is_found():
    class Stale(Policy):
        """Forgets what it saw more than a minute ago."""

        def __init__(self):
            self.at, self.delay_s = 0.0, 0.1

        def delay(self):
            return self.delay_s + int(time.monotonic() // 3600) % 2

    with pytest.raises(AssertionError, match="depends on the time"):
        check_delay_policy(Stale)
