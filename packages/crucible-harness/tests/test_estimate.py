"""What a run will cost and how long it takes: closed forms, bounds, and a pilot paid once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import right, simulated, sums

from crucible_datasets import Dataset, Item
from crucible_datasets.items import Provenance
from crucible_ensemble import Completion, Ensemble, FunctionModel, SimulatedModel
from crucible_harness import Condition, Experiment, estimate_sync, run_sync
from crucible_harness.errors import NotConfirmedError
from crucible_harness.estimate import predict_total
from crucible_harness.options import Limits
from crucible_harness.wall_time import TimedCall, play


def voting(n: int = 30, **model: object) -> Experiment:
    asked = simulated(**model)
    return Experiment(
        "estimated",
        dataset=sums(n),
        conditions=[
            Condition("single", asked, temperature=0.7),
            Condition("vote-5", Ensemble([asked], samples=5, normalise="numeric"), temperature=0.7),
        ],
        seed=2,
    )


def test_the_total_is_predicted_with_an_interval_for_the_remaining_items():
    # harness specification, acceptance 11: m x ± t(9) s sqrt(m + m^2 / 10) with m = 190
    costs = [c * 1e-6 for c in (80, 95, 120, 100, 105, 90, 110, 130, 85, 85)]
    total, low, high = predict_total(costs, 190)
    assert total == pytest.approx(0.020000, abs=5e-7)
    assert (low, high) == (pytest.approx(0.017723, abs=5e-7), pytest.approx(0.022277, abs=5e-7))


@given(costs=st.lists(st.floats(0, 10), min_size=2, max_size=20), m=st.integers(0, 500))
def test_the_prediction_never_falls_below_what_was_paid(costs, m):
    total, low, high = predict_total(costs, m)
    assert sum(costs) <= low + 1e-9
    assert low <= total + 1e-9
    assert total <= high + 1e-9


def test_one_item_predicts_no_interval():
    assert predict_total([0.5], 9) == (pytest.approx(5.0), None, None)


def test_a_thousand_calls_of_a_tenth_of_a_second_ten_at_a_time_take_ten_seconds():
    # harness specification, acceptance 11
    cells = [[TimedCall(str(n), "p", 0.1)] for n in range(1000)]
    assert play(cells, concurrency=10, limits={}) == pytest.approx(10.0)


def test_rate_limits_and_shared_answers_are_played_as_the_run_has_them():
    # ten requests at 120 a minute, two at once: the last starts at 4.0 s (acceptance 10)
    cells = [[TimedCall(str(n), "p", 0.0)] for n in range(10)]
    limits = {"p": Limits(concurrency=10, requests_per_minute=120)}
    assert play(cells, concurrency=10, limits=limits) == pytest.approx(4.0)
    shared = [
        [TimedCall("same", "p", 2.0)],
        [TimedCall("same", "p", 2.0), TimedCall("o", "p", 1.0)],
    ]
    assert play(shared, concurrency=2, limits={}) == pytest.approx(2.0)
    few = {"p": Limits(concurrency=1)}
    assert play([[TimedCall(k, "p", 1.0)] for k in "abc"], concurrency=9, limits=few) == 3.0


def test_without_a_pilot_the_price_book_bounds_the_cost_and_nobody_is_asked():
    # Five samples of 100 + 20 tokens on 100 items at .15 / .60 per million: .0135 (acceptance 11)
    items = [Item(id=f"i{n}", input=f"{n:0300d}", expected="1") for n in range(100)]
    asked = []

    def answer(text: str) -> str:
        asked.append(text)
        return "1"

    model = SimulatedModel(
        "m", accuracy=1.0, answer_of=answer, wrong_of=lambda text: ["2"], price=(0.15, 0.60)
    )
    experiment = Experiment(
        "bounds",
        dataset=Dataset(items, name="long", task="text", provenance=Provenance(kind="memory")),
        conditions=[
            Condition("vote-5", Ensemble([model], samples=5), temperature=0.7, max_tokens=20)
        ],
        seed=1,
    )
    found = estimate_sync(experiment, pilot=0)
    assert found.basis == "price_book"
    assert found.calls == 500
    assert found.input_tokens == 50_000
    assert found.cost_high == pytest.approx(0.0135)
    # the shortest answers have one token: 500 (15 + .6) / 1e6
    assert found.cost_low == pytest.approx(0.0078)
    assert (found.cost_usd, found.wall_s) == (None, None)
    assert asked == []


def test_shared_calls_are_counted_once_and_each_condition_alone():
    found = estimate_sync(voting(), pilot=0)
    assert found.calls == 150
    assert {name: row["calls"] for name, row in found.per_condition.items()} == {
        "single": 30, "vote-5": 150,
    }  # fmt: skip


def test_an_unknown_price_is_unknown_and_named():
    model = FunctionModel(lambda prompt: "1", name="acme/secret")
    model.fingerprint = lambda: {"model": "acme/secret"}
    experiment = Experiment("unknown", dataset=sums(3), conditions=[Condition("a", model)], seed=1)
    found = estimate_sync(experiment, pilot=0)
    assert found.unpriced == ("acme/secret",)
    assert found.cost_high is None


def test_a_pilot_is_part_of_the_run_and_paid_once(options):
    experiment = voting(latency_s=0.01)
    found = estimate_sync(experiment, pilot=6, options=options)
    assert (found.basis, found.pilot_items, found.calls) == ("pilot", 6, 150)
    result = run_sync(experiment, options=options)
    assert result.calls_sent == 150 - 6 * 5
    assert found.cost_low <= result.cost.settled_usd <= found.cost_high
    # 24 items of 5 calls of 10 ms, ten calls at a time, at least 0.12 s
    assert found.wall_low >= 0.12 - 1e-9
    assert found.wall_low <= found.wall_s <= found.wall_high


def test_the_same_pilot_gives_the_same_estimate(options, tmp_path):
    one, other = (
        estimate_sync(
            voting(latency_s=0.01), pilot=5, options=replace(options, directory=tmp_path / name)
        )
        for name in "ab"
    )
    assert one == other


def test_a_pilot_of_every_item_has_nothing_left_to_predict(options):
    found = estimate_sync(voting(4, latency_s=0.01), pilot=10, options=options)
    assert found.pilot_items == 4
    assert found.cost_low == found.cost_usd == found.cost_high
    assert found.wall_s == 0.0


def test_a_pilot_with_unknown_costs_predicts_none(options):
    class Quiet:
        name = "acme/quiet"

        def fingerprint(self):
            return {"model": self.name}

        async def generate(self, prompt, /, **options):
            return Completion(text=right(prompt[-1]["content"]), model=self.name)

    experiment = Experiment("quiet", dataset=sums(6), conditions=[Condition("a", Quiet())], seed=1)
    found = estimate_sync(experiment, pilot=3, options=options)
    assert (found.cost_usd, found.cost_low, found.wall_s) == (None, None, None)
    assert found.unpriced == ("acme/quiet",)


def test_a_declined_estimate_sends_nothing(options):
    shown = []

    def decline(estimate):
        shown.append(estimate.cost_high)
        return False

    with pytest.raises(NotConfirmedError):
        run_sync(voting(), options=replace(options, confirm=decline))
    assert shown[0] > 0
    assert not options.directory.exists()
    result = run_sync(voting(), options=replace(options, confirm=lambda estimate: True))
    assert result.status == "complete"


def test_a_pilot_of_one_item_is_refused():
    with pytest.raises(ValueError, match="`pilot` must be 0 or >= 2, got 1"):
        estimate_sync(voting(), pilot=1)
