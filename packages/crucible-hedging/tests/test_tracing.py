import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from crucible_hedging import FixedDelay, HedgeBudget, Hedger, PercentileDelay, ShadowLog, tracing

pytestmark = pytest.mark.anyio


@pytest.fixture
def provider(monkeypatch):
    """A provider of our own in place of the process's, which can only be set once."""
    made = TracerProvider()
    made.exporter = InMemorySpanExporter()
    made.add_span_processor(SimpleSpanProcessor(made.exporter))
    monkeypatch.setattr(tracing, "_TRACER", made.get_tracer("crucible_hedging"))
    return made


def named(provider, name):
    return [s for s in provider.exporter.get_finished_spans() if s.name == name]


async def test_a_request_without_a_backup_is_one_span(hedge, provider, stage):
    await hedge(stage.call((0.05, "secret value")), delay=0.1)
    (span,) = provider.exporter.get_finished_spans()
    assert span.name == "crucible.hedging.request"
    assert dict(span.attributes) == {
        "crucible.hedging.policy": "fixed(0.1 s)",
        "crucible.hedging.delay_s": 0.1,
        "crucible.hedging.hedged": False,
        "crucible.hedging.backups": 0,
        "crucible.hedging.extra_requests": 0,
        "crucible.hedging.winner": 0,
        "crucible.hedging.won": False,
        "crucible.hedging.shadow": False,
        "crucible.hedging.wasted_s": 0.0,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.end_time - span.start_time == pytest.approx(0.05e9, abs=2)


async def test_attempts_are_siblings_under_the_request(provider, stage):
    tracer = provider.get_tracer("test")
    hedger = Hedger(0.1, budget=HedgeBudget(1.0), cost=lambda value: 0.01)
    with tracer.start_as_current_span("caller") as caller:
        await hedger(stage.call((1.0, "slow"), (0.05, "quick")), key="k")
    (request,) = named(provider, "crucible.hedging.request")
    attempts = named(provider, "crucible.hedging.attempt")
    assert request.parent.span_id == caller.get_span_context().span_id
    assert [a.parent.span_id for a in attempts] == [request.context.span_id] * 2
    assert request.attributes["crucible.hedging.key"] == "k"
    assert request.attributes["crucible.hedging.won"] is True
    assert request.attributes["crucible.hedging.winner"] == 1
    assert request.attributes["crucible.cost_usd"] == 0.02
    assert request.attributes["crucible.hedging.wasted_s"] == pytest.approx(0.15)
    assert dict(attempts[0].attributes) == {
        "crucible.hedging.attempt.index": 0,
        "crucible.hedging.attempt.name": "primary",
        "crucible.hedging.attempt.status": "cancelled",
        "crucible.hedging.attempt.cost_source": "assumed_full",
        "crucible.cost_usd": 0.01,
        "crucible.outcome": "cancelled",
    }
    assert attempts[0].status.status_code is StatusCode.UNSET  # a beaten copy is no error
    assert attempts[1].attributes["crucible.outcome"] == "ok"
    assert attempts[1].start_time - request.start_time == pytest.approx(0.1e9, abs=2)


async def test_the_callers_span_is_current_inside_every_attempt(hedge, provider):
    # Acceptance 18.
    seen = []

    async def call(seconds):
        seen.append(trace.get_current_span().get_span_context().span_id)
        await anyio.sleep(seconds)

    async def one():
        with provider.get_tracer("test").start_as_current_span("caller") as caller:
            mine = caller.get_span_context().span_id
            await hedge(lambda: call(1), backups=[lambda: call(0.1)], delay=0.1)
            assert trace.get_current_span().get_span_context().span_id == mine
            return mine

    mine = await one()
    assert seen == [mine, mine]


async def test_failures_are_errors_and_say_no_word_of_the_message(hedge, provider, stage):
    with pytest.raises(ExceptionGroup):
        await hedge(
            stage.call((0.2, OSError("my prompt")), (0.2, TimeoutError("my prompt"))), delay=0.1
        )
    (request,) = named(provider, "crucible.hedging.request")
    attempts = named(provider, "crucible.hedging.attempt")
    assert request.status.status_code is StatusCode.ERROR
    assert request.status.description == "AllAttemptsFailedError"
    assert "crucible.hedging.winner" not in request.attributes
    assert [a.attributes["crucible.outcome"] for a in attempts] == ["error", "timeout"]
    assert [a.status.description for a in attempts] == ["OSError", "TimeoutError"]
    for span in provider.exporter.get_finished_spans():
        assert "prompt" not in span.to_json()
        assert not span.events


async def test_a_blocked_backup_and_a_cancelled_caller_leave_a_span(hedge, provider, stage):
    policy = PercentileDelay(95)
    await hedge(stage.call((0.1, "x")), delay=policy, budget=HedgeBudget())
    with anyio.move_on_after(0.15):
        await hedge(stage.call((1, "x"), (1, "y")), delay=FixedDelay(0.1))
    warm, cancelled = named(provider, "crucible.hedging.request")
    assert warm.attributes["crucible.hedging.blocked"] == "warmup"
    assert warm.attributes["crucible.hedging.percentile"] == 95.0
    assert "crucible.hedging.delay_s" not in warm.attributes
    assert cancelled.status.status_code is StatusCode.UNSET
    assert cancelled.attributes["crucible.hedging.backups"] == 1
    statuses = [s.attributes["crucible.outcome"] for s in named(provider, "crucible.hedging.attempt")]  # fmt: skip
    assert statuses == ["cancelled", "cancelled"]


async def test_a_loser_that_runs_on_is_written_when_it_stops(provider, stage):
    async with Hedger(0.1, budget=HedgeBudget(1.0), explore=1.0) as hedger:
        await hedger(stage.call((1.0, "slow"), (0.05, "quick")))
        (request,) = named(provider, "crucible.hedging.request")
        assert request.end_time - request.start_time == pytest.approx(0.15e9, abs=2)
        assert len(named(provider, "crucible.hedging.attempt")) == 1
    winner, loser = named(provider, "crucible.hedging.attempt")
    assert "crucible.hedging.explored" not in winner.attributes
    assert loser.attributes["crucible.hedging.explored"] is True
    assert loser.attributes["crucible.outcome"] == "ok"
    assert loser.parent.span_id == request.context.span_id
    assert loser.end_time - request.start_time == pytest.approx(1.0e9, abs=2)


async def test_a_shadowed_request_says_so(provider, stage):
    async with Hedger("off", shadow=ShadowLog(), shadow_rate=1.0) as hedger:
        await hedger(stage.call((0.2, "a")), backups=[stage.call((0.1, "b"))])
    (request,) = named(provider, "crucible.hedging.request")
    assert request.attributes["crucible.hedging.shadow"] is True


async def test_without_an_sdk_nothing_is_recorded_and_nothing_fails(hedge, stage):
    assert (await hedge(stage.call((1.0, "slow"), (0.05, "quick")), delay=0.1)).value == "quick"
