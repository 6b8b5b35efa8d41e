"""Quantiles against scipy and exact ranks; their differences against plain resampling."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crucible_bench.quantile_resampling import blocks, clustered, independent, paired
from crucible_bench.quantiles import harrell_davis, quantile, quantile_difference, quantile_ratio

# Wilcox, Introduction to Robust Estimation, self-awareness data
WILCOX = [77, 87, 88, 114, 151, 210, 219, 246, 253, 262, 296, 299, 306, 376, 428, 515, 666, 1310, 2611]  # fmt: skip


@pytest.mark.parametrize(("q", "value"), [(10, 93.304824), (50, 271.721201), (90, 1367.915356)])
def test_harrell_davis_gives_wilcoxs_values(q, value):
    # = scipy.stats.mstats.hdquantiles
    result = quantile(WILCOX, q, method="harrell_davis")
    assert result.value == pytest.approx(value, abs=1e-6)
    assert result.value == pytest.approx(float(stats.mstats.hdquantiles(WILCOX, q / 100)[0]))


@pytest.mark.parametrize(
    ("n", "q", "ranks"),
    # binomial tail probabilities by hand; R's quantileCI for n = 100
    [(100, 50, (40, 61)), (1000, 99, (983, 997)), (368, 99, (360, 368)), (367, 99, (359, None))],
)
def test_the_interval_is_made_of_exact_order_statistics(n, q, ranks):
    interval = quantile(np.arange(1, n + 1), q).interval
    assert (interval.low, interval.high) == ranks


def test_a_thin_tail_is_flagged():
    assert quantile(np.arange(1000.0), 99).warnings == ()
    assert quantile(np.arange(300.0), 99).warnings == (
        "only 3.0 observations of `x` are expected beyond P99",
    )
    contrast = quantile_difference(np.arange(50.0), np.arange(2000.0), 5, paired=False, rng=0)
    assert contrast.warnings == ("only 2.5 observations of `control` are expected beyond P5",)


def _loop(samples, q, size, rng, shared):
    """The bootstrap as everybody writes it."""
    drawn = [[] for _ in samples]
    for _ in range(size):
        picks = rng.integers(samples[0].size, size=samples[0].size)
        for found, x in zip(drawn, samples, strict=True):
            mine = picks if shared else rng.integers(x.size, size=x.size)
            found.append(np.percentile(x[mine], q))
    return [np.array(d) for d in drawn]


def _distance(first, second):
    return stats.ks_2samp(np.round(first, 9), np.round(second, 9)).statistic


@pytest.mark.parametrize("q", [1, 30, 50, 90, 99])
def test_the_short_cuts_have_the_distribution_of_the_loop(q):
    # Kolmogorov-Smirnov distance of 4,000 against 4,000: above .043 with p = .001 only. Rounded,
    # since the last bit of an interpolated value would make two atoms of one.
    rng = np.random.default_rng(q)
    a = rng.lognormal(size=150)
    b = a * 1.1 + rng.normal(size=150) * 0.3
    loop = _loop([a, b], q, 4_000, rng, shared=True)
    one = independent(a, q, 4_000, rng)
    assert _distance(one, loop[0]) < 0.043
    first, second = paired(a, b, q, 4_000, rng)
    assert _distance(second, loop[1]) < 0.043
    # the joint distribution, not only the margins
    assert _distance(second - first, loop[1] - loop[0]) < 0.043


def test_clusters_of_one_are_the_plain_bootstrap():
    rng = np.random.default_rng(3)
    a = rng.exponential(size=80)
    (grouped,) = clustered(((a, np.arange(80.0)),), 75, 4_000, rng)
    assert _distance(grouped, independent(a, 75, 4_000, rng)) < 0.043


def test_a_resample_of_unequal_clusters_is_a_quantile_of_its_observations():
    # With 2 clusters every resample is (0,0), (0,1) or (1,1): numpy gives the three values.
    x, group = np.array([1.0, 2, 3, 10, 20]), np.array([0.0, 0, 0, 1, 1])
    (drawn,) = clustered(((x, group),), 60, 500, np.random.default_rng(0))
    both = [np.r_[x[:3], x[:3]], x, np.r_[x[3:], x[3:]]]
    assert set(np.round(drawn, 9)) == {round(float(np.percentile(d, 60)), 9) for d in both}


def test_blocks_of_the_whole_length_never_vary():
    x = np.random.default_rng(0).normal(size=40)
    (drawn,) = blocks((x,), 50, 100, 40, np.random.default_rng(1))
    assert np.ptp(drawn) == 0
    assert drawn[0] == pytest.approx(float(np.percentile(x, 50)))


def test_blocks_widen_the_interval_of_latencies_that_drift():
    rng = np.random.default_rng(4)
    slow = np.repeat(rng.normal(size=40), 25) + 0.1 * rng.normal(size=1000)
    arms = (slow, rng.permutation(slow))
    plain = quantile_difference(*arms, 50, paired=False, rng=1)
    moving = quantile_difference(*arms, 50, paired=False, block_length=50, rng=1)
    assert moving.standard_error > 1.5 * plain.standard_error
    assert moving.method == "moving blocks of 50"


def test_the_difference_of_p99_covers():
    # lognormal, n = 1,000, no difference; 600 runs: .95 within 3 standard errors (.027)
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(600):
        a, b = rng.lognormal(size=(2, 1000))
        result = quantile_difference(a, b, 99, paired=False, n_resamples=999, rng=rng)
        covered += result.interval.low <= 0 <= result.interval.high
    assert covered / 600 == pytest.approx(0.955, abs=0.03)  # the spec's band is .94 to .97


def test_pairing_narrows_the_interval_of_correlated_latencies():
    rng = np.random.default_rng(5)
    base = rng.lognormal(size=500)
    slow, fast = base + 0.05 * rng.random(500), base * 0.9 + 0.05 * rng.random(500)
    together = quantile_difference(slow, fast, 90, paired=True, rng=1)
    apart = quantile_difference(slow, fast, 90, paired=False, rng=1)
    assert together.estimate == apart.estimate == pytest.approx(np.percentile(fast, 90) - np.percentile(slow, 90))  # fmt: skip
    assert together.standard_error < 0.5 * apart.standard_error
    assert together.p_value < 0.01 < apart.p_value


def test_repeats_of_one_item_add_no_evidence():
    rng = np.random.default_rng(6)
    a, b = rng.lognormal(size=(2, 60))
    once = quantile_difference(a, b, 50, paired=True, rng=1)
    tiled = quantile_difference(np.tile(a[:, None], 10), np.tile(b[:, None], 10), 50, paired=True, rng=1)  # fmt: skip
    pretended = quantile_difference(np.tile(a, 10), np.tile(b, 10), 50, paired=True, rng=1)
    assert tiled.n_clusters == (60, 60)
    assert tiled.standard_error == pytest.approx(once.standard_error, rel=0.15)
    assert pretended.standard_error < 0.5 * once.standard_error


def test_missing_repeats_are_left_out():
    a = np.array([[1.0, 2.0], [3.0, math.nan], [5.0, 6.0]])
    result = quantile_difference(a, a + 1, 50, paired=True, rng=0)
    assert (result.n, result.n_clusters) == ((5, 5), (3, 3))
    assert (result.estimate, result.interval.low, result.interval.high) == (1.0, 1.0, 1.0)


def test_a_ratio_is_against_one():
    rng = np.random.default_rng(7)
    a = rng.lognormal(size=400)
    same = quantile_ratio(a, rng.lognormal(size=400), 50, paired=False, rng=1)
    assert same.interval.low < 1 < same.interval.high
    assert same.p_value > 0.05
    halved = quantile_ratio(a, a / 2, 95, paired=True, rng=1)
    assert (halved.estimate, halved.interval.low) == pytest.approx((0.5, 0.5))
    assert halved.p_value == pytest.approx(2 / 10_000)


def test_one_seed_gives_one_answer():
    a, b = np.random.default_rng(1).lognormal(size=(2, 300))
    call = [quantile_difference(a, b, 99, paired=True, rng=3).to_dict() for _ in range(2)]
    assert call[0] == call[1]


@settings(max_examples=40)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=60), st.floats(0.5, 99.5))
def test_harrell_davis_lies_between_the_extremes_and_turns_with_the_data(x, q):
    values = np.array(x)
    forward = harrell_davis(values, q)
    assert values.min() - 1e-9 <= forward <= values.max() + 1e-9
    assert harrell_davis(-values, 100 - q) == pytest.approx(-forward, abs=1e-6)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=3, max_size=40), st.floats(1, 99))
def test_swapping_paired_arms_mirrors_the_difference(x, q):
    a = np.array(x, dtype=float)
    b = a[::-1].copy()
    forward = quantile_difference(a, b, q, paired=True, n_resamples=200, rng=2)
    backward = quantile_difference(b, a, q, paired=True, n_resamples=200, rng=2)
    assert backward.estimate == pytest.approx(-forward.estimate)
    assert backward.interval.low == pytest.approx(-forward.interval.high)
    assert forward.interval.low <= forward.interval.high


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: quantile([1, 2, 3], 0), r"`q` must be in \(0, 100\), got 0"),
        (lambda: quantile([1, 2, 3], 50, method="type6"), "`method` must be"),
        (lambda: quantile([[1, 2], [3, 4]], 50), "`x` must have one dimension"),
        (lambda: quantile_difference([1, 2], [1, 2, 3], 50, paired=True, rng=0), "must be paired"),
        (lambda: quantile_difference([1, 2], [1, 2], 50, paired=True, n_resamples=9, rng=0), "`n_resamples` must be >= 100"),
        (lambda: quantile_difference([1, 2], [1, 2], 50, paired=True, cluster=[1, 1], rng=0), "at least 2 clusters"),
        (lambda: quantile_difference([1, 2], [1, 2], 50, paired=False, cluster=[1, 2], rng=0), "`cluster` must be a pair"),
        (lambda: quantile_difference([1, 2], [1, 2], 50, paired=False, cluster=([1, 2], [2, 3]), rng=0), "must differ between independent arms"),
        (lambda: quantile_difference([1, 2], [1, 2], 50, paired=True, cluster=[1, 2, 3], rng=0), "one label per score"),
        (lambda: quantile_difference([1, 2], [1, 2], 50, paired=True, block_length=3, rng=0), r"`block_length` must be in \[1, n\]"),
        (lambda: quantile_difference([1, 2], [1, 2], 50, paired=True, block_length=1, cluster=[1, 2], rng=0), "must not be given with clusters"),
        (lambda: quantile_ratio([0, 2], [1, 2], 50, paired=True, rng=0), "`control` must be > 0 for a ratio, got 0"),
        (lambda: quantile_difference([1, math.nan], [1, 2], 50, paired=True, rng=0), "must not hold NaN"),
        (lambda: quantile_difference([1, math.inf], [1, 2], 50, paired=True, rng=0), "infinity"),
    ],
)  # fmt: skip
def test_bad_requests_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_quantile_intervals_cover():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(2_000):
        interval = quantile(rng.exponential(size=60), 50).interval
        hits += interval.low <= np.log(2) <= interval.high
    assert hits / 2_000 >= 0.94  # conservative by construction, 3 standard errors below .95
