"""Permutations and bootstrap against enumeration, scipy and coverage."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crucible_bench import bootstrap, compare, compare_paired
from crucible_bench.errors import DegenerateDataError
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


RATIO = lambda a, b, axis=-1: b.mean(axis=axis) / a.mean(axis=axis)  # noqa: E731


def correlation(x, y, axis=-1):
    """Return Pearson's correlation along an axis."""
    a, b = (z - z.mean(axis=axis, keepdims=True) for z in (x, y))
    return (a * b).sum(axis=axis) / np.sqrt((a**2).sum(axis=axis) * (b**2).sum(axis=axis))


@pytest.mark.parametrize(
    ("ours", "theirs", "samples", "paired"),
    [
        ("mean", np.mean, (X,), False),
        ("median", np.median, (X,), False),
        ("std", lambda x, axis: np.std(x, ddof=1, axis=axis), (X,), False),
        (RATIO, RATIO, (X, Y), False),
        (RATIO, RATIO, (X, Y), True),
        (correlation, correlation, (X, 0.5 * X + Y), True),
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


@pytest.mark.parametrize(
    "scores",
    [
        np.repeat([0.0, 1.0], [300, 100]),
        np.repeat([-1.0, 0.0, 1.0], [9, 40, 15]),  # paired differences of 0/1 scores
        np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], [3, 8, 20, 12, 7]),
    ],
)
def test_few_distinct_values_are_drawn_as_counts_with_the_distribution_of_the_loop(scores):
    # means and studentised pivots of 6,000 against 6,000: a distance above .036 has p = .001
    rng = np.random.default_rng(1)
    rows = scores[rng.integers(scores.size, size=(6_000, scores.size))]
    ours = bootstrap("mean", scores, n_resamples=6_000, keep=True, rng=2)
    theirs = rows.mean(axis=1)
    found = np.round(np.array(ours.distribution), 9)
    assert stats.ks_2samp(found, np.round(theirs, 9)).statistic < 0.036
    pivots = (theirs - scores.mean()) / (rows.std(axis=1) / np.sqrt(scores.size - 1))
    spread = scores.std(ddof=1) / np.sqrt(scores.size)
    low, high = scores.mean() - np.quantile(pivots, [0.975, 0.025]) * spread
    width = ours.interval.high - ours.interval.low
    assert (ours.interval.low, ours.interval.high) == pytest.approx((low, high), abs=0.06 * width)


def test_a_paired_difference_of_zeros_and_ones_has_the_bca_interval_of_scipy():
    control, treatment = np.repeat([1, 1, 0, 0], [40, 9, 15, 20]), np.repeat([1, 0, 1, 0], [40, 9, 15, 20])  # fmt: skip
    ours = bootstrap("mean", control, treatment, paired=True, method="bca", rng=1).interval
    theirs = stats.bootstrap(
        (control, treatment), lambda a, b, axis: (b - a).mean(axis=axis), paired=True, rng=2
    ).confidence_interval  # fmt: skip
    # the distribution has steps of 1 / 84
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1.01 / 84)


def test_a_statistic_that_does_not_exist_is_an_error_or_counted():
    def ratio(a, b, axis=-1):
        with np.errstate(divide="ignore", invalid="ignore"):
            return b.mean(axis=axis) / a.mean(axis=axis)

    with pytest.raises(DegenerateDataError, match="not finite"):
        bootstrap(ratio, [0.0, 0.0, 0.0], [1.0, 2.0, 3.0], paired=True, rng=1)
    rare = bootstrap(ratio, [0.0, 0.0, 1.0], [1.0, 2.0, 3.0], paired=True, method="percentile", rng=1)  # fmt: skip
    # no 1 among three draws with probability (2 / 3)^3 = .296
    lost = int(rare.warnings[0].split(" on ")[1].split()[0])
    assert lost / 9_999 == pytest.approx(8 / 27, abs=0.014)


def test_scores_without_variation_give_a_point_and_say_so():
    found = bootstrap("mean", [0.5] * 10, rng=1)
    assert (found.interval.low, found.interval.high) == (0.5, 0.5)
    assert found.warnings == ("no variation: all resamples give one value, and the interval is a point",)  # fmt: skip


@pytest.mark.parametrize("statistic", [np.max, np.min, np.ptp])
def test_the_bootstrap_of_an_extreme_is_warned_of(statistic):
    assert "inconsistent for extremes" in bootstrap(statistic, X, rng=1).warnings[0]


@pytest.mark.parametrize("method", ["studentized", "bca", "percentile"])
def test_memory_blocks_change_nothing(monkeypatch, method):
    import crucible_bench.bootstrap_draws as draws

    scores = np.random.default_rng(3).exponential(size=41)  # odd: 32-bit draws come in pairs
    whole = bootstrap("mean", scores, method=method, n_resamples=501, rng=1)
    spread = bootstrap("std", scores, method="percentile", n_resamples=501, rng=1)
    monkeypatch.setattr(draws, "_BLOCK_BYTES", 12 * 41 * 7)  # seven rows at a time
    assert bootstrap("mean", scores, method=method, n_resamples=501, rng=1) == whole
    assert bootstrap("std", scores, method="percentile", n_resamples=501, rng=1) == spread


def test_a_difference_below_the_rounding_error_is_no_difference():
    # .1 + .2 - .3 is 5.6e-17, not 0: without the tolerance the arrangements that only restore the
    # data's own sums in another order would not count as being as extreme.
    control, treatment = [0.1, 0.2, 0.3, 0.7], [0.3, 0.3, 0.1, 0.9]
    whole = [round(10 * v) for v in control], [round(10 * v) for v in treatment]
    for paired in (False, True):
        exact = permutation_test(*whole, paired=paired)
        assert permutation_test(control, treatment, paired=paired).p_value == exact.p_value
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = rng.integers(0, 8, size=(2, 5))
        exact = permutation_test(x, y)
        assert permutation_test(x / 10, y / 10).p_value == exact.p_value
        assert permutation_test(x / 10, y / 10).min_p == exact.min_p
