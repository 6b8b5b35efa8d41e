"""The checks for implementers: our own pass them, and each broken promise is named."""

import pytest
from worlds import simulated, sums

from crucible_ensemble import Completion, Ensemble, hedged
from crucible_harness.clock import SystemClock
from crucible_harness.executors.local import LocalExecutor
from crucible_harness.testing import (
    ConformanceError,
    check_clock,
    check_composite,
    check_executor,
    check_reportable,
    check_scorer,
)
from crucible_hedging import Hedger

ITEM = sums(1)[0]


def test_what_this_project_has_keeps_its_promises():
    check_clock(SystemClock())
    check_composite(Ensemble([simulated("a"), simulated("b")], samples=2))
    check_composite(hedged(simulated("a"), hedger=Hedger(1.0)))
    check_scorer(lambda answered, item: float(answered.text == item.expected), ITEM)


@pytest.mark.anyio
async def test_the_local_executor_keeps_its_promises():
    await check_executor(LocalExecutor())


class Pair:
    """A composite that may break a promise."""

    def __init__(self, models, breaks: str = "") -> None:
        self._models, self._breaks = list(models), breaks

    def fingerprint(self) -> dict[str, object]:
        return {"pair": len(self._models)}

    def members(self):
        return [] if self._breaks == "empty" else self._models

    def with_members(self, models):
        if self._breaks == "itself":
            return self
        return Pair(
            models[::-1] if self._breaks == "order" else models[: 1 + (self._breaks != "loses")]
        )


@pytest.mark.parametrize(
    ("breaks", "says"),
    [("empty", "at least one"), ("itself", "a new object"), ("loses", "the same composite"),
     ("order", "the same composite|in order")],
)  # fmt: skip
def test_a_broken_composite_is_named(breaks, says):
    check_composite(Pair([simulated("a"), simulated("b")]))
    with pytest.raises(ConformanceError, match=says):
        check_composite(Pair([simulated("a"), simulated("b")], breaks))


def test_a_scorer_that_is_no_function_or_no_number_is_named():
    with pytest.raises(ConformanceError, match="must be None or finite, got nan"):
        check_scorer(lambda answered, item: float("nan"), ITEM)
    seen = []
    with pytest.raises(ConformanceError, match="must score alike"):
        check_scorer(lambda answered, item: seen.append(1) or float(len(seen)), ITEM)


class Deaf(LocalExecutor):
    async def generate(self, model, messages, /, **options):
        return Completion(text="42", model="deaf")


class Swallows(LocalExecutor):
    async def generate(self, model, messages, /, **options):
        try:
            return await super().generate(model, messages, **options)
        except ZeroDivisionError as error:
            raise RuntimeError("lost") from error


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("executor", "says"),
    [(Deaf(), "the prompt must arrive"), (Swallows(), "own error must arrive, got RuntimeError")],
)
async def test_an_executor_that_breaks_a_promise_is_named(executor, says):
    with pytest.raises(ConformanceError, match=says):
        await check_executor(executor)


def test_a_report_that_is_none_is_named():
    class Thing:
        def to_report(self):
            return {"title": "x", "sections": "none"}

    with pytest.raises(ConformanceError, match="`sections` of a report must be a list"):
        check_reportable(Thing())


def test_a_clock_that_tells_no_nanoseconds_is_named():
    class Seconds:
        def time_ns(self):
            return 1.5

    with pytest.raises(ConformanceError, match="as an int, got 1.5"):
        check_clock(Seconds())
