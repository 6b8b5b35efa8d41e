import pickle

import anyio
import pytest

from crucible_hedging import Breaker, HedgeBudget, Hedger
from crucible_hedging.errors import CircuitOpenError

pytestmark = pytest.mark.anyio


def free():
    return HedgeBudget(1.0, burst=100_000, initial=100_000)


async def fail(hedger, stage, key=None):
    with pytest.raises((OSError, ExceptionGroup)):
        await hedger(stage.call((0.01, OSError()), (0.01, OSError())), key=key)


@pytest.fixture(params=["entered", "not entered"])
async def hedger_of(request):
    async with anyio.create_task_group() as group:
        stop = anyio.Event()

        async def keep(hedger, ready):
            async with hedger:
                ready.set()
                await stop.wait()

        async def make(**options):
            hedger = Hedger(0.1, budget=free(), explore=0.0, **options)
            if request.param == "entered":
                ready = anyio.Event()
                group.start_soon(keep, hedger, ready)
                await ready.wait()
            return hedger

        yield make
        stop.set()


async def test_failures_in_a_row_stop_a_keys_backups(stage, hedger_of):
    hedger = await hedger_of(breaker=Breaker(failures=4, reset_s=30.0))
    await fail(hedger, stage, "a")
    outcome = await hedger(stage.call((1.0, "slow"), (0.1, "quick")), key="a")
    assert outcome.value == "quick"  # a success begins the count anew
    await fail(hedger, stage, "a")
    await fail(hedger, stage, "a")
    outcome = await hedger(stage.call((1.0, "slow")), key="a")
    assert (outcome.value, outcome.blocked, outcome.requests) == ("slow", "breaker", 1)
    other = await hedger(stage.call((1.0, "slow"), (0.1, "quick")), key="b")
    assert other.value == "quick"
    assert hedger.statistics().blocked == {"breaker": 1}


async def test_after_a_rest_one_backup_is_the_probe(stage, hedger_of):
    hedger = await hedger_of(breaker=Breaker(failures=2, reset_s=30.0))
    await fail(hedger, stage)
    await anyio.sleep(30)
    blocked = []

    async def one():
        outcome = await hedger(stage.call((5.0, "slow"), (1.0, OSError())))
        blocked.append((outcome.blocked, outcome.requests))

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)
        await anyio.sleep(2)
        # The probe has failed; the circuit is open for as long again.
        outcome = await hedger(stage.call((1.0, "slow")))
        assert outcome.blocked == "breaker"
    assert sorted(blocked, key=str) == [("breaker", 1), (None, 2)]
    await anyio.sleep(30)
    outcome = await hedger(stage.call((1.0, "slow"), (0.1, "quick")))
    assert outcome.value == "quick"
    outcome = await hedger(stage.call((1.0, "slow"), (0.1, "quick")))
    assert outcome.value == "quick"


async def test_a_beaten_probe_leaves_the_place_to_the_next(stage, hedger_of):
    hedger = await hedger_of(breaker=Breaker(failures=2, reset_s=30.0))
    await fail(hedger, stage)
    await anyio.sleep(29)
    with anyio.move_on_after(1.5):  # rested at 1.02 of it; the probe starts, and is cut
        await anyio.sleep(1.1)
        await hedger(stage.call((9.0, "slow"), (9.0, "slow")))
    outcome = await hedger(stage.call((1.0, "slow"), (0.1, "quick")))
    assert outcome.value == "quick"


async def test_a_breaker_of_calls_raises(stage, hedger_of):
    hedger = await hedger_of(breaker=Breaker(failures=2, reset_s=30.0, scope="calls"))
    await fail(hedger, stage, "a")
    opened = anyio.current_time()
    await anyio.sleep(10)
    with pytest.raises(CircuitOpenError) as caught:
        await hedger(stage.call(), key="a")
    assert caught.value.key == "a"
    assert caught.value.retry_in_s == pytest.approx(20.0)
    assert (await hedger(stage.call((0.0, "x")), key="b")).value == "x"
    assert hedger.statistics(key="a").requests == 1
    await anyio.sleep(opened + 30 - anyio.current_time())
    assert (await hedger(stage.call((0.0, "back")), key="a")).value == "back"
    assert (await hedger(stage.call((0.0, "back")), key="a")).value == "back"


async def test_while_the_probe_runs_other_calls_are_kept_back(stage, hedger_of):
    hedger = await hedger_of(breaker=Breaker(failures=2, reset_s=1.0, scope="calls"))
    await fail(hedger, stage)
    await anyio.sleep(1)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: hedger(stage.call((0.05, "probe"))))
        await anyio.sleep(0.01)
        with pytest.raises(CircuitOpenError):
            await hedger(stage.call())
    assert (await hedger(stage.call((0.0, "open for all")))).requests == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_bad_settings_are_named(anyio_backend):
    with pytest.raises(ValueError, match="`failures` must be >= 1, got 0"):
        Breaker(failures=0)
    with pytest.raises(TypeError, match="`failures` must be an integer"):
        Breaker(failures=1.5)
    with pytest.raises(ValueError, match="`reset_s` must be a finite number > 0, got 0"):
        Breaker(reset_s=0)
    with pytest.raises(ValueError, match='`scope` must be "backups" or "calls"'):
        Breaker(scope="all")
    with pytest.raises(TypeError, match="`breaker` must be a Breaker or None, got 5"):
        Hedger("p95", breaker=5)
    again = pickle.loads(pickle.dumps(CircuitOpenError("k", 2.5)))
    assert (again.key, again.retry_in_s, str(again)) == ("k", 2.5, str(CircuitOpenError("k", 2.5)))
