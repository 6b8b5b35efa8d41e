"""Acceptance 15: every started attempt costs."""

import anyio
import pytest

from crucible_hedging import HedgeBudget, Hedger, report_cost

pytestmark = pytest.mark.anyio


def a_cent(value):
    return 0.01


def sources(outcome):
    return [a.cost_source for a in outcome.attempts]


async def test_a_beaten_copy_costs_what_the_winner_costs(hedge, stage):
    outcome = await hedge(stage.call((1.0, "slow"), (0.05, "quick")), delay=0.1, cost=a_cent)
    assert outcome.cost_usd == pytest.approx(0.02)
    assert sources(outcome) == ["assumed_full", "value"]


async def test_what_a_loser_reports_is_what_it_costs(hedge):
    async def slow():
        try:
            await anyio.sleep(1)
        finally:
            report_cost(0.004)

    async def quick():
        return "quick"

    outcome = await hedge(slow, backups=[quick], delay=0.1, cost=a_cent)
    assert outcome.cost_usd == pytest.approx(0.014)
    assert sources(outcome) == ["reported", "value"]


async def test_a_report_comes_before_the_price_of_the_value(hedge):
    async def call():
        report_cost(0.5)
        report_cost(0.25)

    outcome = await hedge(call, delay=1, cost=a_cent)
    assert (outcome.cost_usd, sources(outcome)) == (0.25, ["reported"])


async def test_another_calls_price_is_unknown(hedge, stage):
    outcome = await hedge(
        stage.call((0.2, "answer")), backups=[stage.call((1, "other"))], delay=0.1, cost=a_cent
    )
    assert outcome.cost_usd is None
    assert outcome.known_cost_usd == 0.01
    assert sources(outcome) == ["value", None]


async def test_without_prices_nothing_is_known(hedge, stage):
    outcome = await hedge(stage.call((0.01, "x")), delay=1)
    assert (outcome.cost_usd, outcome.known_cost_usd) == (None, 0.0)
    unpriced = await hedge(stage.call((0.01, "x")), delay=1, cost=lambda value: None)
    assert unpriced.cost_usd is None


async def test_rejected_answers_are_paid_for(hedge, stage):
    outcome = await hedge(
        stage.call((0.01, 3), (0.01, 5)), delay=1, accept=lambda v: v > 4, cost=lambda v: v / 100
    )
    assert outcome.cost_usd == pytest.approx(0.08)


async def test_an_answer_of_unknown_price_stays_unknown(hedge, stage):
    outcome = await hedge(
        stage.call((0.01, 3), (0.01, 5)),
        delay=1,
        accept=lambda v: v > 4,
        cost=lambda v: 0.01 if v > 4 else None,
    )
    assert (outcome.cost_usd, outcome.known_cost_usd) == (None, 0.01)


async def test_a_hedger_may_call_cancelled_costs_unknown(stage):
    budget = HedgeBudget(1.0, initial=1)
    hedger = Hedger(0.1, budget=budget, cost=a_cent, cancelled_cost="unknown")
    outcome = await hedger(stage.call((1.0, "slow"), (0.05, "quick")))
    assert (outcome.cost_usd, outcome.known_cost_usd) == (None, 0.01)


@pytest.mark.parametrize("price", [-0.01, float("nan"), float("inf"), True])
async def test_a_price_is_a_finite_number(hedge, stage, price):
    with pytest.raises(ValueError, match="`cost` must return a finite number >= 0 or None"):
        await hedge(stage.call((0.01, "x")), delay=1, cost=lambda value: price)
    with pytest.raises(ValueError, match="`usd` must be a finite number >= 0"):
        report_cost(price)


async def test_outside_an_attempt_a_report_is_nobodys(hedge):
    report_cost(1.0)

    async def call():
        return 1

    outcome = await hedge(call, delay=1)
    report_cost(1.0)
    assert outcome.cost_usd is None


async def test_reports_of_concurrent_attempts_do_not_mix(hedge):
    prices = iter([(0.2, 1.0), (0.05, 3.0)])

    async def call():
        seconds, usd = next(prices)
        async with anyio.create_task_group() as group:  # a task within reports for its attempt
            group.start_soon(child, usd)
        await anyio.sleep(seconds)

    async def child(usd):
        await anyio.sleep(0.01)
        report_cost(usd)

    outcome = await hedge(call, delay=0.1)
    assert [a.cost_usd for a in outcome.attempts] == [1.0, 3.0]


async def test_an_inner_race_reports_to_its_own_attempts(hedge):
    async def inner():
        report_cost(1.0)

    async def outer():
        await hedge(inner, delay=1)
        report_cost(5.0)

    assert (await hedge(outer, delay=1)).cost_usd == 5.0
