"""Charts hold the numbers of the comparison, and render without a browser."""

import subprocess
import sys

import numpy as np
import pytest
import vl_convert

from crucible_bench import compare, compare_multiple, compare_paired
from crucible_bench.plots import estimation, forest, power_curve
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
    assert "of 3 differences" in spec["title"]
    assert "b - a" in svg(forest(result))
    assert "only" in svg(forest({"only": compare(X, Y)}))


def test_a_power_curve_is_the_power_of_the_design():
    spec = power_curve(PairedT(), effects=[0.2, 0.5], n=[20, 40, 80]).to_dict()
    values = spec["layer"][0]["data"]["values"]
    assert len(values) == 6
    assert values[0]["power"] == pytest.approx(PairedT().power(0.2, 20, 0.05, "two-sided"))


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
