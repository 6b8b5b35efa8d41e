import inspect
import json
import math
import random
from contextlib import AsyncExitStack
from contextvars import ContextVar

import anyio
import pytest

from crucible_hedging import (
    AdaptiveDelay,
    BackoffDelay,
    Breaker,
    FixedDelay,
    HedgeBudget,
    Hedger,
    NoHedge,
    PercentileDelay,
    ShadowLog,
    Workload,
)
from crucible_hedging.errors import PolicyError
from crucible_hedging.statistics import ALL


def free():
    """A budget that always has a token."""
    return HedgeBudget(1.0, burst=100_000, initial=100_000)


class TooMany(Exception):
    def __init__(self, retry_after_s):
        self.retry_after_s = retry_after_s


@pytest.mark.anyio
async def test_the_call_returns_what_hedge_returns(stage):
    hedger = Hedger(0.1, budget=free())
    outcome = await hedger(stage.call((1.0, "slow"), (0.05, "quick")), key="k")
    assert (outcome.value, outcome.winner, outcome.key) == ("quick", 1, "k")
    assert outcome.latency_s == pytest.approx(0.15)


@pytest.mark.anyio
async def test_race_returns_the_value_and_the_index_of_its_call(stage):
    hedger = Hedger(0.1, budget=free(), max_backups=2)
    calls = [stage.call((1.0, "a")), stage.call((1.0, "b")), stage.call((0.05, "c"))]
    assert await hedger.race(calls, key="model") == ("c", 2)
    assert await hedger.race([stage.call((1.0, "slow"), (0.05, "copy"))]) == ("copy", 1)
    with pytest.raises(ValueError, match="`calls` must hold at least the primary"):
        await hedger.race([])
    with pytest.raises(ValueError, match="`backups` must be at most max_backups = 2"):
        await hedger.race([stage.call()] * 4)


@pytest.mark.anyio
async def test_a_wrapped_function_keeps_its_face_and_returns_values(stage):
    hedger = Hedger(0.1, budget=free())
    pauses = iter([1.0, 0.05])

    @hedger.wrap
    async def fetch(url: str, *, retries: int = 0) -> str:
        """Fetch."""
        await anyio.sleep(next(pauses))
        return f"{url} {retries}"

    assert await fetch("a", retries=2) == "a 2"
    assert anyio.current_time() == pytest.approx(0.15)
    assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetch.")
    assert list(inspect.signature(fetch).parameters) == ["url", "retries"]


@pytest.mark.anyio
async def test_statistics_count_what_happened(stage):
    hedger = Hedger(0.1, budget=free(), cost=lambda value: 0.01)
    await hedger(stage.call((0.05, "quick")), key="a")
    await hedger(stage.call((1.0, "slow"), (0.05, "won")), key="a")
    await hedger(stage.call((0.2, "won"), (1.0, "slow")), key="b")
    with pytest.raises(ExceptionGroup):
        await hedger(stage.call((0.2, OSError()), (0.2, OSError())), key="b")
    with anyio.move_on_after(0.05):
        await hedger(stage.call((1.0, "given up")), key="b")
    figures = hedger.statistics()
    assert (figures.requests, figures.hedged, figures.backups, figures.wins) == (5, 3, 3, 1)
    assert (figures.failures, figures.cancelled, figures.blocked) == (1, 1, {})
    assert (figures.fire_rate, figures.extra_ratio, figures.win_rate) == (3 / 5, 3 / 5, 1 / 3)
    # Answered after 0.05, 0.15 and 0.2: x_(2) of 3 is the median, higher ones are not in reach.
    assert figures.p50_s == pytest.approx(0.15)
    assert (figures.p95_s, figures.p99_s, figures.p999_s) == (None, None, None)
    # Losers ran for 0.15 and 0.1; the backup of the failed request for 0.2.
    assert figures.wasted_s == pytest.approx(0.15 + 0.1 + 0.2)
    assert figures.cost_usd is None  # what failures and the cancelled request cost is not known
    assert figures.uptime_s == pytest.approx(0.05 + 0.15 + 0.2 + 0.3 + 0.05)
    assert figures.requests_per_s == pytest.approx(5 / 0.75)
    a = hedger.statistics(key="a")
    assert (a.requests, a.backups, a.cost_usd) == (2, 1, pytest.approx(0.03))
    assert a.extra_cost_usd == pytest.approx(0.01)
    assert json.loads(json.dumps(a.to_dict()))["requests"] == 2
    with pytest.raises(KeyError):
        hedger.statistics(key="nobody")


def test_before_the_first_request_nothing_is_known():
    figures = Hedger("p95").statistics()
    assert (figures.requests, figures.fire_rate, figures.win_rate, figures.p50_s) == (0, None, None, None)  # fmt: skip
    assert (figures.cost_usd, figures.uptime_s, figures.requests_per_s) == (None, None, None)


@pytest.mark.anyio
async def test_percentiles_are_of_the_last_requests(stage):
    hedger = Hedger("off", stats_window=99)
    for ms in [9_000] * 50 + list(range(1, 100)):
        await hedger(stage.call((ms / 1000, "x")))
    figures = hedger.statistics()
    # 1..99 ms: k = ceil(p * 100).
    assert figures.p50_s == pytest.approx(0.050)
    assert figures.p95_s == pytest.approx(0.095)
    assert figures.p99_s == pytest.approx(0.099)
    assert figures.p999_s is None


@pytest.mark.anyio
async def test_each_key_learns_a_delay_of_its_own(stage):
    hedger = Hedger("p50", budget=free())
    for _ in range(20):
        await hedger(stage.call((0.01, "x")), key="fast")
        await hedger(stage.call((5.0, "x")), key="slow")
    assert (await hedger(stage.call((0.001, "x")), key="fast")).delay_s == pytest.approx(0.01)
    assert (await hedger(stage.call((0.001, "x")), key="slow")).delay_s == pytest.approx(5.0)
    new = await hedger(stage.call((0.001, "x")), key="new")
    assert (new.delay_s, new.blocked) == (None, "warmup")


@pytest.mark.anyio
async def test_a_policy_object_is_shared_by_all_keys(stage):
    hedger = Hedger(PercentileDelay(50), budget=free())
    for number in range(20):
        await hedger(stage.call((1.0, "x")), key=number)
    assert (await hedger(stage.call((0.5, "x")), key="new")).delay_s == pytest.approx(1.0)


@pytest.mark.anyio
async def test_the_least_recently_used_key_is_forgotten(stage):
    hedger = Hedger("p50", max_keys=2)
    for key in ("a", "b", "a", "c"):
        await hedger(stage.call((0.1, "x")), key=key)
    assert hedger.statistics(key="a").requests == 2
    with pytest.raises(KeyError):
        hedger.statistics(key="b")
    assert hedger.statistics().requests == 4


@pytest.mark.anyio
async def test_a_factory_may_give_a_key_what_it_likes(stage):
    seen = []

    def factory(key):
        seen.append(key)
        return FixedDelay(0.1) if key == "late" else NoHedge()

    hedger = Hedger(factory, budget=free())
    outcome = await hedger(stage.call((1.0, "slow"), (0.05, "quick")), key="late")
    assert outcome.value == "quick"
    assert not (await hedger(stage.call((1.0, "slow")), key="other")).hedged
    assert not (await hedger(stage.call((1.0, "slow")), key="other")).hedged
    assert seen == ["late", "other"]


@pytest.mark.anyio
async def test_workloads_of_one_kind_share_a_policy_and_figures(stage):
    hedger = Hedger("workload_aware", budget=free())
    for chars in (4_500, 9_000, 20):
        await hedger(stage.call((0.01, "x")), key=Workload(prompt_chars=chars))
    assert hedger.statistics(key=Workload(prompt_chars=7_000)).requests == 2
    with pytest.raises(TypeError, match="`key` must be a Workload"):
        await hedger(stage.call(), key="text")


@pytest.mark.anyio
async def test_latencies_on_file_can_be_told(stage):
    hedger = Hedger("p95", budget=free())
    for ms in range(1, 100):
        hedger.observe(ms / 1000, key="k")
    outcome = await hedger(stage.call((1.0, "slow"), (0.001, "quick")), key="k")
    assert outcome.delay_s == pytest.approx(0.095)
    assert outcome.value == "quick"
    assert hedger.statistics().requests == 1  # what is on file is no request of ours
    with pytest.raises(ValueError, match="`latency_s` must be a finite number >= 0, got -1"):
        hedger.observe(-1)
    with pytest.raises(ValueError, match="`latency_s`"):
        hedger.observe(math.inf)


@pytest.mark.anyio
async def test_reset_forgets_latencies_and_counts(stage):
    hedger = Hedger("p50", budget=free())
    for key in ("a", "b"):
        for _ in range(20):
            await hedger(stage.call((0.1, "x")), key=key)
    hedger.reset("a")
    assert (await hedger(stage.call((0.1, "x")), key="a")).blocked == "warmup"
    assert (await hedger(stage.call((0.1, "x")), key="b")).blocked is None
    assert hedger.statistics().requests == 42
    hedger.reset()
    assert hedger.statistics().requests == 0
    assert (await hedger(stage.call((0.1, "x")), key="b")).blocked == "warmup"


@pytest.mark.anyio
async def test_reset_of_a_shared_policy_is_for_all_keys_or_refused(stage):
    hedger = Hedger(PercentileDelay(50), budget=free())
    for _ in range(20):
        await hedger(stage.call((0.1, "x")))
    with pytest.raises(ValueError, match="`key` must be ALL"):
        hedger.reset("a")
    hedger.reset(ALL)
    assert (await hedger(stage.call((0.1, "x")))).blocked == "warmup"

    class Stubborn:
        def delay(self):
            return 0.1

        def observe(self, latency_s, *, censored, attempt=0): ...

    with pytest.raises(TypeError, match="Stubborn has no reset"):
        Hedger(Stubborn()).reset()


@pytest.mark.anyio
async def test_the_kill_switch_works_at_once(stage):
    hedger = Hedger(0.1, budget=free())
    hedger.enabled = False
    outcome = await hedger(stage.call((1.0, "slow")))
    assert (outcome.blocked, outcome.delay_s, outcome.requests) == ("disabled", None, 1)
    hedger.enabled = True

    async def off():
        await anyio.sleep(0.05)
        hedger.enabled = False

    async with anyio.create_task_group() as group:
        group.start_soon(off)
        outcome = await hedger(stage.call((1.0, "slow")))  # under way when it is thrown
    assert (outcome.blocked, outcome.delay_s, outcome.requests) == ("disabled", 0.1, 1)
    assert hedger.statistics().blocked == {"disabled": 2}


@pytest.mark.anyio
async def test_a_disabled_hedger_measures_and_learns(stage):
    hedger = Hedger("p50", budget=free())
    hedger.enabled = False
    for _ in range(20):
        await hedger(stage.call((0.1, "x")))
    hedger.enabled = True
    assert (await hedger(stage.call((0.01, "x")))).delay_s == pytest.approx(0.1)


@pytest.mark.anyio
async def test_shares_of_a_roll_out_are_nested(stage):
    def chosen(share):
        hedger = Hedger(10.0, budget=free(), eligible=share, seed=3)
        return hedger, []

    runs = {}
    for share in (0.0, 0.05, 0.25, 1.0):
        hedger, picked = chosen(share)
        for number in range(400):
            if (await hedger(stage.call((0.0, "x")))).blocked is None:
                picked.append(number)
        runs[share] = set(picked)
    assert runs[0.0] == set()
    assert len(runs[1.0]) == 400
    assert runs[0.05] < runs[0.25] < runs[1.0]
    # Four standard errors of 400 draws: 0.044 and 0.087.
    assert len(runs[0.05]) / 400 == pytest.approx(0.05, abs=0.044)
    assert len(runs[0.25]) / 400 == pytest.approx(0.25, abs=0.087)


@pytest.mark.anyio
async def test_eligibility_may_depend_on_the_key(stage):
    hedger = Hedger(0.1, budget=free(), eligible=lambda key: key == "yes")
    assert (await hedger(stage.call((1, "slow")), key="no")).blocked == "ineligible"
    outcome = await hedger(stage.call((1, "slow"), (0.1, "quick")), key="yes")
    assert outcome.value == "quick"
    hedger.eligible = 0.0
    assert (await hedger(stage.call((1, "slow")), key="yes")).blocked == "ineligible"


@pytest.mark.anyio
async def test_what_is_not_idempotent_is_sent_once(stage):
    hedger = Hedger(0.1, budget=free())
    outcome = await hedger(stage.call((1.0, "slow")), idempotent=False)
    assert (outcome.requests, outcome.blocked) == (1, "not_idempotent")
    broken = OSError()
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the very object is checked below
        await hedger(stage.call((0.01, broken)), idempotent=False)
    assert caught.value is broken


@pytest.mark.anyio
async def test_pushback_pauses_the_key_and_no_other(stage):
    hedger = Hedger(0.1, budget=free())
    with pytest.raises(TooMany):
        await hedger(stage.call((0.05, TooMany(5.0))), key="a")
    paused = await hedger(stage.call((1.0, "slow")), key="a")
    assert (paused.requests, paused.blocked) == (1, "pushback")
    other = await hedger(stage.call((1.0, "slow"), (0.1, "quick")), key="b")
    assert other.value == "quick"
    await anyio.sleep(5)
    again = await hedger(stage.call((1.0, "slow"), (0.1, "quick")), key="a")
    assert again.value == "quick"


@pytest.mark.anyio
async def test_a_closed_gate_takes_no_token(stage):
    budget = HedgeBudget(0.05, initial=1)
    hedger = Hedger(0.1, budget=budget)
    with pytest.raises(TooMany):
        await hedger(stage.call((0.05, TooMany(5.0))))
    assert (await hedger(stage.call((1.0, "slow")))).blocked == "pushback"
    assert budget.tokens == pytest.approx(1.1)


@pytest.mark.anyio
async def test_no_backup_while_too_many_attempts_run(stage):
    hedger = Hedger("p50", budget=None, max_inflight=3)
    for _ in range(20):
        await hedger(stage.call((0.1, "x")))
    blocked = []

    async def one():
        outcome = await hedger(stage.call((1.0, "slow"), (1.0, "slow")))
        blocked.append(outcome.blocked)

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)
    # Two primaries run; one backup makes three, the other is one too many.
    assert sorted(blocked, key=str) == [None, "inflight"]
    assert (await hedger(stage.call((1.0, "slow"), (0.1, "quick")))).value == "quick"


def test_policies_that_learn_need_a_guard():
    for delay in ("p95", PercentileDelay(), "workload_aware"):
        with pytest.raises(ValueError, match="`budget` must be given with .*percentile"):
            Hedger(delay, budget=None)
        Hedger(delay, budget=None, max_inflight=10)
    with pytest.raises(ValueError, match="`budget` must be given with exponential_backoff"):
        Hedger("exponential_backoff", budget=None, max_inflight=10)
    with pytest.raises(ValueError, match='`budget` must be given with "adaptive"'):
        Hedger("adaptive", budget=None)
    for delay in ("off", "fixed", 0.5, NoHedge()):
        Hedger(delay, budget=None)


@pytest.mark.anyio
async def test_a_factory_of_policies_that_learn_is_found_out_when_it_makes_one(stage):
    from crucible_hedging import hedge

    hedger = Hedger(lambda key: PercentileDelay(), budget=None)
    with pytest.raises(ValueError, match="`budget` must be given with percentile"):
        await hedger(stage.call())
    with pytest.raises(ValueError, match="`budget` must be given with percentile"):
        await hedge(stage.call(), delay=PercentileDelay())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"delay": "fastest"}, ValueError, "`delay` must be one of"),
        ({"delay": -1}, ValueError, "`delay` must be >= 0"),
        ({"delay": True}, TypeError, "`delay` must be a number"),
        ({"delay": None}, TypeError, "`delay` must be a word, a number, a policy or a factory"),
        ({"delay": PercentileDelay}, TypeError, "not the class PercentileDelay"),
        ({"budget": 0}, ValueError, r"`budget` must be in \(0, 1\], a HedgeBudget or None, got 0"),
        ({"budget": 1.5}, ValueError, "`budget` must be in"),
        ({"max_backups": 6}, ValueError, "`max_backups` must be in"),
        ({"stagger": -1}, ValueError, "`stagger` must be"),
        ({"max_keys": 0}, ValueError, "`max_keys` must be >= 1, got 0"),
        ({"stats_window": 0}, ValueError, "`stats_window` must be >= 1, got 0"),
        ({"max_inflight": 0}, ValueError, "`max_inflight` must be >= 1 or None, got 0"),
        ({"eligible": 2}, ValueError, r"`eligible` must be in \[0, 1\] or callable, got 2"),
        ({"cancelled_cost": "half"}, ValueError, "`cancelled_cost` must be"),
        ({"explore": 1.1}, ValueError, r"`explore` must be in \[0, 1\], got 1.1"),
        ({"explore": True}, ValueError, "`explore` must be"),
        ({"shadow_rate": -0.1}, ValueError, r"`shadow_rate` must be in \[0, 1\], got -0.1"),
        ({"shadow_rate": 0.1}, ValueError, "`shadow` and `shadow_rate` must be given together"),
        ({"shadow": ShadowLog()}, ValueError, "`shadow` and `shadow_rate` must be given together"),
        ({"drain_s": -1}, ValueError, "`drain_s` must be a finite number >= 0, got -1"),
        ({"on_event": 3}, TypeError, "`on_event` must be callable, got 3"),
        ({"accept": 3}, TypeError, "`accept` must be callable, got 3"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        Hedger(**{"delay": "p95", **options})


def test_settings_that_may_change_are_checked_when_they_do():
    hedger = Hedger("p95")
    hedger.max_backups = 2
    with pytest.raises(ValueError, match="`max_backups`"):
        hedger.max_backups = 9
    with pytest.raises(ValueError, match="`eligible`"):
        hedger.eligible = -0.1
    assert (hedger.max_backups, hedger.eligible) == (2, 1.0)


def test_equal_settings_have_equal_names():
    assert Hedger("p95").name == "percentile(95), budget 0.05"
    assert Hedger("Percentile-95").name == Hedger("p95").name
    assert Hedger(0.5, budget=None).name == "fixed(0.5 s), no budget"
    assert Hedger().name == "adaptive(99, budget=0.05), budget 0.05"
    assert Hedger(lambda key: NoHedge()).name == "<lambda>, budget 0.05"
    full = Hedger(
        PercentileDelay(90, window=200), budget=HedgeBudget(0.1, burst=5), max_backups=2,
        stagger=0.5, max_inflight=8, eligible=0.25,
    )  # fmt: skip
    assert full.name == (
        "percentile(90, window=200), budget 0.1 (burst 5), 2 backups, stagger 0.5, "
        "at most 8 in flight, for 0.25 of requests"
    )
    assert repr(full) == f"<Hedger: {full.name}>"
    rare = Hedger(
        "p95", cancel=False, explore=0.2, breaker=Breaker(), shadow=ShadowLog(), shadow_rate=0.01
    )
    assert rare.name == (
        "percentile(95), budget 0.05, losers run on, explore 0.2, breaker of backups (5 failures, "
        "30 s), shadow 0.01"
    )


@pytest.mark.anyio
async def test_a_broken_policy_is_named_and_sends_nothing(stage):
    class Broken(FixedDelay):
        name = "broken"

        def delay(self):
            return math.nan

    with pytest.raises(PolicyError, match="policy broken must return seconds >= 0, got nan"):
        await Hedger(Broken())(stage.call((0.1, "x")))
    assert stage.started == []


@pytest.mark.anyio
async def test_adaptive_is_the_default_and_sends_nothing_until_it_has_learned(stage):
    hedger = Hedger(budget=0.1)
    rng = random.Random(4)
    for _ in range(100):
        outcome = await hedger(stage.call((rng.lognormvariate(0, 1), "x")))
        assert (outcome.blocked, outcome.hedged) == ("warmup", False)
    reasons, hedged = set(), 0
    for _ in range(200):
        call = stage.call((rng.lognormvariate(0, 1), "x"), (rng.lognormvariate(0, 1), "y"))
        outcome = await hedger(call)
        reasons.add(outcome.blocked)
        hedged += outcome.hedged
    assert 0 < hedged <= 30
    assert reasons <= {None, "budget", "not_sampled"}


@pytest.mark.anyio
async def test_own_backups_are_told_to_a_policy_that_wants_to_know(stage):
    policy = AdaptiveDelay(budget=0.1)
    hedger = Hedger(policy)
    call = stage.call((0.1, "x"), (0.1, "x"))
    await hedger.race([call])
    await hedger.race([call, call])
    assert not policy.backups_differ
    await hedger.race([stage.call((0.1, "x")), stage.call((0.1, "x"))])
    assert policy.backups_differ


@pytest.mark.anyio
async def test_backoff_settles_through_the_hedger(stage):
    policy = BackoffDelay()
    hedger = Hedger(policy, budget=free())
    await hedger(stage.call((0.01, "x")))
    assert policy.delay() == pytest.approx(0.09)
    await hedger(stage.call((0.1, "x"), (1, "y")))
    assert policy.delay() == pytest.approx(0.135)
    with pytest.raises(ExceptionGroup):
        await hedger(stage.call((0.1, OSError()), (0.1, OSError())))
    assert policy.delay() == pytest.approx(0.27)


EXPERIMENT = ContextVar("experiment", default=None)


@pytest.mark.parametrize("entered", [False, True])
@pytest.mark.parametrize("explore", [0.0, 1.0])
@pytest.mark.anyio
async def test_context_variables_are_the_callers_inside_the_backup(entered, explore):
    # Acceptance 18: two experiments never mix.
    hedger = Hedger(0.1, budget=free(), max_backups=2, explore=explore)
    seen = []

    async def attempt(name, seconds, error=None):
        seen.append((name, EXPERIMENT.get()))
        EXPERIMENT.set(f"spoiled by {name}")
        await anyio.sleep(seconds)
        if error:
            raise error

    async def one(name):
        EXPERIMENT.set(name)
        await hedger.race(
            [
                lambda: attempt(name, 1),
                lambda: attempt(name, 0.05, OSError()),
                lambda: attempt(name, 0.01),
            ],
            key=name,
        )

    async with AsyncExitStack() as stack:
        if entered:
            EXPERIMENT.set("of the one who entered")
            await stack.enter_async_context(hedger)
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(one, number)
    assert len(seen) == 60
    assert all(name == experiment for name, experiment in seen)


@pytest.mark.parametrize("entered", [False, True])
@pytest.mark.anyio
async def test_a_failed_primary_does_not_spoil_the_backups_context(entered):
    hedger = Hedger(10, budget=free())
    EXPERIMENT.set("mine")
    seen = []

    async def primary():
        EXPERIMENT.set("spoiled")
        await anyio.sleep(0.01)
        raise OSError

    async def backup():
        seen.append(EXPERIMENT.get())

    async with AsyncExitStack() as stack:
        if entered:
            await stack.enter_async_context(hedger)
        await hedger.race([primary, backup])
    assert seen == ["mine"]
