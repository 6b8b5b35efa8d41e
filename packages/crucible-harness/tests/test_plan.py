"""How many items a question needs: published numbers, and what a pilot may and may not say."""

import pytest
from worlds import simulated, sums

from crucible_harness import Condition, Experiment, Hypothesis, plan, run_sync
from crucible_harness.plan import PilotRates


def experiment(n: int, **change: object) -> Experiment:
    design = {
        "dataset": sums(n),
        "conditions": [
            Condition(name=c, model=simulated(c), temperature=0.7) for c in ("control", "treatment")
        ],
        "seed": 1,
        "hypotheses": [
            Hypothesis(
                id="h1", metric="accuracy", treatment="treatment", control="control", sesoi=0.05
            )
        ],
        **change,
    }
    return Experiment("planned", **design)


SHARES = PilotRates(treatment_only=0.06, control_only=0.01)


def test_discordant_shares_of_six_and_one_percent_need_199_items():
    # harness specification, acceptance 12: McNemar mid-p by exact enumeration, power .80
    planned = plan(experiment(250), "h1", pilot=SHARES)
    assert planned.n == 199
    assert planned.unit == "items"
    assert planned.enough
    assert planned.power > 0.80


def test_a_small_data_set_is_told_its_power_and_what_it_can_find():
    planned = plan(experiment(100), "h1", pilot=SHARES)
    assert planned.n == 199
    assert not planned.enough
    assert 0 < planned.power < 0.80
    assert 0.05 < planned.detectable_effect <= 0.07  # it cannot exceed the discordance
    assert f"reach {planned.power:.0%}" in planned.sentence
    assert f"find a difference of {planned.detectable_effect:.3g}" in planned.sentence
    assert planned.to_dict()["inputs"]["discordance"] == pytest.approx(0.07)


def test_a_family_of_hypotheses_needs_more():
    h = experiment(9).hypotheses[0]
    from dataclasses import replace

    two = experiment(250, hypotheses=[h, replace(h, id="h2")])
    planned = plan(two, "h1", pilot=SHARES)
    assert planned.inputs["alpha"] == 0.025
    assert planned.n > 199


def test_the_pilots_difference_is_not_what_is_planned_for():
    other = PilotRates(treatment_only=0.01, control_only=0.06)  # the other way round
    assert plan(experiment(250), "h1", pilot=other).n == 199


def test_conditions_that_hardly_differ_cannot_show_the_effect():
    planned = plan(experiment(250), "h1", pilot=PilotRates(treatment_only=0.02, control_only=0.01))
    assert planned.n is None
    assert "cannot be there" in planned.sentence


def test_a_mean_is_planned_from_the_variance_of_item_differences():
    # normal approximation: n = ((z(.975) + z(.8)) s / d)^2 = (2.801585 * 0.5 / 0.1)^2 = 196.2
    cost = Hypothesis(
        id="h1", metric="cost_usd", treatment="treatment", control="control", sesoi=0.1
    )
    asked = experiment(250, metrics=("cost_usd",), hypotheses=[cost])
    assert plan(asked, "h1", pilot=PilotRates(item_sd=0.5)).n == pytest.approx(197, abs=2)


def test_a_pilot_run_gives_its_discordance(replayed, options):
    # of 20 items: treatment only 3, control only 1
    rows = {"control": "1" * 11 + "0" * 9, "treatment": "0" + "1" * 13 + "0" * 6}
    path = run_sync(replayed(rows), options=options).path
    planned = plan(experiment(100), "h1", pilot=path)
    assert planned.inputs["treatment_only"] == pytest.approx(3 / 20)
    assert planned.inputs["control_only"] == pytest.approx(1 / 20)
    assert planned.inputs["pilot_items"] == 20


def test_repeats_of_a_pilot_separate_items_from_answers(replayed, options):
    rows = {"control": "1100110010", "treatment": "1111110110"}
    path = run_sync(replayed(rows, repeats=2), options=options).path
    planned = plan(experiment(100, repeats=2), "h1", pilot=path)
    assert planned.inputs["within_sd"] == [0.0, 0.0]  # each repeat said the same
    # differences of items: 0 0 1 1 0 0 0 1 0 0, sample variance .7 * .3 * 10 / 9
    assert planned.inputs["item_sd"] == pytest.approx((0.7 * 0.3 * 10 / 9) ** 0.5)


def test_a_percentile_is_planned_by_simulation_and_says_what_it_rests_on(options):
    latency = Hypothesis(
        id="h1", metric="latency_s:p90", treatment="treatment", control="control",
        sesoi=0.5, direction="less",
    )  # fmt: skip
    asked = experiment(30, metrics=("latency_s:p90",), hypotheses=[latency])
    with_latency = Experiment(
        "pilot", dataset=sums(30), seed=1, metrics=("latency_s:p90",),
        conditions=[
            Condition(name=c, model=simulated(c, latency_s=0.001)) for c in ("control", "treatment")
        ],
    )  # fmt: skip
    path = run_sync(with_latency, options=options).path
    planned = plan(asked, "h1", pilot=path)
    assert planned.inputs["percentile"] == 90
    assert any("simulated from 30 pilot values" in note for note in planned.notes)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"hypothesis": "h9"}, "`hypothesis` must be one of h1, got 'h9'"),
        ({"power": 1.0}, r"`power` must be in \(0, 1\), got 1.0"),
    ],
)
def test_what_cannot_be_planned_is_said(words, says):
    with pytest.raises(ValueError, match=says):
        plan(experiment(9), **{"hypothesis": "h1", "pilot": SHARES, **words})


def test_rates_are_shares_or_a_deviation():
    with pytest.raises(ValueError, match="and not both"):
        PilotRates()
    with pytest.raises(ValueError, match=r"`control_only` must be in \[0, 1\], got 2"):
        PilotRates(treatment_only=0.1, control_only=2)


def test_a_pilot_of_other_conditions_is_refused(replayed, options):
    path = run_sync(replayed({"a": "10", "b": "11"}), options=options).path
    with pytest.raises(ValueError, match="must have the condition 'treatment'"):
        plan(experiment(9), "h1", pilot=path)
