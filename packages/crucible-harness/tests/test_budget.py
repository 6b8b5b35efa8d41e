"""Budgets, acceptance 9 of the specification; time is virtual."""

from dataclasses import replace

import pytest
from virtual import Clocked, virtually
from worlds import simulated, sums

from crucible_harness import Condition, Experiment, run_sync
from crucible_harness.errors import BudgetExceededError
from crucible_harness.folder import folder_of
from crucible_harness.hooks import Hooks
from crucible_harness.ledger import Budget, Ledger, Prices
from crucible_harness.options import ErrorPolicy

DOLLARS = {"clocked": (0.0, 10_000.0)}  # a token of the answer costs .01


def costing(*names: str, n: int = 100, max_tokens: int = 1, **model: object) -> Experiment:
    return Experiment(
        "costly", dataset=sums(n), seed=1, metrics=("cost_usd",),
        conditions=[
            Condition(name=name, max_tokens=max_tokens,
                      model=Clocked(f"clocked/{name}", takes_s=1.0, **{"costs": 0.01, **model}))
            for name in names
        ],
    )  # fmt: skip


def calls_of(experiment: Experiment) -> int:
    return sum(len(condition.model.sent) for condition in experiment.conditions)


@pytest.mark.parametrize("concurrency", [1, 10])
@pytest.mark.parametrize(
    ("max_tokens", "calls"),
    [(1, 25), (2, 24)],  # .25 / .01; 24 x .01 + .02 does not fit into .25
    ids=["reserving what it costs", "reserving twice that"],
)
def test_a_run_stops_at_its_budget_to_the_call(options, concurrency, max_tokens, calls):
    seen = []
    experiment = costing("a", max_tokens=max_tokens)
    result, _ = virtually(
        experiment,
        replace(
            options, concurrency=concurrency,
            budget=Budget(total_usd=0.25, assume_price=DOLLARS),
            hooks=Hooks(on_event=lambda kind, detail: seen.append((kind, detail))),
        ),
    )  # fmt: skip
    assert result.status == "budget"
    assert calls_of(experiment) == calls
    assert result.cost.settled_usd == pytest.approx(calls * 0.01, abs=1e-12)
    assert result.finished == calls
    kinds = [kind for kind, _ in seen]
    assert kinds == ["budget_warning", "budget_stop"]
    assert 0.2 <= seen[0][1]["settled_usd"] < 0.2 + 0.01 * concurrency


def test_the_warning_comes_when_four_fifths_are_settled(options):
    seen = []
    virtually(
        costing("a"),
        replace(
            options, concurrency=1, budget=Budget(total_usd=0.25, assume_price=DOLLARS),
            hooks=Hooks(on_event=lambda kind, detail: seen.append(detail)),
        ),
    )  # fmt: skip
    assert seen[0] == {"settled_usd": 0.2, "total_usd": 0.25}


@pytest.mark.parametrize("concurrency", [1, 10])
def test_a_condition_that_reaches_its_cap_ends_and_the_others_go_on(options, concurrency):
    experiment = costing("a", "b")
    result, _ = virtually(
        experiment,
        replace(
            options, concurrency=concurrency,
            budget=Budget(total_usd=5.0, per_condition_usd=0.1, assume_price=DOLLARS),
        ),
    )  # fmt: skip
    assert [len(condition.model.sent) for condition in experiment.conditions] == [10, 10]
    assert result.status == "budget"


def test_an_item_that_reaches_its_cap_ends_and_the_others_go_on(options):
    experiment = costing("a", "b", "c", n=4)
    result, _ = virtually(
        experiment,
        replace(options, budget=Budget(total_usd=5.0, per_item_usd=0.02, assume_price=DOLLARS)),
    )
    assert (result.finished, result.not_run, calls_of(experiment)) == (8, 4, 8)


def test_a_condition_that_was_stopped_by_its_cap_is_compared_on_complete_items_only(options):
    experiment = costing("a", "b", n=30)
    experiment.conditions[1].model._costs = 0.02
    result, _ = virtually(
        experiment,
        replace(
            options, budget=Budget(
                total_usd=5.0, per_condition_usd=0.2,
                assume_price={"clocked/a": (0.0, 10_000.0), "clocked/b": (0.0, 20_000.0)},
            ),
        ),
    )  # fmt: skip
    assert [len(condition.model.sent) for condition in experiment.conditions] == [20, 10]
    assert result.analysis.items_analysed == 10
    assert "budget" in result.analysis.deviations[0]


def test_a_budget_that_raises(options):
    with pytest.raises(BudgetExceededError, match="0.25"):
        virtually(
            costing("a"),
            replace(
                options,
                budget=Budget(total_usd=0.25, assume_price=DOLLARS, on_exceed="raise"),
            ),
        )


def test_the_reservations_of_calls_that_a_crash_cut_off_stay_in_the_ledger(options):
    experiment = costing("a", n=30)
    budget = Budget(total_usd=0.25, assume_price=DOLLARS)
    options = replace(options, budget=budget, concurrency=1)
    folder = folder_of(experiment, options.directory)
    folder.prepare(experiment)
    journal = folder.open_journal(design=experiment.frozen)
    for n in range(3):
        sent = journal.intend(f"{n:064x}", condition="a", item="i", reserved_usd=0.01)
        with pytest.raises(StopIteration):
            sent.send(None)  # with a file, no write waits
    journal.close()
    result, _ = virtually(experiment, options)
    assert calls_of(experiment) == 22  # .25 - 3 x .01
    assert len(result.possibly_billed) == 3
    assert result.cost.assumed_usd == pytest.approx(0.03)
    assert result.cost.settled_usd == pytest.approx(0.25)


def test_spending_goes_on_where_the_process_before_stopped(options):
    experiment = costing("a")
    budget = Budget(total_usd=0.1, assume_price=DOLLARS)
    virtually(experiment, replace(options, budget=budget))
    more = Budget(total_usd=0.15, assume_price=DOLLARS)
    result, _ = virtually(experiment, replace(options, budget=more))
    assert calls_of(experiment) == 15
    assert result.cost.settled_usd == pytest.approx(0.15)


def test_an_unknown_price_is_refused_before_the_first_call(options):
    experiment = costing("a", "b", n=3)
    with pytest.raises(ValueError, match="assume_price.*clocked/a, clocked/b"):
        run_sync(experiment, options=replace(options, budget=Budget(total_usd=1.0)))
    assert calls_of(experiment) == 0


def test_a_bill_above_the_reservation_is_reported(options):
    experiment = costing("a", n=5, costs=0.5)
    result, _ = virtually(
        experiment,
        replace(options, concurrency=1, budget=Budget(total_usd=1.2, assume_price=DOLLARS)),
    )
    assert len(experiment.conditions[0].model.sent) == 3
    assert any("billed more than was reserved: 1.5" in warning for warning in result.warnings)


def test_an_answer_without_a_price_is_unknown_and_its_reservation_is_assumed(options):
    experiment = costing("a", n=4, costs=None)
    experiment.conditions[0].model._answer = lambda text: "1"
    timed = replace(options, budget=Budget(total_usd=1.0, assume_price=DOLLARS))
    experiment = Experiment(
        "unknown", dataset=sums(4), seed=1, conditions=experiment.conditions, metrics=("accuracy",)
    )
    result, _ = virtually(experiment, timed)
    cost = result.cost
    assert (cost.unknown_calls, cost.known_usd) == (4, 0.0)
    assert cost.assumed_usd == pytest.approx(0.04)


def test_a_call_that_failed_costs_nothing_and_one_that_timed_out_what_was_reserved(options):
    from crucible_ensemble.errors import ModelTimeoutError, ServerError

    for error, settled in ((ServerError("down"), 0.0), (ModelTimeoutError("late"), 0.04)):
        experiment = Experiment(
            f"fails-{type(error).__name__}", dataset=sums(4), seed=1, metrics=("accuracy",),
            conditions=[
                Condition(name="a", max_tokens=1, model=Clocked("clocked/a", fails=lambda n, e=error: e))
            ],
        )  # fmt: skip
        result, _ = virtually(
            experiment,
            replace(
                options, budget=Budget(total_usd=1.0, assume_price=DOLLARS),
                errors=ErrorPolicy(max_failure_rate=1.0),
            ),
        )  # fmt: skip
        assert result.cost.settled_usd == pytest.approx(settled)
        assert result.cost.known_usd == 0.0


def test_from_twenty_calls_on_twice_the_dearest_is_reserved_and_never_more_than_the_bound():
    ledger = Ledger(Budget(total_usd=100.0))
    for n in range(20):
        assert ledger._reservation("m", 1.0) == 1_000_000_000_000
        ledger.recall(
            condition="a", item=str(n), model="m", status="ok", bill_usd=0.1, reserved_usd=1.0
        )
    assert ledger._reservation("m", 1.0) == 200_000_000_000
    assert ledger._reservation("m", 0.15) == 150_000_000_000
    assert ledger._reservation("other", 1.0) == 1_000_000_000_000


def test_prices_are_the_books_those_assumed_and_those_a_simulated_model_says():
    prices = Prices({"mine/model": 0.02, "theirs": (1.0, 2.0)})
    known = Clocked("openai/gpt-4o-mini")
    # .15 and .60 per million: 300 characters are 100 tokens; five samples of 100 + 20 tokens on
    # 100 items cost .0135 (acceptance 11)
    assert prices.worst_usd(known, 300, 20) * 500 == pytest.approx(0.0135)
    assert prices.worst_usd(Clocked("mine/model"), 3, 1000) == 0.02
    assert prices.worst_usd(Clocked("theirs/any"), 3_000_000, 1_000_000) == 3.0
    assert prices.worst_usd(simulated(price=(1.0, 2.0)), 3_000_000, 1_000_000) == 3.0
    assert prices.worst_usd(Clocked("nobody/knows"), 3, 1) is None


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"total_usd": 0.0}, "`total_usd` must be > 0"),
        ({"total_usd": 1.0, "per_item_usd": -1.0}, "`per_item_usd` must be > 0"),
        ({"total_usd": 1.0, "warn_at": 1.5}, r"`warn_at` must be in \(0, 1\]"),
        ({"total_usd": 1.0, "on_exceed": "ask"}, "`on_exceed`"),
        ({"total_usd": 1.0, "assume_price": {"m": (-1.0, 0.0)}}, "`assume_price` must be >= 0"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(fields, rule):
    with pytest.raises(ValueError, match=rule):
        Budget(**fields)
