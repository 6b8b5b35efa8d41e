import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_telemetry import MemoryStore, start_experiment
from crucible_telemetry.clock import stepped
from crucible_telemetry.outcome import failure_outcome

pytestmark = pytest.mark.anyio


def by_name(experiment):
    return {event.name: event for event in experiment.events()}


async def test_a_cancelled_call_is_cancelled_and_its_cleanup_is_not(tracer):
    cancelled = anyio.get_cancelled_exc_class()
    with start_experiment(name="cancel", store=MemoryStore()) as experiment:
        with anyio.move_on_after(0) as scope:
            try:
                with tracer.start_as_current_span("call"):
                    await anyio.sleep(10)
            except cancelled:
                with tracer.start_as_current_span("cleanup"):
                    pass
                raise
        with tracer.start_as_current_span("later"):
            pass
        events = by_name(experiment)
    assert scope.cancelled_caught
    assert events["call"].outcome == "cancelled"
    assert events["call"].error_type.rpartition(".")[2] in ("Cancelled", "CancelledError")
    assert events["cleanup"].outcome == "ok"
    assert events["later"].outcome == "ok"


async def test_a_cleanup_that_is_cancelled_itself_is_cancelled(tracer):
    cancelled = anyio.get_cancelled_exc_class()
    with start_experiment(name="cancel", store=MemoryStore()) as experiment:
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep(10)
            except cancelled:
                with (
                    anyio.CancelScope(shield=True) as inner,
                    tracer.start_as_current_span("cleanup"),
                ):
                    inner.cancel()
                    await anyio.sleep(10)
                raise
        assert by_name(experiment)["cleanup"].outcome == "cancelled"


async def test_timeouts_are_told_from_errors(tracer):
    class ReadTimeout(Exception): ...

    with start_experiment(name="timeouts", store=MemoryStore()) as experiment:
        for error in (TimeoutError("late"), ReadTimeout(), ValueError("wrong")):
            with (
                pytest.raises(type(error)),
                tracer.start_as_current_span(type(error).__name__),
            ):
                raise error
        with (
            pytest.raises(TimeoutError),
            tracer.start_as_current_span("fail_after"),
        ):
            with anyio.fail_after(0):
                await anyio.sleep(10)
        with tracer.start_as_current_span("plain"):
            pass
        events = by_name(experiment)
    assert events["TimeoutError"].outcome == "timeout"
    assert events["ReadTimeout"].outcome == "timeout"
    assert events["ReadTimeout"].error_type.endswith("<locals>.ReadTimeout")
    assert events["ValueError"].outcome == "error"
    assert events["ValueError"].error_type == "ValueError"
    assert events["fail_after"].outcome == "timeout"
    assert events["plain"].outcome == "ok"
    assert events["plain"].error_type is None


async def test_timed_blocks_and_functions_record_how_they_ended():
    with start_experiment(name="timed", store=MemoryStore(), capture_spans=False) as experiment:

        @experiment.timed("sync", kind="function")
        def double(x):
            return 2 * x

        @experiment.timed("async")
        async def wait(x):
            await anyio.lowlevel.checkpoint()
            return x

        assert double(2) == 4
        assert await wait(3) == 3
        with experiment.timed("block"):
            pass
        async with experiment.timed("async block"):
            pass
        with pytest.raises(KeyError), experiment.timed("failed"):
            raise KeyError("x")
        with pytest.raises(TimeoutError), experiment.timed("late"):
            raise TimeoutError
        with anyio.move_on_after(0):
            async with experiment.timed("cancelled"):
                await anyio.sleep(10)
        events = by_name(experiment)
    outcomes = {name: event.outcome for name, event in events.items()}
    assert outcomes == {
        "sync": "ok",
        "async": "ok",
        "block": "ok",
        "async block": "ok",
        "failed": "error",
        "late": "timeout",
        "cancelled": "cancelled",
    }
    assert events["failed"].error_type == "KeyError"
    assert events["sync"].attributes == {"kind": "function"}
    assert all(event.duration_s >= 0 for event in events.values())


async def test_a_stated_outcome_wins_and_a_recorded_one_stays_unknown(tracer):
    with start_experiment(name="stated", store=MemoryStore()) as experiment:
        with tracer.start_as_current_span("hedge", attributes={"crucible.outcome": "cancelled"}):
            pass
        with tracer.start_as_current_span("odd", attributes={"crucible.outcome": "splendid"}):
            pass
        experiment.record("unsaid")
        events = by_name(experiment)
    assert events["hedge"].outcome == "cancelled"
    assert events["hedge"].attributes == {}
    assert events["odd"].outcome == "ok"
    assert events["odd"].attributes == {"crucible.outcome": "splendid"}
    assert events["unsaid"].outcome == "unknown"


async def test_the_error_type_attribute_wins_over_the_exception(tracer):
    with start_experiment(name="http", store=MemoryStore()) as experiment:
        with (
            pytest.raises(RuntimeError),
            tracer.start_as_current_span("http", attributes={"error.type": "504"}),
        ):
            raise RuntimeError
        event = by_name(experiment)["http"]
    assert (event.outcome, event.error_type) == ("timeout", "504")


@pytest.mark.parametrize(
    ("error_type", "outcome"),
    [
        ("httpx.ConnectTimeout", "timeout"),
        ("openai.APITimeoutError", "timeout"),
        ("requests.exceptions.TimeoutException", "timeout"),
        ("DEADLINE_EXCEEDED", "timeout"),
        ("408", "timeout"),
        ("asyncio.exceptions.CancelledError", "cancelled"),
        ("trio.Cancelled", "cancelled"),
        ("TimeoutWarning", "error"),
        ("500", "error"),
        (None, "error"),
    ],
)
async def test_the_last_part_of_the_error_type_decides(error_type, outcome):
    assert failure_outcome(error_type) == outcome


class FrozenClock:
    """Time passes when told, and the date can be set."""

    def __init__(self):
        self.now_ns = 10**18
        self.step_ns = 0

    def wall_ns(self):
        return self.now_ns + self.step_ns

    def monotonic_ns(self):
        return self.now_ns - 10**17


async def test_a_clock_that_steps_back_does_not_change_durations(tracer, monkeypatch):
    clock = FrozenClock()
    monkeypatch.setattr("opentelemetry.sdk.trace.time_ns", clock.wall_ns)
    with start_experiment(name="clock", store=MemoryStore(), clock=clock) as experiment:
        with tracer.start_as_current_span("stepped"):
            clock.now_ns += 250_000_000
            clock.step_ns = -3_600 * 10**9
        with tracer.start_as_current_span("steady"):
            clock.now_ns += 125_000_000
        events = by_name(experiment)
    assert events["stepped"].duration_s == 0.25
    assert events["stepped"].attributes == {"crucible.clock_stepped": True}
    assert events["steady"].duration_s == 0.125
    assert events["steady"].attributes == {}


async def test_a_backdated_span_keeps_its_own_times(tracer):
    clock = FrozenClock()
    with start_experiment(name="back", store=MemoryStore(), clock=clock) as experiment:
        tracer.start_span("back", start_time=5_000_000_000).end(end_time=7_500_000_000)
        tracer.start_span("absurd", start_time=7_000_000_000).end(end_time=5_000_000_000)
        events = by_name(experiment)
    assert (events["back"].start_ns, events["back"].duration_s) == (5_000_000_000, 2.5)
    assert events["absurd"].duration_s is None


async def test_a_slow_neighbouring_processor_adds_nothing(tracer):
    # A neighbour's delay lies between the span's own end and our `on_end`: both clocks advance
    # alike, so the span's own times count.
    clock = FrozenClock()
    with start_experiment(name="slow", store=MemoryStore(), clock=clock) as experiment:
        span = tracer.start_span("slow", start_time=1_000_000_000)
        clock.now_ns += 530_000_000
        span.end(end_time=1_500_000_000)
        assert by_name(experiment)["slow"].duration_s == 0.5


async def test_record_starts_its_duration_ago():
    clock = FrozenClock()
    with start_experiment(
        name="r", store=MemoryStore(), clock=clock, capture_spans=False
    ) as experiment:
        experiment.record("ago", duration_s=2.0)
        experiment.record("given", duration_s=2.0, start_ns=5)
        events = by_name(experiment)
    assert events["ago"].start_ns == 10**18 - 2 * 10**9
    assert events["ago"].start_mono_ns == 10**18 - 10**17 - 2 * 10**9
    assert events["given"].start_ns == 5


@given(st.integers(0, 10**15), st.integers(-(10**15), 10**15))
async def test_clocks_that_differ_by_a_thousandth_or_a_millisecond_agree(elapsed, drift):
    tolerance = 10**6 + elapsed // 1000
    assert stepped(elapsed + drift, elapsed) == (abs(drift) > tolerance)
