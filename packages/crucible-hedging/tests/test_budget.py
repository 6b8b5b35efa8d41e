"""Acceptance 5: the extra load never exceeds the budget."""

import threading

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_hedging import HedgeBudget, Hedger

# What happens, in order: True is a request, False an attempt to send a backup.
EVENTS = st.lists(st.booleans(), max_size=400)


@given(events=EVENTS, ratio=st.sampled_from([0.01, 0.05, 0.1, 0.3, 1 / 3, 0.7, 1.0]))
def test_at_every_moment_backups_are_at_most_ratio_times_requests(events, ratio):
    budget = HedgeBudget(ratio, burst=3)
    requests = backups = 0
    history = [(0, 0)]
    for arrives in events:
        if arrives:
            budget.arrive()
            requests += 1
        else:
            backups += budget.try_spend()
        history.append((requests, backups))
        assert backups <= ratio * requests + 1e-12
    for start, (r0, b0) in enumerate(history):
        for r1, b1 in history[start:]:
            assert b1 - b0 <= 3 + ratio * (r1 - r0) + 1e-12


def test_the_count_is_exact():
    # 20 * 0.05 is 1 exactly: the 20th request pays for a backup, and so does the 2,000th.
    budget = HedgeBudget(0.05)
    sent = []
    for number in range(1, 2_001):
        budget.arrive()
        if budget.try_spend():
            sent.append(number)
    assert sent == list(range(20, 2_001, 20))


def test_what_is_not_spent_is_kept_up_to_the_burst():
    budget = HedgeBudget(0.5, burst=2)
    for _ in range(100):
        budget.arrive()
    assert [budget.try_spend() for _ in range(3)] == [True, True, False]
    full = HedgeBudget(0.05, burst=2, initial=2)
    assert full.tokens == 2.0


def test_the_ratio_may_change_and_tokens_stay():
    budget = HedgeBudget(0.5)
    budget.arrive()
    budget.ratio = 1 / 3
    assert budget.tokens == pytest.approx(0.5)
    assert budget.tokens <= 0.5
    with pytest.raises(ValueError, match=r"`ratio` must be in \(0, 1\], got 0"):
        budget.ratio = 0
    assert budget.ratio == 1 / 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "`ratio`"),
        ({"ratio": 1.01}, "`ratio`"),
        ({"ratio": float("nan")}, "`ratio`"),
        ({"ratio": True}, "`ratio`"),
        ({"burst": 0.5}, "`burst` must be a number >= 1, got 0.5"),
        ({"burst": float("inf")}, "`burst`"),
        ({"initial": 21}, "`initial` must be in"),
        ({"initial": -1}, "`initial` must be in"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        HedgeBudget(**options)


def test_two_hedgers_may_share_a_budget(run):
    budget = HedgeBudget(0.1)
    hedgers = [Hedger(0.0, budget=budget), Hedger(0.0, budget=budget, max_backups=3)]
    for hedger in hedgers:
        assert hedger.budget is budget

    async def main():
        async with anyio.create_task_group() as group:
            for number in range(1_000):
                group.start_soon(hedgers[number % 2], lambda: anyio.sleep(1))

    run(main)
    backups = sum(hedger.statistics().backups for hedger in hedgers)
    # All arrive before any timer fires: the burst is all there is for them.
    assert backups == 20
    assert hedgers[0].statistics().blocked["budget"] > 450


def test_a_thousand_callers_stay_within_the_ratio(run):
    hedger = Hedger(0.5, budget=HedgeBudget(0.05, burst=1_000))
    sent = {"primaries": 0, "backups": 0}

    async def main():
        async def attempt(kind):
            sent[kind] += 1
            assert sent["backups"] <= 0.05 * sent["primaries"]
            figures = hedger.statistics()
            assert (figures.requests, figures.backups) == tuple(sent.values())
            assert figures.extra_ratio <= 0.05
            await anyio.sleep(1)

        async def one(number):
            await anyio.sleep(number * 0.01)
            await hedger(lambda: attempt("primaries"), backups=[lambda: attempt("backups")])

        async with anyio.create_task_group() as group:
            for number in range(1_000):
                group.start_soon(one, number)

    run(main)
    assert hedger.statistics().backups == sent["backups"] == 50
    assert hedger.statistics().extra_ratio == 0.05


def test_threads_do_not_spend_a_token_twice():
    budget = HedgeBudget(1.0, burst=1_000, initial=1_000)
    spent = []

    def spend():
        mine = sum(budget.try_spend() for _ in range(500))
        spent.append(mine)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(spent) == 1_000
