"""Acceptance 17 of the specification."""

import json

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from crucible_hedging import Tier, hedge_tiers, report_cost, tracing
from crucible_hedging.errors import AllAttemptsFailedError

pytestmark = pytest.mark.anyio

GRADES = {"poor": 0.2, "fair": 0.5, "good": 0.9, "unknown": None}


def tier(stage, name, seconds, result, *, delay_s=0.0, least=None, usd=None):
    call = stage.call((seconds, result))
    return Tier(name=name, call=call, delay_s=delay_s, min_quality=least, cost_usd=usd)


async def test_a_slow_tier_and_a_poor_one_give_way_to_a_good_one(stage):
    outcome = await hedge_tiers(
        [
            tier(stage, "slow", 9.0, "good", delay_s=0.1, usd=0.01),
            tier(stage, "poor", 0.2, "poor", delay_s=5.0, least=0.5, usd=0.02),
            tier(stage, "best", 0.3, "good", least=0.5, usd=0.1),
        ],
        quality=GRADES.get,
    )
    # 0.1 until the first is late, 0.2 until the second is found poor, 0.3 of the third.
    assert outcome.latency_s == pytest.approx(0.6)
    assert (outcome.value, outcome.tier, outcome.quality) == ("good", "best", 0.9)
    assert (outcome.accepted, outcome.ended) == (True, "accepted")
    assert outcome.started == ("slow", "poor", "best")
    assert [a.status for a in outcome.attempts] == ["cancelled", "rejected", "won"]
    assert outcome.cost_usd == pytest.approx(0.13)  # losers included
    assert [a.cost_source for a in outcome.attempts] == ["assumed_full", "value", "value"]
    assert json.loads(json.dumps(outcome.to_dict()))["tier"] == "best"


async def test_a_late_first_tier_may_still_win(stage):
    outcome = await hedge_tiers(
        [
            tier(stage, "first", 0.5, "good", delay_s=0.1, least=0.5, usd=0.01),
            tier(stage, "second", 2.0, "good"),
        ],
        quality=GRADES.get,
    )
    assert (outcome.tier, outcome.latency_s) == ("first", pytest.approx(0.5))
    assert [a.status for a in outcome.attempts] == ["won", "cancelled"]
    assert outcome.cost_usd is None  # nobody knows the price of the second


async def test_the_first_tier_alone_is_enough_when_it_is_quick_and_good(stage):
    outcome = await hedge_tiers(
        [tier(stage, "a", 0.05, "good", delay_s=0.1), tier(stage, "b", 1, "good")]
    )
    assert (outcome.started, outcome.accepted, outcome.quality) == (("a",), True, None)


async def test_a_tier_that_fails_starts_the_next_at_once(stage):
    outcome = await hedge_tiers(
        [tier(stage, "a", 0.05, OSError(), delay_s=10), tier(stage, "b", 0.1, "good")]
    )
    assert (outcome.tier, outcome.latency_s) == ("b", pytest.approx(0.15))


async def test_the_deadline_takes_the_best_seen(stage):
    outcome = await hedge_tiers(
        [
            tier(stage, "poor", 0.1, "poor", delay_s=1, least=0.8),
            tier(stage, "fair", 0.1, "fair", delay_s=1, least=0.8),
            tier(stage, "stuck", 99, "good", least=0.8),
        ],
        quality=GRADES.get,
        deadline_s=1.0,
    )
    assert (outcome.value, outcome.tier, outcome.accepted) == ("fair", "fair", False)
    assert (outcome.ended, outcome.latency_s) == ("deadline", pytest.approx(1.0))
    assert [a.status for a in outcome.attempts] == ["rejected", "won", "cancelled"]


async def test_when_all_are_poor_the_best_is_returned_and_said_to_be_poor(stage):
    outcome = await hedge_tiers(
        [
            tier(stage, "a", 0.1, "fair", delay_s=1, least=0.8),
            tier(stage, "b", 0.1, "fair", delay_s=1, least=0.8),
            tier(stage, "c", 0.1, "unknown", least=0.8),
        ],
        quality=GRADES.get,
    )
    # Ties go to the earlier tier; an answer without a measure is behind every one with.
    assert (outcome.tier, outcome.accepted, outcome.ended) == ("a", False, "exhausted")


async def test_an_answer_without_a_measure_is_accepted_only_without_a_floor(stage):
    outcome = await hedge_tiers(
        [
            tier(stage, "a", 0.1, "unknown", delay_s=1, least=0.1),
            tier(stage, "b", 0.1, "unknown"),
        ],
        quality=GRADES.get,
    )
    assert (outcome.tier, outcome.accepted, outcome.quality) == ("b", True, None)


async def test_the_best_quality_waits_for_those_that_run_and_starts_no_more(stage):
    outcome = await hedge_tiers(
        [
            tier(stage, "a", 0.5, "good", delay_s=0.1),
            tier(stage, "b", 0.1, "fair", delay_s=0.01),
            tier(stage, "c", 9.0, "good"),
        ],
        quality=GRADES.get,
        prefer="best_quality",
        deadline_s=1.0,
    )
    # c starts 0.01 after b, before b's answer; the deadline cuts it.
    assert (outcome.tier, outcome.quality) == ("a", 0.9)
    assert outcome.latency_s == pytest.approx(1.0)
    outcome = await hedge_tiers(
        [
            tier(stage, "a", 0.5, "good", delay_s=0.1),
            tier(stage, "b", 0.1, "fair", delay_s=5),
            tier(stage, "c", 9.0, "good"),
        ],
        quality=GRADES.get,
        prefer="best_quality",
    )
    assert (outcome.tier, outcome.started) == ("a", ("a", "b"))
    assert outcome.latency_s == pytest.approx(0.5)


async def test_nothing_at_all_is_an_error(stage):
    with pytest.raises(AllAttemptsFailedError) as caught:
        await hedge_tiers(
            [tier(stage, "a", 0.1, OSError("1"), delay_s=1), tier(stage, "b", 0.1, OSError("2"))]
        )
    assert [str(e) for e in caught.value.exceptions] == ["1", "2"]
    with pytest.raises(TimeoutError, match="1 of 2 that were started had failed"):
        await hedge_tiers(
            [tier(stage, "a", 0.1, OSError(), delay_s=1), tier(stage, "b", 9, "late")],
            deadline_s=1.0,
        )


async def test_a_fatal_failure_gives_up_the_tiers_of_the_same_call(stage):
    call = stage.call((0.1, TypeError("bug")), (0.1, "never"))
    tiers = [
        Tier(name="a", call=call, delay_s=1),
        Tier(name="a again", call=call, delay_s=1),
        tier(stage, "b", 0.1, "good"),
    ]
    outcome = await hedge_tiers(tiers)
    assert outcome.started == ("a", "b")


async def test_cancelling_the_caller_cancels_every_tier(stage):
    with anyio.move_on_after(0.5) as scope:
        await hedge_tiers([tier(stage, "a", 9, "x", delay_s=0.1), tier(stage, "b", 9, "y")])
    assert scope.cancelled_caught
    assert (len(stage.started), stage.running) == (2, 0)


async def test_mistakes_in_callbacks_are_raised_after_the_clean_up(stage):
    def mistaken(_):
        raise LookupError("my mistake")

    tiers = [tier(stage, "a", 9, "x", delay_s=0.1), tier(stage, "b", 0.1, "y", least=0.1)]
    with pytest.raises(LookupError, match="my mistake"):
        await hedge_tiers(tiers, quality=mistaken)
    tiers = [tier(stage, "a", 9, "x", delay_s=0.1), tier(stage, "b", 0.1, OSError())]
    with pytest.raises(LookupError, match="my mistake"):
        await hedge_tiers(tiers, classify=mistaken)
    tiers = [tier(stage, "a", 9, "x", delay_s=0.1), Tier(name="b", call=lambda: 3, delay_s=0)]
    with pytest.raises(TypeError, match="tier b must return an awaitable, got int"):
        await hedge_tiers(tiers)


async def test_an_interrupt_comes_out_as_it_is(stage):
    class Interrupt(BaseException):
        pass

    tiers = [tier(stage, "a", 9, "x", delay_s=0.1), tier(stage, "b", 0.1, Interrupt())]
    with pytest.raises(Interrupt):
        await hedge_tiers(tiers)


async def test_reported_prices_come_first(stage):
    async def call():
        report_cost(0.003)
        return "x"

    outcome = await hedge_tiers([Tier(name="a", call=call, delay_s=0, cost_usd=1.0)])
    assert outcome.cost_usd == pytest.approx(0.003)


async def test_the_span_names_the_tier(stage, monkeypatch):
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("crucible_hedging"))
    await hedge_tiers([tier(stage, "a", 0.1, "secret")])
    (span,) = exporter.get_finished_spans()
    assert span.name == "crucible.hedging.tiers"
    assert dict(span.attributes) == {
        "crucible.hedging.tier": "a", "crucible.hedging.accepted": True,
    }  # fmt: skip


async def test_bad_arguments_are_named(stage):
    good = tier(stage, "a", 0, "x")
    for tiers, options, error, message in [
        ([], {}, ValueError, "`tiers` must hold at least one Tier, got none"),
        (
            [Tier(name="a", call=print, delay_s=1)],
            {},
            ValueError,
            "`delay_s` must be 0 for the last",
        ),
        ([good, good], {}, ValueError, "`tiers` must have different names"),
        ([good], {"deadline_s": 0}, ValueError, "`deadline_s` must be > 0 or None, got 0"),
        ([good], {"prefer": "cheap"}, ValueError, '`prefer` must be "first_accepted" or'),
        ([good], {"prefer": "best_quality"}, ValueError, "`quality` must be given"),
        ([tier(stage, "a", 0, "x", least=1)], {}, ValueError, "`quality` must be given"),
    ]:
        with pytest.raises(error, match=message):
            await hedge_tiers(tiers, **options)
    with pytest.raises(TypeError, match="`call` must be callable, got int"):
        Tier(name="a", call=1, delay_s=0)
    with pytest.raises(ValueError, match="`delay_s` must be >= 0 seconds, got -1"):
        Tier(name="a", call=print, delay_s=-1)
    with pytest.raises(ValueError, match="`cost_usd` must be a finite number >= 0, got -1"):
        Tier(name="a", call=print, delay_s=0, cost_usd=-1)
