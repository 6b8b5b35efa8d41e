"""Group rates against published intervals and by hand."""

import math

import pytest

from crucible_bench.fairness import (
    demographic_parity,
    equal_opportunity,
    equalized_odds,
    four_fifths,
    group_rates,
    predictive_parity,
)

SELECTED = [1] * 30 + [0] * 70 + [1] * 45 + [0] * 55
GROUP = ["a"] * 100 + ["b"] * 100


def test_a_difference_of_selection_rates():
    # 30/100 against 45/100: Miettinen and Nurminen
    report = demographic_parity(SELECTED, GROUP)
    (difference,) = report.differences
    assert (difference.first, difference.second) == ("a", "b")
    assert difference.difference == pytest.approx(0.15)
    assert (difference.interval.low, difference.interval.high) == pytest.approx((0.015531, 0.279491), abs=1e-6)  # fmt: skip
    assert report.caution == "screening heuristic, not legal advice"


def test_the_four_fifths_rule():
    result = four_fifths(SELECTED, GROUP)
    assert (result.highest, result.passes) == ("b", False)
    assert result.ratios[0].ratio == pytest.approx(2 / 3)
    exactly = four_fifths([1] * 8 + [0] * 2 + [1] * 10, ["a"] * 10 + ["b"] * 10)
    assert exactly.passes is True  # .8 is four fifths, not below


def test_a_small_group_has_no_rate_and_leaves_the_rule_undecided():
    result = four_fifths([1] * 10 + [0], ["a"] * 10 + ["b"])
    assert (result.passes, result.ratios[1].reason) == (None, "only 1 of at least 10")
    assert group_rates([1, 0], ["a", "b"], min_group=1)[0].rate == 1.0
    nobody = four_fifths([0] * 20, ["a"] * 10 + ["b"] * 10)
    assert (nobody.passes, nobody.highest) == (None, None)
    assert nobody.ratios[0].reason == "no group has a selection"


def test_rates_among_those_who_deserve_it_and_those_who_do_not():
    # a: TPR 8/10, FPR 2/10; b: TPR 5/10, FPR 5/10
    selected = [1] * 8 + [0] * 2 + [1] * 2 + [0] * 8 + [1] * 5 + [0] * 5 + [1] * 5 + [0] * 5
    actual = [1] * 10 + [0] * 10 + [1] * 10 + [0] * 10
    group = ["a"] * 20 + ["b"] * 20
    odds = equalized_odds(selected, actual, group)
    assert odds.true_positive.differences[0].difference == pytest.approx(-0.3)
    assert odds.false_positive.differences[0].difference == pytest.approx(0.3)
    # Holm over both: the smaller p twice, and the two p are equal here
    raw = odds.true_positive.differences[0].p_value
    assert odds.true_positive.differences[0].p_adjusted == pytest.approx(2 * raw)
    alone = equal_opportunity(selected, actual, group).differences[0]
    assert alone.p_adjusted == alone.p_value == raw
    precision = predictive_parity(selected, actual, group)
    assert [r.rate for r in precision.rates] == pytest.approx([8 / 10, 5 / 10])


def test_three_groups_give_three_corrected_differences():
    report = demographic_parity(SELECTED + [1] * 45 + [0] * 55, [*GROUP, *["c"] * 100])
    assert [(d.first, d.second) for d in report.differences] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert report.differences[0].p_adjusted == pytest.approx(3 * report.differences[0].p_value)
    assert report.differences[2].difference == 0
    assert report.differences[2].p_adjusted == 1.0


def test_a_rate_with_nobody_to_take_it_of_is_none_with_the_reason():
    report = equal_opportunity([1] * 20, [1] * 10 + [0] * 10, ["a"] * 10 + ["b"] * 10)
    assert report.rates[1].rate is None
    assert report.rates[1].reason == "no one to take a rate of"
    assert report.differences == ()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: group_rates([1, 0], ["a"]), "must be of one length"),
        (lambda: group_rates([1, 0.5], ["a", "b"]), "one dimension of 0 and 1"),
        (lambda: group_rates([1, math.nan], ["a", "b"]), "must not hold NaN"),
        (lambda: group_rates([1, 0], ["a", None]), "an unknown group is no group"),
        (lambda: group_rates([1, 0], ["a", "b"], min_group=0), "`min_group` must be >= 1"),
        (lambda: equal_opportunity([1, 0], [1, 0, 1], ["a", "b"]), "must be of one length"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
