"""The single tests against scipy, R's documentation and published values."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crucible_bench import anova, effects, intervals, means, ranks, tables
from crucible_bench.results import TestResult as Result

# R's `sleep`: treatment is group 2.
SLEEP = (
    np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]),
    np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]),
)
# R's `PlantGrowth`.
PLANTS = {
    "ctrl": [4.17, 5.58, 5.18, 6.11, 4.50, 4.61, 5.17, 4.53, 5.33, 5.14],
    "trt1": [4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69],
    "trt2": [6.31, 5.12, 5.54, 5.50, 5.37, 5.29, 4.92, 6.15, 5.80, 5.26],
}
# Hollander & Wolfe, table 7.1: rounding first base, 22 players x 3 methods (R, friedman.test).
ROUNDING = np.array(
    [
        float(value)
        for row in [
            "5.40 5.50 5.55",
            "5.85 5.70 5.75",
            "5.20 5.60 5.50",
            "5.55 5.50 5.40",
            "5.90 5.85 5.70",
            "5.45 5.55 5.60",
            "5.40 5.40 5.35",
            "5.45 5.50 5.35",
            "5.25 5.15 5.00",
            "5.85 5.80 5.70",
            "5.25 5.20 5.10",
            "5.65 5.55 5.45",
            "5.60 5.35 5.45",
            "5.05 5.00 4.95",
            "5.50 5.50 5.40",
            "5.45 5.55 5.50",
            "5.55 5.55 5.35",
            "5.45 5.50 5.55",
            "5.50 5.45 5.25",
            "5.65 5.60 5.40",
            "5.70 5.65 5.55",
            "6.30 6.30 6.25",
        ]
        for value in row.split()
    ]
).reshape(22, 3)
A, B = SLEEP
SAMPLES = st.lists(st.floats(-50, 50), min_size=4, max_size=25)


@given(SAMPLES, st.integers(0, 9_999), st.sampled_from(["two-sided", "greater", "less"]))
def test_t_tests_agree_with_scipy(x, seed, side):
    y = np.random.default_rng(seed).normal(size=9)
    if np.std(x) < 1e-3:
        return
    ours = means.student_t(x, y, alternative=side)
    theirs = stats.ttest_ind(y, x, alternative=side)
    assert ours.p_value == pytest.approx(float(theirs.pvalue), rel=1e-8, abs=1e-12)
    if np.ptp(np.sort(x)[int(0.2 * len(x)) : len(x) - int(0.2 * len(x))]) > 1e-3:
        ours = means.yuen_t(x, y, alternative=side)
        theirs = stats.ttest_ind(y, x, equal_var=False, trim=0.2, alternative=side)
        assert ours.p_value == pytest.approx(float(theirs.pvalue), rel=1e-7, abs=1e-12)


@given(st.data(), st.sampled_from(["two-sided", "greater", "less"]))
def test_mann_whitney_agrees_with_scipy(data, side):
    x = data.draw(st.lists(st.integers(0, 1_000), min_size=3, max_size=12, unique=True))
    y = data.draw(st.lists(st.integers(1_001, 3_000), min_size=3, max_size=12, unique=True))
    mixed = np.random.default_rng(len(x)).permutation(x + y).astype(float)
    x, y = mixed[: len(x)], mixed[len(x) :]
    theirs = stats.mannwhitneyu(y, x, method="exact", alternative=side)
    ours = ranks.mann_whitney(x, y, alternative=side)
    assert ours.method == "exact"
    assert ours.p_value == pytest.approx(float(theirs.pvalue), rel=1e-10)
    normal = ranks.mann_whitney(x // 100, y // 100, method="asymptotic", alternative=side)
    if normal.p_value is not None:
        expected = stats.mannwhitneyu(y // 100, x // 100, method="asymptotic", alternative=side)
        assert normal.p_value == pytest.approx(min(1.0, float(expected.pvalue)), rel=1e-9)


def test_mann_whitney_with_ties_is_exact_over_all_arrangements():
    x, y = np.array([1.0, 2.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0, 4.0, 5.0])

    def statistic(a, b, axis):
        return stats.mannwhitneyu(a, b, axis=axis, method="asymptotic").statistic

    for side in ("greater", "less"):
        theirs = stats.permutation_test(
            (y, x), statistic, alternative=side, vectorized=True, n_resamples=np.inf
        )
        assert ranks.mann_whitney(x, y, alternative=side).p_value == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize(("n", "floor"), [(3, 0.1), (4, 2 / 70), (5, 2 / 252)])
def test_so_few_scores_can_give_no_smaller_p(n, floor):
    # 2 / C(2n, n)
    test = ranks.mann_whitney(np.arange(n), np.arange(n) + 100)
    assert test.p_value == test.min_p == pytest.approx(floor)


@given(st.lists(st.integers(-500, 500), min_size=3, max_size=18))
def test_wilcoxon_agrees_with_enumeration_and_with_scipy(d):
    d = np.array([v for v in d if v != 0], dtype=float)
    if d.size < 2:
        return
    ours = ranks.wilcoxon(np.zeros(d.size), d, alternative="greater")
    r = stats.rankdata(np.abs(d))
    if d.size <= 12:
        signs = (np.arange(2**d.size)[:, None] >> np.arange(d.size)) & 1
        assert ours.p_value == pytest.approx((signs @ r >= r[d > 0].sum() - 1e-9).mean(), rel=1e-10)
    normal = ranks.wilcoxon(np.zeros(d.size), d, method="asymptotic")
    theirs = stats.wilcoxon(d, correction=True, method="asymptotic")
    assert normal.p_value == pytest.approx(min(1.0, float(theirs.pvalue)), rel=1e-9)


def test_sleep_data_give_rs_numbers():
    # R 4.3: t.test, wilcox.test(correct = TRUE) on `sleep`; Brunner-Munzel from scipy
    welch = means.welch_t(A, B)
    assert (welch.statistic, welch.df[0], welch.p_value) == pytest.approx(
        (1.8608, 17.776, 0.07939), abs=5e-5 * 17
    )
    assert (welch.interval.low, welch.interval.high) == pytest.approx((-0.2055, 3.3655), abs=5e-5)
    paired = means.paired_t(A, B)
    assert (paired.statistic, paired.p_value) == pytest.approx((4.0621, 0.002833), abs=5e-5)
    assert ranks.wilcoxon(A, B, method="asymptotic").p_value == pytest.approx(0.009091, abs=5e-7)
    assert ranks.wilcoxon(A, B).p_value == pytest.approx(2 / 512)
    assert ranks.brunner_munzel(A, B).p_value == pytest.approx(
        float(stats.brunnermunzel(B, A).pvalue)
    )
    yuen = means.yuen_t(A, B)
    assert (yuen.statistic, yuen.df[0]) == pytest.approx((1.616777, 8.264709), abs=1e-6)


@pytest.mark.parametrize(
    ("effect", "value", "low", "high"),
    [
        # spec of the package; R 4.3 packages effectsize (d_z, d) and MBESS
        (effects.d_z(B - A), 1.284558, 0.414628, 2.118017),
        (effects.cohens_d(A, B), 0.832181, -0.095450, 1.738817),
        (effects.cohens_d(A, B, standardizer="average"), 0.832181, -0.096061, 1.739189),
        (effects.d_av(A, B), 0.832181, 0.284367, 1.379995),
        (effects.prob_superiority(A, B), 0.745, 0.450872, 0.912247),
        (effects.eta_squared(4.846087862380135, (2, 27)), 0.264148, 0.009904, 0.463896),
        (effects.odds_ratio((48, 80), (56, 70)), 2.666667, 1.276218, 5.572020),
        (effects.odds_ratio((48, 80), (56, 70), kind="conditional"), 2.649187, 1.209115, 6.039873),
        (effects.risk_ratio((48, 80), (56, 70)), 1.333333, 1.076626, 1.651249),
        (effects.odds_ratio_paired(209, 152), 0.727273, 0.586215, 0.900571),
    ],
)
def test_effect_sizes_and_their_intervals(effect, value, low, high):
    assert effect.value == pytest.approx(value, abs=6e-7)
    assert (effect.interval.low, effect.interval.high) == pytest.approx((low, high), abs=6e-7)


def test_other_effect_sizes():
    assert effects.matched_rank_biserial(B - A).value == pytest.approx(1.0)
    assert effects.cohens_h((48, 80), (56, 70)).value == pytest.approx(0.442143, abs=1e-6)
    f, df = 4.846087862380135, (2.0, 27.0)
    assert effects.omega_squared(f, df).value == pytest.approx(0.204079, abs=1e-6)
    assert effects.epsilon_squared(f, df).value == pytest.approx(0.209641, abs=1e-6)
    assert effects.r_to_d(effects.d_to_r(0.7)) == pytest.approx(0.7)
    assert effects.log_odds_to_d(effects.d_to_log_odds(0.7)) == pytest.approx(0.7)
    assert effects.f_to_eta(effects.eta_to_f(0.2)) == pytest.approx(0.2)
    table = [[10, 20, 30], [20, 15, 5]]
    v = effects.cramers_v(stats.chi2_contingency(table, correction=False).statistic, 100, (2, 3))
    assert v.value == pytest.approx(
        float(stats.contingency.association(np.array(table))), rel=1e-10
    )


def test_effects_without_variation_say_why():
    assert effects.cohens_d([1.0, 1.0], [1.0, 1.0]).reason == "no variation"
    assert effects.hedges_g([1.0, 1.0], [2.0, 2.0]).reason == "infinite"
    assert effects.risk_ratio((0, 5), (2, 5)).value is None
    assert "Haldane" in effects.odds_ratio((0, 5), (2, 5)).reason


def test_plant_growth_gives_rs_numbers():
    # R 4.3: oneway.test, kruskal.test on PlantGrowth; dunn.test
    assert anova.one_way_anova(PLANTS).statistic == pytest.approx(4.846088, abs=1e-6)
    assert anova.one_way_anova(PLANTS).p_value == pytest.approx(0.01590996, abs=1e-8)
    welch = anova.welch_anova(PLANTS)
    assert (welch.statistic, welch.df[1], welch.p_value) == pytest.approx(
        (5.181, 17.128, 0.01739), abs=5e-4
    )
    kruskal = ranks.kruskal_wallis(PLANTS)
    assert (kruskal.statistic, kruskal.p_value) == pytest.approx((7.988229, 0.01842376), abs=1e-6)
    dunn = ranks.dunn(PLANTS)
    assert [t.p_value for t, _ in dunn.values()] == pytest.approx(
        [0.263684, 0.091164, 0.005], abs=1e-6
    )
    assert [p for _, p in dunn.values()] == pytest.approx([0.263684, 0.182328, 0.015001], abs=1e-6)


def test_rounding_times_give_rs_numbers():
    columns = list(ROUNDING.T)
    friedman = ranks.friedman(columns)
    assert (friedman.statistic, friedman.p_value) == pytest.approx(
        (11.142857, 0.003805041), abs=1e-6
    )
    assert friedman.effects[0].value == pytest.approx(0.253247, abs=1e-6)
    assert "7.121739" in friedman.notes[0]
    test = anova.rm_anova(columns)
    assert (test.statistic, test.df) == (pytest.approx(6.288308, abs=1e-6), (2.0, 42.0))
    assert test.p_value == pytest.approx(0.008439799, abs=1e-9)  # Greenhouse-Geisser
    assert "0.773501" in test.notes[0]
    assert "0.823371, p = 0.00718882" in test.notes[0]  # R: .007188822
    # R: .031281; .004084101
    assert "W = 0.707178, p = 0.0312813; uncorrected p = 0.0040841" in test.notes[1]
    assert [e.value for e in test.effects] == pytest.approx([0.230440, 0.020261], abs=1e-6)


def test_levene_is_scipys():
    ours = anova.levene(PLANTS)
    assert ours.p_value == pytest.approx(float(stats.levene(*PLANTS.values()).pvalue), rel=1e-10)


def test_counts_give_published_p_values():
    assert tables.fisher_exact((48, 80), (56, 70)).p_value == pytest.approx(0.012521130, abs=1e-9)
    g = tables.chi_square([[48, 32], [56, 14]], statistic="g")
    assert g.statistic == pytest.approx(7.184066714, abs=1e-9)
    z = tables.two_proportions((48, 80), (56, 70))
    assert (z.statistic, z.p_value) == pytest.approx((2.641323272, 0.008258288), abs=1e-9)
    assert (z.interval.low, z.interval.high) == pytest.approx((0.052829713, 0.338172940), abs=1e-9)
    newcombe = tables.two_proportions((48, 80), (56, 70), interval="newcombe").interval
    assert (newcombe.low, newcombe.high) == pytest.approx((0.052431472, 0.333872654), abs=1e-9)
    table = np.array([[48, 32], [56, 14]])
    yates = tables.chi_square(table, yates=True)
    assert yates.p_value == pytest.approx(float(stats.chi2_contingency(table).pvalue), rel=1e-10)


@given(st.integers(0, 15), st.integers(0, 15), st.sampled_from(["two-sided", "greater", "less"]))
def test_fisher_agrees_with_scipy(x, y, side):
    theirs = stats.fisher_exact([[y, 15 - y], [x, 15 - x]], alternative=side)
    ours = tables.fisher_exact((x, 15), (y, 15), alternative=side)
    assert ours.p_value == pytest.approx(float(theirs.pvalue), rel=1e-9)


def test_paired_counts_give_published_values():
    # Fagerland, Lydersen & Laake 2013, table 1: (1, 1, 7, 12)
    assert tables.mcnemar(1, 7, pairs=21, kind="exact").p_value == pytest.approx(0.0703125)
    assert tables.mcnemar(1, 7, pairs=21).p_value == pytest.approx(0.0390625)
    tango = tables.paired_table(1, 1, 7, 12).confidence_interval
    assert (tango.low, tango.high) == pytest.approx((0.026003, 0.517232), abs=1e-6)
    newcombe = intervals.newcombe_paired(1, 1, 7, 12)
    assert (newcombe.low, newcombe.high) == pytest.approx((0.025559, 0.506920), abs=1e-6)
    altman = intervals.newcombe_paired(14, 5, 0, 22)  # Altman 2000
    assert (altman.low, altman.high) == pytest.approx((-0.226493, -0.011483), abs=1e-6)
    assert tables.mcnemar(5, 0, pairs=41).p_value == pytest.approx(0.03125)


def test_one_proportion_is_tested_exactly_or_not_at_all():
    assert tables.one_proportion(81, 263).p_value is None
    exact = tables.one_proportion(7, 10, null=0.5)
    assert exact.p_value == pytest.approx(float(stats.binomtest(7, 10).pvalue))


@pytest.mark.parametrize(
    "test",
    [
        means.welch_t([1.0, 1.0], [1.0, 1.0]),
        means.yuen_t([1.0] * 5, [1.0] * 5),
        anova.one_way_anova([[1.0, 1.0], [2.0, 2.0]]),
        anova.rm_anova([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]),
        ranks.mann_whitney([3.0, 3.0], [3.0, 3.0]),
        ranks.wilcoxon([3.0, 3.0], [3.0, 3.0]),
        ranks.kruskal_wallis([[1.0, 1.0], [1.0, 1.0]]),
        ranks.friedman([[1.0, 1.0], [1.0, 1.0]]),
        tables.cochran_q([[1, 0, 1], [1, 0, 1]]),
    ],
    ids=lambda test: test.name,
)
def test_constant_scores_are_explained_and_go_through_json(test):
    assert test.statistic is None
    assert test.notes
    text = json.dumps(test.to_dict(), allow_nan=False)
    assert Result.from_dict(json.loads(text)) == test


def test_variance_and_median_intervals():
    x = np.random.default_rng(4).normal(size=12)
    found = intervals.variance_interval(x)
    # closed form: (n - 1) s^2 over chi-square quantiles
    s2 = 11 * x.var(ddof=1)
    assert (found.low, found.high) == pytest.approx(
        (s2 / stats.chi2.ppf(0.975, 11), s2 / stats.chi2.ppf(0.025, 11))
    )
    median = intervals.median_interval(np.arange(1.0, 101.0))
    assert (median.low, median.high) == (40.0, 61.0)  # ranks of Conover 1999 for n = 100
    assert math.isclose(median.level, 0.95)


def test_one_sample_t_agrees_with_scipy():
    x = np.random.default_rng(0).normal(size=17)
    theirs = stats.ttest_1samp(x, 0.2, alternative="greater")
    ours = means.one_sample_t(x, mean=0.2, alternative="greater")
    assert ours.p_value == pytest.approx(float(theirs.pvalue), rel=1e-10)
