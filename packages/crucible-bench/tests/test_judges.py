"""Agreement and prediction-powered estimates against papers, statsmodels and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa as statsmodels_kappa

from crucible_bench.judges import (
    cohens_kappa,
    krippendorff_alpha,
    prediction_powered_difference,
    prediction_powered_mean,
)

# Krippendorff 2011: 3 coders, 15 units, * missing
CODERS = [
    [None if c == "*" else int(c) for c in row]
    for row in ("*****34121133*3", "1*213343*******", "**21344*21133*4")
]


def _labels(table):
    cells = [(i, j) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    return [i for i, _ in cells], [j for _, j in cells]


def test_kappa_of_a_two_by_two_table():
    # observed .7, expected .5
    assert cohens_kappa(*_labels([[20, 5], [10, 15]])).value == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(None, None), ("linear", "linear"), ("quadratic", "fc")]
)
def test_kappa_and_its_standard_error_agree_with_statsmodels(ours, theirs):
    table = [[22, 6, 2], [5, 18, 7], [1, 4, 25]]
    result = cohens_kappa(*_labels(table), weights=ours)
    peer = statsmodels_kappa(np.array(table), wt=theirs)
    assert result.value == pytest.approx(peer.kappa, rel=1e-10)
    assert result.standard_error == pytest.approx(peer.std_kappa, rel=1e-10)
    assert (result.interval.low, result.interval.high) == pytest.approx((peer.kappa_low, peer.kappa_upp))  # fmt: skip


def test_kappa_of_judges_who_never_vary_is_unknown():
    result = cohens_kappa(["a", "a"], ["a", "a"])
    assert (result.value, result.interval) == (None, None)
    assert "one and the same label" in result.reason
    assert cohens_kappa([1, 2, 3], [1, 2, 3]).reason == "perfect agreement has no standard error"


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.691358), ("interval", 0.810845)])
def test_krippendorffs_own_example(level, alpha):
    result = krippendorff_alpha(CODERS, level=level)
    assert result.value == pytest.approx(alpha, abs=1e-6)
    assert result.n == 12  # units with two labels or more
    assert result.interval is None


def test_ordinal_alpha_depends_on_ranks_only():
    # Krippendorff 2011, 4 observers x 12 units: ordinal .815
    data = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    assert krippendorff_alpha(data, level="ordinal").value == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha(data, level="nominal").value == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(data, level="interval").value == pytest.approx(0.849, abs=5e-4)
    squared = [[None if x is None else x**2 for x in row] for row in data]
    assert krippendorff_alpha(squared, level="ordinal").value == pytest.approx(0.815, abs=5e-4)


def test_alpha_with_an_interval_and_with_strings():
    words = [[None if x is None else "abcde"[x] for x in row] for row in CODERS]
    result = krippendorff_alpha(words, rng=1)
    assert result.value == pytest.approx(0.691358, abs=1e-6)
    assert result.interval.low < result.value < result.interval.high <= 1
    assert krippendorff_alpha(words, rng=1) == result
    constant = krippendorff_alpha([["a", "a"], ["a", math.nan]])
    assert (constant.value, constant.reason) == (None, "only one label was ever given")


def test_prediction_powered_mean_by_hand():
    human = [1, 0, 1, 1, 0, 1, 1, 0]
    judge = [1, 0, 1, 1, 1, 1, 0, 0]
    result = prediction_powered_mean(human, judge, [1] * 30 + [0] * 20)
    assert result.weight == pytest.approx(0.450310559, abs=1e-9)
    assert result.estimate == pytest.approx(0.613742236, abs=1e-9)
    assert result.standard_error == pytest.approx(0.154589283, abs=1e-9)


def test_a_judge_who_says_nothing_leaves_the_human_mean():
    result = prediction_powered_mean([1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1])
    assert (result.weight, result.estimate) == (0.0, 0.75)
    assert result.standard_error == result.human_standard_error
    contrary = prediction_powered_mean([1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1])
    assert contrary.weight == 0.0


def test_prediction_powered_intervals_cover_though_the_judge_is_biased():
    # 1,000 runs, n = 400, N = 2,000, a judge wrong on 15 % towards 1: .95 within 3 standard errors
    rng = np.random.default_rng(0)
    covered, narrower = 0, 0
    for _ in range(1_000):
        truth = (rng.random(2_400) < 0.6).astype(float)
        judge = np.where(rng.random(2_400) < 0.15, 1.0, truth)
        result = prediction_powered_mean(truth[:400], judge[:400], judge[400:])
        covered += result.interval.low <= 0.6 <= result.interval.high
        narrower += result.standard_error < result.human_standard_error
    assert 0.929 <= covered / 1_000 <= 0.97
    assert narrower > 950


def test_the_paired_form_is_the_mean_of_differences():
    rng = np.random.default_rng(1)
    human, judge, rest = (rng.integers(0, 2, size=(2, n)) for n in (40, 40, 200))
    paired = prediction_powered_difference(tuple(human), tuple(judge), tuple(rest))
    plain = prediction_powered_mean(human[1] - human[0], judge[1] - judge[0], rest[1] - rest[0])
    assert paired == plain


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=40))
def test_agreement_is_symmetric_and_at_most_one(pairs):
    first, second = map(list, zip(*pairs, strict=True))
    for measure in (
        lambda a, b: cohens_kappa(a, b, weights="quadratic"),
        lambda a, b: krippendorff_alpha([a, b], level="interval"),
    ):
        forward, backward = measure(first, second).value, measure(second, first).value
        if forward is None:
            assert backward is None
        else:
            assert backward == pytest.approx(forward)
            assert forward <= 1 + 1e-12


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cohens_kappa([1, 2], [1]), "must label the same items"),
        (lambda: cohens_kappa([1, 2], [1, "a"]), "all numbers or all strings"),
        (lambda: cohens_kappa([1, 2], [1, math.nan]), "labels must not be missing"),
        (lambda: cohens_kappa(["a", "b"], ["a", "a"], weights="linear"), "`categories` must give the order"),
        (lambda: cohens_kappa(["a", "b"], ["a", "c"], categories=["a", "b"]), "`categories` must hold every"),
        (lambda: cohens_kappa([1, 2], [1, 2], weights="cubic"), "`weights` must be"),
        (lambda: krippendorff_alpha([[1, 2]]), "at least 2 judges"),
        (lambda: krippendorff_alpha([[1, 2], [1]]), "one label per unit"),
        (lambda: krippendorff_alpha([[None], [None]]), "at least one label"),
        (lambda: krippendorff_alpha([[1, None], [None, 1]]), "one unit with two labels"),
        (lambda: krippendorff_alpha([["a"], ["b"]], level="ordinal"), '"nominal" for strings'),
        (lambda: krippendorff_alpha([[1], [2]], level="ratio"), "`level` must be"),
        (lambda: prediction_powered_mean([1, 0], [1], [1, 0]), "at least 2 scores"),
        (lambda: prediction_powered_mean([1, 0, 1], [1, 0], [1, 0]), "label the same items, got 2 for 3"),
        (lambda: prediction_powered_difference(([1, 0],) * 3, ([1, 0],) * 2, ([1, 0],) * 2), "`human` must be a pair"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
