"""Acceptance 16 of the specification, with an entered hedger and without."""

import contextlib
from contextvars import ContextVar

import anyio
import pytest

from crucible_hedging import HedgeBudget, Hedger, ShadowLog
from crucible_hedging.attempt import report_cost
from crucible_hedging.errors import AllAttemptsFailedError, HedgerClosedError

pytestmark = pytest.mark.anyio


def free():
    return HedgeBudget(1.0, burst=100_000, initial=100_000)


@pytest.fixture(params=["entered", "not entered"])
def using(request):
    @contextlib.asynccontextmanager
    async def use(*args, **options):
        hedger = Hedger(*args, **{"budget": free(), **options})
        if request.param == "entered":
            async with hedger:
                yield hedger
        else:
            yield hedger

    return use


class Script:
    """Streams whose n-th use waits, yields items and may fail; remembers which were closed."""

    def __init__(self, *copies):
        self.copies, self.used, self.closed = copies, 0, []

    async def __call__(self):
        number, self.used = self.used, self.used + 1
        first_s, items, error = self.copies[number]
        try:
            await anyio.sleep(first_s)
            for i in range(items):
                yield f"{number}.{i}"
                await anyio.sleep(0.01)
            if error:
                raise error
        finally:
            self.closed.append((number, round(anyio.current_time(), 9)))


async def test_the_copy_with_the_first_item_is_passed_through(using):
    # Acceptance 16: first items at 1.0 and 0.05 s, delay 0.1.
    script = Script((1.0, 3, None), (0.05, 3, None))
    async with using(0.1) as hedger, hedger.stream(script) as stream:
        assert anyio.current_time() == pytest.approx(0.15)
        assert script.closed == [(0, 0.15)]  # the primary's `finally` has run
        assert (stream.outcome.value, stream.outcome.winner) == ("1.0", 1)
        assert stream.outcome.latency_s == pytest.approx(0.15)
        assert [item async for item in stream] == ["1.0", "1.1", "1.2"]
        assert script.closed[1][0] == 1
    assert hedger.statistics().wins == 1


async def test_a_quick_stream_is_sent_once(using):
    script = Script((0.05, 2, None))
    async with using(0.1) as hedger, hedger.stream(script) as stream:
        assert [item async for item in stream] == ["0.0", "0.1"]
    assert (script.used, stream.outcome.requests) == (1, 1)


async def test_an_empty_stream_is_a_success_without_items(using):
    script = Script((0.05, 0, None))
    async with using(0.1) as hedger, hedger.stream(script) as stream:
        assert [item async for item in stream] == []
    assert (stream.outcome.value, stream.outcome.winner) == (None, 0)


async def test_leaving_early_closes_everything(using):
    script = Script((0.05, 100, None))
    async with using(0.1) as hedger:
        async with hedger.stream(script) as stream:
            async for item in stream:
                if item == "0.2":
                    break
        assert script.closed == [(0, pytest.approx(0.07))]
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_when_both_fail_entering_raises(using):
    script = Script((0.2, 0, OSError("a")), (0.2, 0, OSError("b")))
    async with using(0.1) as hedger:
        with pytest.raises(AllAttemptsFailedError) as caught:
            async with hedger.stream(script):
                pytest.fail("there is nothing to read")
    assert [str(e) for e in caught.value.exceptions] == ["a", "b"]
    assert len(script.closed) == 2


async def test_a_backup_that_fails_leaves_the_primary_alone(using):
    script = Script((0.2, 1, None), (0.01, 0, OSError()))
    async with using(0.1) as hedger, hedger.stream(script) as stream:
        assert [item async for item in stream] == ["0.0"]


async def test_a_failure_after_the_first_item_is_raised_where_items_are_read(using):
    script = Script((0.05, 2, ConnectionError("cut")))
    seen = []

    async def read():
        async with using(0.1) as hedger, hedger.stream(script) as stream:
            async for item in stream:
                seen.append(item)

    with pytest.raises(ConnectionError, match="cut"):
        await read()
    assert seen == ["0.0", "0.1"]


async def test_an_error_of_the_reader_comes_out_as_it_is(using):
    script = Script((0.05, 9, None))
    mine = LookupError()

    async def read():
        async with using(0.1) as hedger, hedger.stream(script) as stream:
            async for _ in stream:
                raise mine

    with pytest.raises(LookupError) as caught:
        await read()
    assert caught.value is mine
    assert len(script.closed) == 1


@pytest.mark.parametrize("at", [0.05, 0.12, 0.155, 0.2])
async def test_cancelling_the_reader_closes_every_copy(using, at):
    script = Script((1.0, 3, None), (0.05, 100, None))
    with anyio.move_on_after(at) as scope:
        async with using(0.1) as hedger, hedger.stream(script) as stream:
            async for _ in stream:
                pass
    assert scope.cancelled_caught
    assert len(script.closed) == script.used
    assert anyio.current_time() == pytest.approx(at)


async def test_generators_keep_their_scopes_open_across_items(using):
    async def scoped():
        with anyio.move_on_after(100):
            async with anyio.create_task_group():
                for i in range(3):
                    yield i

    async with using(0.1) as hedger, hedger.stream(scoped) as stream:
        assert [item async for item in stream] == [0, 1, 2]


async def test_backups_have_streams_of_their_own_in_the_callers_context(using):
    name = ContextVar("name", default=None)
    name.set("mine")
    seen = []

    async def slow():
        seen.append(name.get())
        await anyio.sleep(5)
        yield "slow"

    async def quick():
        seen.append(name.get())
        yield "quick"

    async with using(0.1) as hedger, hedger.stream(slow, backups=[quick]) as stream:
        assert [item async for item in stream] == ["quick"]
    assert seen == ["mine", "mine"]


async def test_a_loser_reports_its_price_when_it_is_closed(using):
    async def priced():
        try:
            await anyio.sleep(1.0)
            yield "never"
        finally:
            report_cost(0.004)

    async def quick():
        report_cost(0.01)
        yield "quick"

    async with using(0.1) as hedger, hedger.stream(priced, backups=[quick]) as stream:
        assert stream.outcome.cost_usd == pytest.approx(0.014)


async def test_what_is_no_stream_is_named(using):
    async def coroutine():
        return 1

    async with using(0.1) as hedger:
        with pytest.raises(TypeError, match="must return an async iterable, got coroutine"):
            async with hedger.stream(coroutine):
                pytest.fail("it cannot be read")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_options_that_a_stream_cannot_honour_are_refused(anyio_backend):
    async def call():
        yield 1

    for options, name in [
        ({"accept": bool}, "accept"),
        ({"cost": float}, "cost"),
        ({"cancel": False}, "cancel=False"),
        ({"shadow": ShadowLog(), "shadow_rate": 0.1}, "shadow_rate"),
    ]:
        with pytest.raises(ValueError, match=f"`{name}` must not be given to a hedger that races"):
            Hedger(0.1, **options).stream(call)
    with pytest.raises(ValueError, match="`backups` must be at most"):
        Hedger(0.1).stream(call, backups=[call, call])
    hedger = Hedger(0.1)
    async with hedger:
        pass
    with pytest.raises(HedgerClosedError):
        hedger.stream(call)
