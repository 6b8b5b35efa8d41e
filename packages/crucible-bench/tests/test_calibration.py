"""Measures of stated confidence against hand-computed values, scikit-learn's definitions and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_bench.calibration import (
    auroc,
    brier,
    expected_calibration_error,
    log_loss,
    maximum_calibration_error,
    reliability_curve,
)

CONFIDENCE = [0.95, 0.90, 0.85, 0.80, 0.75, 0.70, 0.65, 0.60, 0.55, 0.50]
CORRECT = [1, 1, 1, 0, 1, 1, 0, 1, 0, 0]


def test_the_brier_score_by_hand_and_its_parts():
    result = brier(CONFIDENCE, CORRECT)
    assert result.value == pytest.approx(0.19625, abs=1e-12)
    # 10 distinct confidences in 15 bins: each alone, so Murphy's parts are exact
    assert result.within_bins == pytest.approx(0, abs=1e-12)
    assert result.uncertainty == pytest.approx(0.6 * 0.4)
    coarse = brier(CONFIDENCE, CORRECT, bins=2)
    parts = coarse.reliability - coarse.resolution + coarse.uncertainty + coarse.within_bins
    assert parts == pytest.approx(coarse.value)
    # two halves: .625 stated and .4 right, .85 stated and .8 right
    assert coarse.reliability == pytest.approx((0.2**2 + 0.05**2) / 2)


def test_log_loss_by_hand():
    assert log_loss(CONFIDENCE, CORRECT).value == pytest.approx(0.562527029, abs=1e-9)


def test_a_certain_wrong_answer_has_no_finite_loss():
    result = log_loss([1.0, 0.9, 0.0], [0, 1, 1], rng=1)
    assert (result.value, result.interval, result.n_certain_and_wrong) == (None, None, 2)
    clipped = log_loss([1.0, 0.9, 0.0], [0, 1, 1], clip=0.01)
    assert clipped.value == pytest.approx(-(2 * math.log(0.01) + math.log(0.9)) / 3)
    assert log_loss([1.0, 0.0], [1, 0]).value == 0.0


@pytest.mark.parametrize(
    ("bins", "debias", "value"),
    # equal-mass bins by hand; debiased by the folded normal's closed form
    [(5, False, 0.265), (5, True, 0.216382), (2, False, 0.125)],
)
def test_expected_calibration_error_by_hand(bins, debias, value):
    result = expected_calibration_error(CONFIDENCE, CORRECT, bins=bins, debias=debias)
    assert result.value == pytest.approx(value, abs=1e-6)


def test_the_debiased_square_by_hand():
    # bins of 5: gaps -.2 and -.05, y (1 - y) .24 and .16, each over n_k - 1 = 4
    result = expected_calibration_error(CONFIDENCE, CORRECT, bins=2, norm="l2")
    assert result.squared == pytest.approx((0.04 - 0.06 + 0.0025 - 0.04) / 2)
    assert result.value == 0.0  # clipped only under the root
    assert result.plain == pytest.approx(math.sqrt((0.04 + 0.0025) / 2))


def test_a_calibrated_system_looks_calibrated_only_after_debiasing():
    # Perfectly calibrated, n = 1,000, 15 bins, 400 runs: plain l1 .038, debiased .023, squared l2 0
    rng = np.random.default_rng(0)
    plain, debiased, squared = [], [], []
    for _ in range(400):
        c = rng.uniform(0.5, 1, size=1_000)
        y = (rng.random(1_000) < c).astype(float)
        l1 = expected_calibration_error(c, y)
        plain.append(l1.plain)
        debiased.append(l1.value)
        squared.append(expected_calibration_error(c, y, norm="l2").squared)
    assert np.mean(plain) == pytest.approx(0.038, abs=0.003)
    assert np.mean(debiased) == pytest.approx(0.023, abs=0.003)
    assert np.mean(squared) == pytest.approx(0, abs=0.0003)


def test_equal_width_bins_and_the_largest_gap():
    c, y = [0.1, 0.15, 0.7, 0.9, 1.0], [0, 1, 1, 1, 0]
    # width .5: {.1, .15} with .5 right, {.7, .9, 1} with 2/3 right
    gaps = [abs(0.5 - 0.125), abs(2 / 3 - 2.6 / 3)]
    result = expected_calibration_error(c, y, bins=2, strategy="equal_width", debias=False)
    assert result.value == pytest.approx((2 * gaps[0] + 3 * gaps[1]) / 5)
    largest = maximum_calibration_error(c, y, bins=2, strategy="equal_width")
    assert largest.value == pytest.approx(max(gaps))
    empty = expected_calibration_error(c, y, bins=10, strategy="equal_width")
    assert empty.bins == 3  # .1-.2, .7-.8, .9-1


def test_the_reliability_curve_counts_every_answer_once():
    curve = reliability_curve(CONFIDENCE, CORRECT, bins=2)
    assert [(b.n, b.accuracy) for b in curve] == [(5, 0.4), (5, 0.8)]
    assert [b.confidence for b in curve] == pytest.approx([0.6, 0.8500])
    assert curve[0].interval.method == "wilson"
    assert (curve[0].low, curve[1].high) == (0.5, 0.95)


def test_auroc_with_delongs_standard_error():
    # by hand: 20 of 24 pairs in order; DeLong's placements
    result = auroc(CONFIDENCE, CORRECT)
    assert result.value == pytest.approx(20 / 24)
    assert result.standard_error == pytest.approx(0.144338, abs=1e-6)
    assert 0 < result.interval.low < 20 / 24 < result.interval.high < 1


def test_auroc_says_what_it_cannot_know():
    assert auroc([0.5, 0.6], [1, 1]).reason == "no wrong answer"
    assert auroc([0.5, 0.6, 0.4], [1, 1, 0]).interval is None
    separated = auroc([0.5, 0.6, 0.4, 0.3], [1, 1, 0, 0])
    assert (separated.value, separated.reason) == (1.0, "complete separation")


def test_intervals_need_a_generator_and_count_clusters():
    rng = np.random.default_rng(1)
    c = rng.uniform(0.4, 1, size=60)
    y = (rng.random(60) < c).astype(float)
    assert brier(c, y).interval is None
    alone = brier(c, y, rng=1).interval
    assert alone.low < brier(c, y).value < alone.high
    # each answer ten times is no more than one answer
    tiled = brier(np.tile(c, 10), np.tile(y, 10), cluster=np.tile(np.arange(60), 10), rng=1)
    assert tiled.interval.high - tiled.interval.low == pytest.approx(alone.high - alone.low, rel=0.15)  # fmt: skip
    assert tiled.interval.method == "cluster bootstrap percentile"
    for measure in (log_loss, expected_calibration_error, maximum_calibration_error):
        interval = measure(c, y, rng=1).interval
        assert interval.low <= interval.high
        assert measure(c, y, rng=1) == measure(c, y, rng=1)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=40), st.randoms())
def test_order_does_not_matter_and_values_stay_in_range(pairs, random):
    # distinct confidences, since ties between bins are broken by order
    pairs = list({round(c, 6): (round(c, 6), y) for c, y in pairs}.values())
    if len(pairs) < 2:
        return
    shuffled = random.sample(pairs, len(pairs))
    for measure in (brier, maximum_calibration_error, expected_calibration_error, auroc):
        values = [measure(*map(list, zip(*p, strict=True))).value for p in (pairs, shuffled)]
        if values[0] is None:
            assert values[1] is None
            continue
        assert values[1] == pytest.approx(values[0], abs=1e-9)
        assert 0 <= values[0] <= 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: brier([0.5, 1.2], [1, 0]), r"`confidence` must be in \[0, 1\], got 1.2 at index 1"),
        (lambda: brier([0.5, math.nan], [1, 0]), "must not hold NaN"),
        (lambda: brier([0.5, 0.6], [1, 0.5]), "`correct` must hold only 0 and 1"),
        (lambda: brier([0.5, 0.6], [1, 0, 1]), "one value per confidence, got 3 for 2"),
        (lambda: brier([0.5, 0.6], [1, 0], cluster=[1, 2]), "`rng` is required"),
        (lambda: log_loss([0.5, 0.6], [1, 0], cluster=[1, 2]), "`rng` is required"),
        (lambda: brier([0.5, 0.6], [1, 0], cluster=[1, 1], rng=0), "at least 2 clusters"),
        (lambda: brier([0.5, 0.6], [1, 0], cluster=[1], rng=0), "one label per answer"),
        (lambda: brier([0.5, 0.6], [1, 0], n_resamples=10, rng=0), "`n_resamples` must be >= 100"),
        (lambda: log_loss([0.5, 0.6], [1, 0], clip=0.5), r"`clip` must be in \(0, 0.5\)"),
        (lambda: expected_calibration_error([0.5, 0.6], [1, 0], bins=0), "`bins` must be >= 1"),
        (lambda: expected_calibration_error([0.5, 0.6], [1, 0], norm="l3"), '`norm` must be "l1"'),
        (lambda: reliability_curve([0.5, 0.6], [1, 0], strategy="mass"), "`strategy` must be"),
        (lambda: auroc([0.5], [1]), "at least 2 scores"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
