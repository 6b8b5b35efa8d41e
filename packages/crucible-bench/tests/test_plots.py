"""Charts hold the numbers of the comparison, and render without a browser."""

import subprocess
import sys

import numpy as np
import pytest
import vl_convert

from crucible_bench import compare, compare_multiple, compare_paired
from crucible_bench.calibration import reliability_curve
from crucible_bench.plots import calibration, estimation, forest, power_curve
from crucible_bench.power import PairedT

RNG = np.random.default_rng(0)
X = RNG.normal(size=30)
Y = X + 0.4 + RNG.normal(scale=0.5, size=30)


def svg(chart):
    return vl_convert.vegalite_to_svg(chart.to_dict())


def test_an_estimation_plot_states_the_finding_and_holds_the_interval():
    result = compare_paired(X, Y, sesoi=0.1, labels=("old", "<b>new</b>"))
    chart = estimation(result, X, Y, unit="points")
    spec = chart.to_dict()
    assert f"{result.difference:+.3f}" in spec["title"]["text"]
    assert spec["title"]["subtitle"] == "n = 30 pairs"
    text = str(spec)
    assert str(result.confidence_interval.low) in text
    drawn = svg(chart)
    assert "<b>" not in drawn
    assert "points" in drawn


def test_paired_lines_stop_at_two_hundred_items():
    few = estimation(compare_paired(X, Y), X, Y).to_dict()
    x = np.tile(X, 8)
    y = x + RNG.normal(size=240)
    many = estimation(compare_paired(x, y), x, y).to_dict()
    assert len(few["hconcat"][0]["layer"]) == len(many["hconcat"][0]["layer"]) + 1


def test_other_scores_than_those_compared_are_refused():
    with pytest.raises(ValueError, match="must be the scores compared, got 5 and 30"):
        estimation(compare(X, Y), X[:5], Y)


def test_a_forest_has_a_row_for_each_comparison():
    result = compare_multiple({"a": X, "b": Y, "c": X + RNG.normal(size=30)}, paired=True)
    spec = forest(result).to_dict()
    sure = sum(c.significant for c in result.comparisons)
    assert spec["title"]["text"] == f"{sure} of 3 differences are significant after correction"
    assert spec["description"] == spec["title"]["text"]
    assert "b - a" in svg(forest(result))
    assert "only" in svg(forest({"only": compare(X, Y)}))


def test_a_power_curve_is_the_power_of_the_design():
    spec = power_curve(PairedT(), effects=[0.2, 0.5], n=[20, 40, 80]).to_dict()
    values = spec["layer"][0]["data"]["values"]
    assert len(values) == 6
    assert values[0]["power"] == pytest.approx(PairedT().power(0.2, 20, 0.05, "two-sided"))
    # d_z .5 takes 34 pairs (G*Power), .2 takes 199
    assert spec["title"]["text"] == "80 % power takes, for an effect of 0.2: more than shown; 0.5: 40 pairs"  # fmt: skip


def test_shares_are_drawn_with_their_intervals_and_not_as_dots_at_0_and_1():
    a, b = [1] * 30 + [0] * 10, [1] * 20 + [0] * 20
    spec = estimation(compare_paired(a, b), a, b).to_dict()
    bars = spec["hconcat"][0]["data"]["values"]
    assert [bar["share"] for bar in bars] == [0.75, 0.5]
    # Wilson, 20 of 40: .5 -+ .5 * 1.96 / sqrt(40 + 1.96^2)
    assert bars[1]["low"] == pytest.approx(0.5 - 0.98 / np.sqrt(40 + 1.96**2), abs=1e-4)


def test_a_reliability_diagram_says_on_which_side_confidence_errs():
    confidence, right = [0.9] * 40 + [0.6] * 60, [1] * 30 + [0] * 10 + [1] * 33 + [0] * 27
    bins = reliability_curve(confidence, right, bins=2, strategy="equal_width")
    spec = calibration(bins).to_dict()
    # .4 * .9 + .6 * .6 = .72 stated, 63 of 100 right
    assert spec["title"]["text"] == "72.0 % sure, 63.0 % right: overconfident on average"
    assert "n = 100; confidence is outside the interval in 1 of 1 bins" in spec["description"]
    assert "stated confidence" in svg(calibration(bins))
    with pytest.raises(ValueError, match="`bins` must hold at least one"):
        calibration([])


def test_without_altair_the_extra_is_named():
    code = (
        "import sys; sys.modules['altair'] = None\n"
        "from crucible_bench.errors import MissingExtraError\n"
        "from crucible_bench.plots import forest\n"
        "try:\n    forest({})\n"
        "except MissingExtraError as error:\n    print(error.extra)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "crucible-bench[plots]"
