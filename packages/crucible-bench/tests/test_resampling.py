"""Permutations and bootstrap against enumeration, scipy and coverage."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crucible_bench import bootstrap, compare, compare_paired
from crucible_bench.permutations import paired_permutation, permutation_test

X, Y = np.random.default_rng(0).exponential(size=(2, 40)) + np.array([[0.0], [0.2]])


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=9))
def test_sign_flips_are_enumerated_exactly(d):
    d = np.array(d, dtype=float)
    sums = [abs(np.dot(s, d)) for s in itertools.product((1, -1), repeat=d.size)]
    test = paired_permutation(np.zeros(d.size), d)
    assert test.method == "exact"
    assert test.p_value == pytest.approx(np.mean([s >= abs(d.sum()) - 1e-9 for s in sums]))


def test_two_groups_are_enumerated_exactly():
    # 2 of the 252 choices of 5 of 10 are as extreme
    a, b = [0.89, 0.87, 0.90, 0.88, 0.91], [0.96, 0.97, 0.94, 0.95, 0.98]
    for statistic in ("mean_difference", "studentized"):
        assert permutation_test(a, b, statistic=statistic).p_value == pytest.approx(2 / 252)
    assert compare(a, b, test="permutation").p_value == pytest.approx(2 / 252)


@pytest.mark.parametrize("paired", [False, True])
def test_sampled_permutations_agree_with_scipy(paired):
    ours = permutation_test(X, Y, paired=paired, alternative="greater", rng=1).p_value
    theirs = stats.permutation_test(
        (Y, X),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        alternative="greater",
        rng=2,
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.02)  # 3 standard errors of two samples of 9,999


def test_zero_one_scores_are_drawn_from_the_hypergeometric_distribution():
    x, y = np.repeat([0.0, 1.0], [30, 30]), np.repeat([0.0, 1.0], [20, 40])
    p = permutation_test(x, y, rng=0, n_resamples=50_000).p_value
    assert p == pytest.approx(float(stats.fisher_exact([[40, 20], [30, 30]]).pvalue), abs=0.006)


def test_permutations_beyond_enumeration_need_a_seed():
    with pytest.raises(ValueError, match="`rng` is required"):
        compare_paired(X, Y, test="permutation")


def test_one_seed_is_one_result_and_a_generator_moves_on():
    first = permutation_test(X, Y, rng=5)
    assert permutation_test(X, Y, rng=5) == first
    generator = np.random.default_rng(5)
    permutation_test(X, Y, rng=generator)
    assert permutation_test(X, Y, rng=generator).p_value != first.p_value


def test_the_permutation_interval_agrees_with_its_p_value():
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x, y = rng.exponential(size=8), rng.exponential(size=8) + 0.9
        for result in (
            compare(x, y, test="permutation", n_resamples=20_000),
            compare_paired(x, y, test="permutation"),
        ):
            low, high = result.confidence_interval.low, result.confidence_interval.high
            assert (result.p_value <= 0.05) == (low > 0 or high < 0)


def test_auto_replaces_t_where_scores_are_few_or_skewed_and_says_why():
    rng = np.random.default_rng(1)
    few = compare(rng.normal(size=8), rng.normal(size=8), test="auto", rng=0)
    assert (few.test, few.selection.rule) == ("permutation", "auto")
    assert "n = 8 < 15" in few.selection.reasons[-1]
    skewed = compare(rng.lognormal(size=20), rng.lognormal(size=20), test="auto", rng=0)
    assert "skewness" in skewed.selection.reasons[-1]
    many = compare(rng.normal(size=50), rng.normal(size=50), test="auto")
    assert many.test == "welch_t"
    dominance = compare(rng.normal(size=8), rng.normal(size=8), estimand="dominance")
    assert dominance.test == "mann_whitney"
    assert dominance.difference == pytest.approx(
        dominance.effect_sizes["prob_superiority"].value - 0.5
    )


def test_auto_keeps_its_level_with_unequal_variances():
    # Janssen's studentised permutation: 400 runs of SD 3, n = 10 against SD 1, n = 30; 3 SE = .033
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(400):
        x, y = rng.normal(scale=3, size=10), rng.normal(size=30)
        test = compare(x, y, test="auto", n_resamples=399, rng=rng, robustness=False)
        rejected += test.p_value <= 0.05
    assert rejected / 400 == pytest.approx(0.05, abs=0.033)


RATIO = lambda a, b, axis=-1: b.mean(axis=axis) / a.mean(axis=axis)  # noqa: E731


@pytest.mark.parametrize(
    ("ours", "theirs", "samples", "paired"),
    [
        ("mean", np.mean, (X,), False),
        ("median", np.median, (X,), False),
        ("std", lambda x, axis: np.std(x, ddof=1, axis=axis), (X,), False),
        (RATIO, RATIO, (X, Y), False),
        (RATIO, RATIO, (X, Y), True),
    ],
)
def test_bca_agrees_with_scipy_within_monte_carlo_error(ours, theirs, samples, paired):
    found = bootstrap(ours, *samples, paired=paired, method="bca", rng=1).interval
    expected = stats.bootstrap(
        samples, theirs, paired=paired, method="BCa", rng=2
    ).confidence_interval
    width = float(expected.high - expected.low)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.05 * width)


def test_the_median_without_each_item_is_numpys():
    from crucible_bench.jackknife import influences

    for n in (2, 3, 8, 9):
        x = np.random.default_rng(n).normal(size=n)
        left = np.array([np.median(np.delete(x, i)) for i in range(n)])
        (found,) = influences("median", np.median, [x], False, None)
        assert found == pytest.approx((n - 1) * (left.mean() - left))


def test_short_cuts_have_the_distribution_of_resampling():
    x = np.random.default_rng(1).exponential(size=31)
    short = bootstrap("median", x, method="percentile", keep=True, rng=1).distribution
    long = bootstrap(
        lambda v, axis: np.median(v, axis=axis), x, method="percentile", keep=True, rng=2
    ).distribution
    assert stats.ks_2samp(short, long).statistic < 0.03
    even = bootstrap("median", x[:30], method="percentile", keep=True, rng=1).distribution
    slow = bootstrap(
        lambda v, axis: np.median(v, axis=axis), x[:30], method="percentile", keep=True, rng=2
    )
    assert stats.ks_2samp(even, slow.distribution).statistic < 0.03


def test_the_studentised_interval_covers_where_percentile_does_not():
    # exponential n = 20 (spec of the package: .944 against .898); 600 runs, 3 SE = .03
    rng = np.random.default_rng(6)
    hits = {"studentized": 0, "percentile": 0}
    for _ in range(600):
        x = rng.exponential(size=20)
        for method in hits:
            found = bootstrap("mean", x, method=method, n_resamples=999, rng=rng).interval
            hits[method] += found.low <= 1 <= found.high
    assert hits["studentized"] / 600 == pytest.approx(0.944, abs=0.03)
    assert hits["percentile"] < hits["studentized"]


def test_copies_do_not_shrink_a_cluster_bootstrap():
    x = np.random.default_rng(2).normal(size=25)
    copies = bootstrap("mean", np.repeat(x, 8), cluster=np.repeat(np.arange(25), 8), rng=1)
    once = bootstrap("mean", x, method="bca", rng=1)
    assert copies.standard_error == pytest.approx(once.standard_error, rel=0.05)
    slow = bootstrap(
        "median", np.repeat(x, 8), cluster=np.repeat(np.arange(25), 8), n_resamples=300, rng=1
    )
    assert slow.standard_error > 0.05


def test_blocks_keep_the_dependence_of_neighbours():
    rng = np.random.default_rng(4)
    walk = np.convolve(rng.normal(size=400), np.ones(10), mode="valid")  # 10 neighbours share noise
    alone = bootstrap("mean", walk, method="percentile", rng=1).standard_error
    blocks = bootstrap("mean", walk, block_length=20, rng=1).standard_error
    assert blocks > 2 * alone


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "jackknife"}, "`method` is not known"),
        ({"n_resamples": 1}, "`n_resamples` must be >= 2"),
        ({"method": "bca", "block_length": 3}, "assumes independent scores"),
        ({"block_length": 99}, r"`block_length` must be in \[1, 40\]"),
    ],
)
def test_bad_bootstrap_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        bootstrap("mean", X, rng=0, **arguments)
    with pytest.raises(ValueError, match="is for means"):
        bootstrap("median", X, method="studentized", rng=0)


def test_extremes_are_warned_about():
    assert "inconsistent" in bootstrap(np.max, X, rng=0, method="percentile").warnings[0]


def test_zero_one_means_and_differences_work_without_variation():
    assert bootstrap("mean", [1, 1, 1], rng=0).interval.low == 1.0
    both = bootstrap("mean", [0, 1, 1, 0], [1, 1, 1, 0], rng=0)
    assert both.estimate == pytest.approx(0.25)


def test_every_subset_of_a_size_is_drawn_equally_often():
    # 20 subsets of 3 of 6, 40,000 draws: chi-square below its 99.9 % quantile (19 df)
    from crucible_bench.permutation_draws import subset_sums

    sums = subset_sums(2.0 ** np.arange(6), 3, 40_000, np.random.default_rng(0))
    values, counts = np.unique(sums, return_counts=True)
    assert values.size == 20
    assert stats.chisquare(counts).statistic < stats.chi2.ppf(0.999, 19)


def test_the_percentile_bootstrap_agrees_with_scipy():
    x = np.random.default_rng(2).exponential(size=80)
    ours = bootstrap("mean", x, method="percentile", rng=0).interval
    theirs = stats.bootstrap((x,), np.mean, method="percentile", rng=1).confidence_interval
    # two runs of 9,999 resamples: the limits' Monte Carlo error is about 1 % of the width
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02 * float(theirs.high - theirs.low))  # fmt: skip


def test_the_bootstrap_needs_a_generator_and_repeats_with_its_seed():
    x = np.arange(10.0)
    assert bootstrap("median", x, rng=4) == bootstrap("median", x, rng=4)
    with pytest.raises(TypeError, match="rng"):
        bootstrap("median", x)
