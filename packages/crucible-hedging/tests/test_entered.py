"""What only an entered hedger does: losers that run on, shadowed pairs, a shared timer."""

import asyncio
import contextlib
import gc
import json
import math
import random
import threading

import anyio
import pytest

from crucible_hedging import FixedDelay, HedgeBudget, Hedger, ShadowLog
from crucible_hedging.errors import HedgerClosedError

pytestmark = pytest.mark.anyio


def free():
    return HedgeBudget(1.0, burst=100_000, initial=100_000)


class Recording(FixedDelay):
    def __init__(self, delay_s):
        super().__init__(delay_s)
        self.seen = []

    def observe(self, latency_s, *, censored, attempt=0):
        self.seen.append((attempt, round(latency_s, 9), censored))


async def test_an_explored_primary_runs_on_and_is_told_once_with_its_true_latency(stage):
    policy = Recording(0.1)
    async with Hedger(policy, budget=free(), explore=1.0) as hedger:
        outcome = await hedger(stage.call((1.0, "slow"), (0.05, "quick")))
        assert (outcome.value, outcome.latency_s) == ("quick", pytest.approx(0.15))
        assert [a.status for a in outcome.attempts] == ["running", "won"]
        assert outcome.attempts[0].latency_s is None
        assert stage.running == 1
        assert policy.seen == [(1, 0.05, False)]
        assert hedger.statistics().effect.explored == 0
        await anyio.sleep(0.9)
        assert stage.running == 0
        assert policy.seen == [(1, 0.05, False), (0, 1.0, False)]
        assert hedger.statistics().wasted_s == pytest.approx(1.0)
    assert anyio.current_time() == pytest.approx(1.05)


async def test_a_beaten_backup_is_not_explored(stage):
    async with Hedger(0.1, budget=free(), explore=1.0) as hedger:
        outcome = await hedger(stage.call((0.2, "primary"), (5.0, "backup")))
        assert [a.status for a in outcome.attempts] == ["won", "cancelled"]
    assert anyio.current_time() == pytest.approx(0.2)


async def test_one_beaten_primary_in_ten_is_explored_by_default(stage):
    async with Hedger(0.1, budget=free(), drain_s=60) as hedger:
        for _ in range(300):
            await hedger(stage.call((1.0, "slow"), (0.05, "quick")))
        await anyio.sleep(1)
        # 30 expected; four standard deviations of a binomial are 21.
        assert 9 <= hedger.statistics().effect.explored <= 51


async def test_without_cancelling_losers_run_on_and_are_counted_when_they_stop(stage):
    policy = Recording(0.1)
    prices = {"slow": 0.03, "quick": 0.01, "third": 0.5}
    async with Hedger(
        policy, budget=free(), cancel=False, cost=prices.get, max_backups=2
    ) as hedger:
        outcome = await hedger(stage.call((1.0, "slow"), (0.15, "quick"), (0.2, "third")))
        assert outcome.value == "quick"
        assert [a.status for a in outcome.attempts] == ["running", "won", "running"]
        # The losers' prices are assumed to be the winner's until they are known.
        assert outcome.cost_usd == pytest.approx(0.03)
        assert hedger.statistics().cost_usd == pytest.approx(0.01)
    figures = hedger.statistics()
    assert figures.cost_usd == pytest.approx(0.54)
    assert figures.extra_cost_usd == pytest.approx(0.53)
    assert figures.wasted_s == pytest.approx(1.0 + 0.2)
    assert policy.seen == [(1, 0.15, False), (2, 0.2, False), (0, 1.0, False)]


async def test_a_loser_that_fails_later_harms_nobody(stage):
    policy = Recording(0.1)
    async with Hedger(policy, budget=free(), cancel=False) as hedger:
        await hedger(stage.call((1.0, OSError("late")), (0.05, "quick")))
        await anyio.sleep(2)
        assert (await hedger(stage.call((0.01, "next")))).value == "next"
    assert policy.seen == [(1, 0.05, False), (0, 0.01, False)]


async def test_background_losers_get_drain_s_seconds_and_are_awaited(stage):
    policy = Recording(0.1)
    async with Hedger(policy, budget=free(), cancel=False, drain_s=2.0) as hedger:
        await hedger(stage.call((100.0, "stuck"), (0.05, "quick")))
    assert anyio.current_time() == pytest.approx(2.15)
    assert stage.running == 0
    assert policy.seen == [(1, 0.05, False), (0, 2.15, True)]


async def test_cancelling_the_body_does_not_wait_for_the_drain(stage):
    with anyio.move_on_after(0.5) as scope:
        async with Hedger(0.1, budget=free(), cancel=False, drain_s=60) as hedger:
            await hedger(stage.call((100.0, "stuck"), (0.05, "quick")))
            await anyio.sleep(10)
    assert scope.cancelled_caught
    assert anyio.current_time() == pytest.approx(0.5)


async def test_an_error_of_the_body_comes_out_as_it_is(stage):
    mine = LookupError("mine")

    async def body():
        async with Hedger(0.1, budget=free()) as hedger:
            await hedger(stage.call((0.01, "x")))
            raise mine

    with pytest.raises(LookupError) as caught:
        await body()
    assert caught.value is mine


async def test_leaving_ends_a_request_whose_attempts_run_in_the_hedger(stage):
    caught = []
    hedger = Hedger(0.1, budget=free(), cancel=False, drain_s=0.5)

    async def asks():
        try:
            await hedger(stage.call((100.0, "stuck"), (100.0, "stuck")))
        except HedgerClosedError as error:
            caught.append(str(error))

    async with anyio.create_task_group() as group, hedger:
        group.start_soon(asks)
        await anyio.sleep(1)
    assert caught == ["the hedger was left while the request ran"]
    assert anyio.current_time() == pytest.approx(1.5)


async def test_a_hedger_is_entered_once(stage):
    hedger = Hedger(0.1, budget=free())
    async with hedger:
        with pytest.raises(RuntimeError, match="entered already"):
            await hedger.__aenter__()
    with pytest.raises(HedgerClosedError, match="after its `async with`"):
        await hedger(stage.call())
    with pytest.raises(HedgerClosedError):
        await hedger.__aenter__()


async def test_sessions_of_a_hedger_are_entered_as_often_as_one_likes_and_share_its_figures(stage):
    policy = Recording(0.1)
    hedger = Hedger(policy, budget=free(), explore=1.0)
    for _ in range(2):
        async with hedger.session() as session:
            outcome = await session(stage.call((1.0, "slow"), (0.05, "quick")))
            assert outcome.attempts[0].status == "running"
    assert (hedger.statistics().requests, hedger.statistics().backups) == (2, 2)
    assert policy.seen.count((0, 1.0, False)) == 2  # the beaten primaries ran to their end
    assert (
        len((await hedger(stage.call((0.01, "a")))).attempts) == 1
    )  # a session that was left closes nothing
    async with hedger, hedger.session() as session:
        await session(stage.call((0.01, "a")))
    with pytest.raises(HedgerClosedError, match="no more sessions"):
        hedger.session()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"cancel": False}, "cancel=False"),
        ({"shadow": ShadowLog(), "shadow_rate": 0.5}, "shadow_rate"),
    ],
)
async def test_what_runs_on_needs_a_place_to_run(stage, options, name):
    hedger = Hedger(0.1, budget=free(), **options)
    with pytest.raises(ValueError, match=f"`{name}` must be used within `async with hedger`"):
        await hedger(stage.call())


async def test_shadowed_requests_run_both_copies_and_answer_with_the_primary(stage):
    log = ShadowLog(measure=lambda value: {"length": len(value)})
    hedger = Hedger("off", shadow=log, shadow_rate=1.0, cost=lambda value: 0.01 * len(value))
    async with hedger:
        outcome = await hedger(
            stage.call((0.5, "primary")), backups=[stage.call((0.2, "copy"))], key="k"
        )
        assert (outcome.value, outcome.winner, outcome.shadow) == ("primary", 0, True)
        assert (outcome.latency_s, outcome.blocked) == (pytest.approx(0.5), None)
        assert outcome.cost_usd == pytest.approx(0.11)
        (first,) = log
        assert (first.primary_s, first.backup_s) == (pytest.approx(0.5), pytest.approx(0.2))
        assert (first.primary_measures, first.backup_measures) == ({"length": 7}, {"length": 4})
        assert (first.primary_cost_usd, first.backup_cost_usd) == pytest.approx((0.07, 0.04))
        assert first.key == "k"
        assert first.started_at.endswith("+00:00")
        outcome = await hedger(stage.call((0.2, "primary")), backups=[stage.call((3.0, "late"))])
        assert outcome.latency_s == pytest.approx(0.2)
        assert outcome.attempts[1].status == "running"
        assert len(log) == 1
    second = list(log)[1]
    assert second.backup_s == pytest.approx(3.0)
    figures = hedger.statistics()
    assert (figures.requests, figures.shadowed, figures.backups, figures.hedged) == (2, 2, 0, 0)
    assert figures.cost_usd == pytest.approx(0.11 + 0.11)


async def test_a_shadowed_request_answers_with_the_copy_if_the_primary_fails(stage):
    log = ShadowLog()
    async with Hedger(0.1, shadow=log, shadow_rate=1.0) as hedger:
        outcome = await hedger(stage.call((0.5, OSError())), backups=[stage.call((0.2, "copy"))])
        assert (outcome.value, outcome.winner) == ("copy", 1)
        assert outcome.latency_s == pytest.approx(0.5)
        outcome = await hedger(stage.call((0.1, OSError())), backups=[stage.call((0.2, "copy"))])
        assert (outcome.value, outcome.latency_s) == ("copy", pytest.approx(0.2))
        with pytest.raises(ExceptionGroup, match="no attempt succeeded"):
            await hedger(stage.call((0.1, OSError())), backups=[stage.call((0.2, OSError()))])
    assert [(r.primary_ok, r.backup_ok) for r in log] == [
        (False, True),
        (False, True),
        (False, False),
    ]


async def test_a_copy_that_is_cut_when_the_hedger_is_left_is_a_lower_bound(stage, tmp_path):
    path = tmp_path / "pairs.jsonl"
    with ShadowLog(path) as log:
        async with Hedger("off", shadow=log, shadow_rate=1.0, drain_s=1.0) as hedger:
            await hedger(stage.call((0.5, "primary")), backups=[stage.call((100.0, "stuck"))])
            with anyio.move_on_after(0.25):
                await hedger(stage.call((9.0, "given up")), backups=[stage.call((9.0, "given up"))])
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    if first["primary_s"] != pytest.approx(0.5):
        first, second = second, first
    assert (first["backup_censored"], first["backup_s"]) == (True, pytest.approx(1.75))
    assert (first["primary_censored"], first["backup_ok"]) == (False, True)
    assert (second["primary_censored"], second["backup_censored"]) == (True, True)
    assert second["primary_s"] == pytest.approx(0.25)


async def test_a_measure_that_fails_loses_no_pair(stage):
    log = ShadowLog(measure=lambda value: {"length": value.length})
    async with Hedger("off", shadow=log, shadow_rate=1.0) as hedger:
        with pytest.warns(RuntimeWarning, match="`measure` raised AttributeError"):
            await hedger(stage.call((0.2, "primary")), backups=[stage.call((0.1, "copy"))])
    assert [r.primary_measures for r in log] == [{}]


async def test_a_price_that_fails_for_a_late_loser_is_unknown(stage):
    prices = {"quick": 0.01}
    async with Hedger(0.1, budget=free(), cancel=False, cost=lambda v: prices[v]) as hedger:
        await hedger(stage.call((1.0, "slow"), (0.05, "quick")))
        with pytest.warns(RuntimeWarning, match="`cost` raised KeyError for a loser that ran on"):
            await anyio.sleep(1)
    assert hedger.statistics().cost_usd is None


async def test_a_share_of_requests_is_shadowed_and_the_budget_does_not_pay(stage):
    log, budget = ShadowLog(), HedgeBudget(0.05)
    async with Hedger(10.0, budget=budget, shadow=log, shadow_rate=0.2, seed=5) as hedger:
        for _ in range(400):
            await hedger(stage.call((0.01, "x"), (0.01, "y")))
    # 80 expected; four standard deviations are 32.
    assert 48 <= len(log) <= 112
    assert budget.tokens == pytest.approx(20)


async def test_the_kill_switch_stops_shadows_too(stage):
    log = ShadowLog()
    async with Hedger("off", shadow=log, shadow_rate=1.0) as hedger:
        hedger.enabled = False
        outcome = await hedger(stage.call((0.1, "x")))
    assert (outcome.requests, outcome.blocked, outcome.shadow) == (1, "disabled", False)


async def test_the_primary_runs_in_the_callers_own_task():
    async with Hedger(10.0, explore=0.0) as hedger:
        mine = anyio.get_current_task().id

        async def call():
            return anyio.get_current_task().id

        assert (await hedger(call)).value == mine


async def test_another_threads_loop_gets_task_groups_of_its_own(stage):
    answers = []
    async with Hedger(0.001, budget=free()) as hedger:

        async def plain():
            return "from a thread"

        def work():
            answers.append(hedger.call_sync(plain).value)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert answers == ["from a thread"]


async def test_what_is_over_leaves_the_timer(stage):
    async with Hedger(3600.0, budget=free(), explore=0.0) as hedger:
        for _ in range(1_000):
            await hedger(stage.call((0.0, "x")))
        assert len(hedger._track._heap) <= 66

        async def one():
            await hedger(stage.call((1.0, "x")))

        async with anyio.create_task_group() as group:
            for _ in range(500):
                group.start_soon(one)
            await anyio.sleep(0.5)
            assert len(hedger._track._heap) <= 2 * 500 + 66
        assert len(hedger._track._heap) <= 66


async def test_a_nearer_time_wakes_the_timer(stage):
    async with Hedger(lambda key: FixedDelay(key), budget=free(), explore=0.0) as hedger:
        ends = {}

        async def one(delay):
            outcome = await hedger(stage.call((1000.0, "slow"), (0.5, "quick")), key=delay)
            ends[delay] = (outcome.value, round(anyio.current_time(), 6))

        async with anyio.create_task_group() as group:
            for delay in (100.0, 10.0, 1.0, 50.0):
                group.start_soon(one, delay)
                await anyio.sleep(0.125)
    assert ends == {
        100.0: ("quick", 100.5), 10.0: ("quick", 10.625), 1.0: ("quick", 1.75), 50.0: ("quick", 50.875),
    }  # fmt: skip


async def test_nothing_is_left_after_many_random_calls():
    # The leak run of 100,000 is in `scripts/bench_hedging.py`; this is a thousandth of it per case.
    rng, running = random.Random(1), 0
    tasks = len(anyio.get_running_tasks())

    async def call():
        nonlocal running
        running += 1
        try:
            await anyio.sleep(rng.choice([0, 0, 0.0005, 0.001, 0.002]))
            if rng.random() < 0.2:
                raise OSError
        finally:
            running -= 1

    async def one(hedger):
        with anyio.move_on_after(rng.choice([0.0, 0.0003, 0.001, 1.0])):
            with contextlib.suppress(OSError, ExceptionGroup):
                await hedger(call)

    async with Hedger(0.0005, budget=0.5, explore=0.3) as hedger:
        async with anyio.create_task_group() as group:
            for _ in range(1_000):
                group.start_soon(one, hedger)
        assert running <= len(anyio.get_running_tasks()) - tasks
    gc.collect()
    assert running == 0
    assert len(anyio.get_running_tasks()) == tasks
    assert hedger._in_flight.running == 0


async def test_a_lost_draw_of_the_effect_is_explained(stage):
    async with Hedger(0.1, budget=free(), explore=0.0) as hedger:
        for _ in range(1_000):
            await hedger(stage.call((1.0, "slow"), (0.05, "quick")))
    effect = hedger.statistics().effect
    assert (effect.ratio, effect.n, effect.explored) == (None, 1_000, 0)
    assert "no beaten primary was seen to its end" in effect.reason
    assert math.isclose(hedger.statistics().p99_s, 0.15)


@pytest.mark.parametrize("how", ["scope", "fail_after"])
@pytest.mark.parametrize(
    ("at", "script", "told"),
    [
        (0.05, [(9.0, "a")], [(0, 0.05, True)]),  # before the backup
        (0.3, [(9.0, "a"), (9.0, "b")], [(0, 0.3, True), (1, 0.2, True)]),  # while both run
        (0.3, [(0.2, OSError()), (9.0, "b")], [(1, 0.2, True)]),  # while it waits for the backup
    ],
)
async def test_cancelling_a_caller_leaves_nothing_of_its_request_in_the_hedger(
    stage, how, at, script, told
):
    # Acceptance 4: the hedger was entered outside of what is cancelled.
    policy = Recording(0.1)
    async with Hedger(policy, budget=free(), explore=0.0) as hedger:
        if how == "scope":
            with anyio.move_on_after(at) as scope:
                await hedger(stage.call(*script))
            assert scope.cancelled_caught
        else:
            with pytest.raises(TimeoutError), anyio.fail_after(at):
                await hedger(stage.call(*script))
        assert stage.running == 0
        assert anyio.current_time() == pytest.approx(at)
        assert policy.seen == told
        assert (await hedger(stage.call((0.0, "next")))).value == "next"


@pytest.mark.parametrize("explore", [0.0, 1.0])
async def test_clean_up_of_a_cancelled_caller_is_awaited(explore):
    tidied = []

    async def tidy():
        try:
            await anyio.sleep(10)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.5)
                tidied.append(anyio.current_time())

    async with Hedger(0.1, budget=free(), explore=explore) as hedger:
        with anyio.move_on_after(0.2) as scope:
            await hedger(tidy)
        assert scope.cancelled_caught
        assert len(tidied) == 2
        # The primary in the caller's task tidies up first, and only then is the backup told.
        assert tidied[-1] == pytest.approx(0.7 if explore else 1.2)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("turns", range(6))
async def test_a_native_cancel_while_losers_tidy_up_is_not_lost(turns, anyio_backend):
    running, started = 0, asyncio.Event()

    async def tidy():
        nonlocal running
        running += 1
        started.set()
        try:
            await anyio.sleep(10)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.001)
            running -= 1

    async def quick():
        await asyncio.sleep(0)
        return "quick"

    async with Hedger(0.0, budget=free(), explore=1.0, drain_s=0) as hedger:
        task = asyncio.ensure_future(hedger.race([tidy, quick]))
        await started.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            assert task.result() == ("quick", 1)
    assert running == 0
