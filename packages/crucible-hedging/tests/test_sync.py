"""Acceptance 19: the twins for code that is not async. Real threads, so real (short) time."""

import asyncio
import threading
from contextvars import ContextVar
from functools import partial

import anyio
import pytest
import trio

from crucible_hedging import HedgeBudget, Hedger, NoHedge, hedge_sync, report_cost

WHO = ContextVar("who", default="nobody")


async def quick():
    return "quick"


async def never():
    await anyio.sleep_forever()


def free():
    return HedgeBudget(1.0, burst=10_000, initial=10_000)


def test_an_async_call_from_a_script():
    outcome = hedge_sync(never, backups=[quick], delay=0.001)
    assert (outcome.value, outcome.winner) == ("quick", 1)
    outcome = Hedger(0.001, budget=free()).call_sync(never, backups=[quick], key="k")
    assert (outcome.value, outcome.key) == ("quick", "k")


@pytest.mark.parametrize("loop", [asyncio.run, lambda coroutine: trio.run(lambda: coroutine)])
def test_from_inside_a_running_loop(loop):
    async def notebook():
        WHO.set("me")
        return hedge_sync(never, backups=[who], delay=0.001).value

    async def who():
        return WHO.get()

    assert loop(notebook()) == "me"


def test_from_inside_a_loop_that_anyio_runs():
    async def notebook():
        return hedge_sync(never, backups=[quick], delay=0.001).value

    for backend in ("asyncio", "trio"):
        assert anyio.run(notebook, backend=backend) == "quick"


def test_from_eight_threads_with_one_hedger():
    hedger, values = Hedger(0.001, budget=free()), []

    def work():
        for number in range(5):
            outcome = hedger.call_sync(never, backups=[quick], key=number)
            values.append(outcome.value)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == ["quick"] * 40
    figures = hedger.statistics()
    assert (figures.requests, figures.backups, figures.wins) == (40, 40, 40)
    assert hedger.statistics(key=3).requests == 8


def test_a_blocking_function_that_loses_is_abandoned_and_reported():
    release, ended = threading.Event(), threading.Event()

    def blocks():
        release.wait(30)
        ended.set()

    outcome = hedge_sync(blocks, backups=[lambda: "quick"], delay=0.001, cost=lambda value: 0.01)
    assert outcome.value == "quick"
    assert [a.status for a in outcome.attempts] == ["abandoned", "won"]
    assert not ended.is_set()  # its thread was not waited for
    release.set()
    assert ended.wait(30)


def test_a_plain_function_may_fail_answer_and_report_its_price():
    def broken():
        raise OSError("no")

    def priced():
        report_cost(0.5)
        return WHO.get()

    WHO.set("me")
    outcome = hedge_sync(broken, backups=[priced], delay=30)
    assert (outcome.value, outcome.winner) == ("me", 1)
    assert outcome.known_cost_usd == 0.5
    with pytest.raises(OSError, match="no"):
        hedge_sync(broken, delay=NoHedge())


def test_a_plain_function_may_return_an_awaitable():
    assert hedge_sync(lambda: quick(), delay=30).value == "quick"
    assert hedge_sync(partial(quick), delay=30).value == "quick"
    outcome = hedge_sync(lambda: never(), backups=[lambda: quick()], delay=0.001)
    assert [a.status for a in outcome.attempts] == ["cancelled", "won"]


def test_a_backup_given_as_the_primarys_function_is_the_same_call():
    def fatal():
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        hedge_sync(fatal, backups=[fatal], delay=30)


def test_time_runs_out():
    with pytest.raises(TimeoutError):
        hedge_sync(never, delay=NoHedge(), timeout_s=0.01)
    hedger = Hedger("off")
    with pytest.raises(TimeoutError):
        hedger.call_sync(never, timeout_s=0.01)
    assert hedger.statistics().cancelled == 1
    with pytest.raises(ValueError, match="`timeout_s` must be > 0 or None, got 0"):
        hedge_sync(quick, delay=1, timeout_s=0)


def test_bad_arguments_are_named_before_a_loop_is_started():
    with pytest.raises(TypeError, match="`call` must be callable"):
        hedge_sync("x", delay=1)
    with pytest.raises(ValueError, match="`backups` must be at most max_backups = 1"):
        hedge_sync(quick, backups=[quick, quick], delay=1)
