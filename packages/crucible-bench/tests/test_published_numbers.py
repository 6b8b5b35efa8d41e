"""Worked examples with every digit: closed forms, R's documentation, papers (spec of the package)."""

import math

import numpy as np
import pytest
from scipy import stats

from crucible_bench import compare, compare_paired, correct
from crucible_bench.anova import rm_anova
from crucible_bench.clusters import cluster_mean
from crucible_bench.intervals import proportion_interval
from crucible_bench.means import yuen_t
from crucible_bench.permutations import permutation_test
from crucible_bench.ranks import brunner_munzel, mann_whitney
from crucible_bench.tables import mcnemar, paired_table
from crucible_bench.variance_components import variance_components

CONTROL = [0.89, 0.87, 0.90, 0.88, 0.91]
TREATMENT = [0.96, 0.97, 0.94, 0.95, 0.98]
SLEEP = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)
DIGITS = 1e-9


def ends(interval):
    return interval.low, interval.high


def test_the_worked_example_to_every_digit():
    found = compare(CONTROL, TREATMENT)
    # Welch: scipy 1.17; d and g: noncentral t
    assert found.difference == pytest.approx(0.07, rel=DIGITS)
    assert found.statistic == pytest.approx(7.000000000000011, rel=DIGITS)
    assert found.df == pytest.approx((8.0,), rel=DIGITS)
    assert found.p_value == pytest.approx(0.00011263854912686785, rel=DIGITS)
    assert ends(found.confidence_interval) == pytest.approx((0.046939958647958, 0.093060041352042), rel=DIGITS)  # fmt: skip
    narrow = compare(CONTROL, TREATMENT, confidence=0.9).confidence_interval
    assert ends(narrow) == pytest.approx((0.051404519625, 0.088595480375), rel=DIGITS)
    assert found.control.sd == pytest.approx(0.015811388, abs=5e-10)
    assert found.effect_size.value == pytest.approx(4.427188724235738, rel=DIGITS)
    assert ends(found.effect_size.interval) == pytest.approx((1.934811441, 6.858309476), rel=DIGITS)
    assert found.effect_size.magnitude == "very large"
    g = found.effect_sizes["hedges_g"]
    assert g.value == pytest.approx(3.996438020, rel=DIGITS)
    assert ends(g.interval) == pytest.approx((1.746560737, 6.191018827), rel=DIGITS)
    # 2 of C(10, 5) = 252 arrangements
    assert mann_whitney(CONTROL, TREATMENT).p_value == pytest.approx(2 / 252, rel=DIGITS)
    assert permutation_test(CONTROL, TREATMENT).p_value == pytest.approx(2 / 252, rel=DIGITS)
    yuen = yuen_t(CONTROL, TREATMENT)
    assert (yuen.statistic, yuen.df[0]) == pytest.approx((6.062177826, 4.0), rel=DIGITS)
    assert yuen.p_value == pytest.approx(0.003738446, abs=5e-10)


def test_paired_sleep_has_rs_interval_and_scipys_brunner_munzel():
    # R 4.3: t.test(paired = TRUE)
    assert ends(compare_paired(*SLEEP).confidence_interval) == pytest.approx((0.7001, 2.4599), abs=5e-5)  # fmt: skip
    assert brunner_munzel(*SLEEP).p_value == pytest.approx(0.046816, abs=5e-7)
    # 2 of 2^9 signs: one difference is zero, all others are positive
    exact = compare_paired(*SLEEP).robustness[-1]
    assert (exact.name, exact.p_value) == ("paired_permutation", pytest.approx(2 / 512))


def test_twenty_trials_without_a_success_have_wilsons_upper_limit():
    # closed form: z^2 / (n + z^2)
    assert ends(proportion_interval(0, 20)) == pytest.approx((0.0, 0.161125), abs=5e-7)


def test_tango_of_sixty_and_forty():
    found = paired_table(60, 20, 40, 40).confidence_interval
    assert ends(found) == pytest.approx((0.030865, 0.218064), abs=5e-7)


def test_graded_gsm8k_solutions_to_every_digit():
    # 1,319 items graded by OpenAI: both, control only, treatment only, neither
    found = paired_table(306, 209, 152, 652)
    assert found.difference == pytest.approx(-0.043214556, abs=5e-10)
    assert mcnemar(209, 152, pairs=1_319, kind="exact").p_value == pytest.approx(0.003150657, abs=5e-10)  # fmt: skip
    assert found.p_value == pytest.approx(0.002687391, abs=5e-10)
    assert ends(found.confidence_interval) == pytest.approx((-0.071458, -0.015052), abs=5e-7)
    ninety = paired_table(306, 209, 152, 652, confidence=0.9).confidence_interval
    assert ends(ninety) == pytest.approx((-0.066896, -0.019591), abs=5e-7)
    odds = found.effect_sizes["odds_ratio"]
    assert (odds.value, *ends(odds.interval)) == pytest.approx((0.727273, 0.586215, 0.900571), abs=5e-7)  # fmt: skip
    posterior = found.bayes(rope=0.02)
    assert ends(posterior.interval) == pytest.approx((-0.071300, -0.015040), abs=5e-7)
    assert posterior.probability_in_rope == pytest.approx(0.053218, abs=5e-7)


@pytest.mark.parametrize(
    ("table", "sesoi", "outcome"),
    [
        ((306, 209, 152, 652), 0.01, "inferior"),
        ((306, 209, 152, 652), 0.02, "inconclusive"),
        ((306, 209, 152, 652), 0.08, "equivalent"),
        ((198, 88, 260, 773), 0.05, "superior"),
    ],
)
def test_verdicts_on_graded_gsm8k_solutions(table, sesoi, outcome):
    found = paired_table(*table, sesoi=sesoi)
    assert found.verdict.outcome == outcome
    assert found.verdict.excludes_zero
    if outcome == "superior":
        assert found.difference == pytest.approx(0.130402, abs=5e-7)
        assert ends(found.confidence_interval) == pytest.approx((0.103708, 0.157456), abs=5e-7)


def test_four_standard_errors_of_one_clustered_mean():
    y, sizes = [1, 1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0], [4, 3, 5, 2]
    labels = np.repeat(np.arange(4), sizes)
    cr1 = cluster_mean(y, labels, variance="CR1").se
    assert cr1 == pytest.approx(0.200131846, abs=5e-10)
    assert cr1 * math.sqrt(3 / 4) == pytest.approx(0.173319263, abs=5e-10)  # Miller 2024, eq. 4
    cr2 = cluster_mean(y, labels)
    assert (cr2.se, cr2.df) == pytest.approx((0.205081297, 2.666068), abs=5e-7)
    assert np.std(y, ddof=1) / math.sqrt(14) == pytest.approx(0.132894358, abs=5e-10)  # iid


@pytest.mark.parametrize(
    ("method", "adjusted"),
    [
        # R 4.3: p.adjust
        ("none", [0.001, 0.01, 0.02, 0.03, 0.04, 0.05]),
        ("bonferroni", [0.006, 0.06, 0.12, 0.18, 0.24, 0.30]),
        ("holm", [0.006, 0.05, 0.08, 0.09, 0.09, 0.09]),
        ("hochberg", [0.006, 0.05, 0.05, 0.05, 0.05, 0.05]),
        ("benjamini_hochberg", [0.006, 0.03, 0.04, 0.045, 0.048, 0.05]),
        ("benjamini_yekutieli", [0.0147, 0.0735, 0.098, 0.11025, 0.1176, 0.1225]),
    ],
)
def test_six_p_values_are_corrected_as_by_r(method, adjusted):
    found = correct([0.001, 0.01, 0.02, 0.03, 0.04, 0.05], method=method, family="six")
    assert found.adjusted == pytest.approx(adjusted, rel=DIGITS)
    rejected = {"none": 6, "bonferroni": 1, "holm": 2, "hochberg": 6, "benjamini_hochberg": 6}
    assert sum(found.rejected) == rejected.get(method, 1)


def test_p_values_out_of_order_are_corrected_as_by_r():
    p = [0.01, 0.04, 0.03, 0.005, 0.2, 0.5]
    assert correct(p, family="f").adjusted == pytest.approx([0.05, 0.12, 0.12, 0.03, 0.4, 0.5])
    by = correct(p, method="benjamini_yekutieli", family="f").adjusted
    assert by == pytest.approx([0.0735, 0.147, 0.147, 0.0735, 0.588, 1.0])


@pytest.mark.parametrize(("n", "floor"), [(3, 0.1), (4, 0.0286), (5, 0.0079)])
def test_mann_whitneys_floor(n, floor):
    # 2 / C(2n, n)
    assert mann_whitney(range(n), range(n, 2 * n)).min_p == pytest.approx(floor, abs=5e-5)


@pytest.mark.parametrize(("n", "floor"), [(4, 0.125), (5, 0.0625), (6, 0.03125)])
def test_wilcoxons_floor(n, floor):
    # 2 / 2^n
    found = compare_paired(np.zeros(n), np.arange(1.0, n + 1), test="wilcoxon")
    assert found.p_value == pytest.approx(floor)
    assert any("cannot reach alpha" in w for w in found.warnings) == (floor > 0.05)
    assert found.significant == (floor <= 0.05)


def test_generalised_eta_squared_is_between_zero_and_the_partial_one():
    rng = np.random.default_rng(3)
    base = rng.normal(size=30)
    columns = [base + shift + rng.normal(size=30) for shift in (0.0, 0.2, 0.9)]
    partial, generalised = rm_anova(columns).effects
    assert 0 < generalised.interval.low < generalised.value < generalised.interval.high
    assert generalised.interval.high < partial.interval.high
    # one score per subject and no subjects' variance: both are the same
    from crucible_bench.effects import generalized_eta_squared, partial_eta_squared

    alone = generalized_eta_squared(3.0, 7.0, 0.0, (2, 40))
    same = partial_eta_squared(3.0 / 2 / (7.0 / 40), (2, 40))
    assert (alone.value, *ends(alone.interval)) == pytest.approx((same.value, *ends(same.interval)))


def test_the_sd_between_repeats_is_reported_beside_the_icc():
    table = np.array([[0.0, 2.0], [2.0, 4.0], [4.0, 6.0]])
    found = compare_paired(table, table + 1)
    # closed form: within variance 2, between 3 (see test_clusters)
    assert found.icc == pytest.approx(0.6)
    assert found.metadata == pytest.approx({"variance_between": 3.0, "variance_within": 2.0})
    assert variance_components(table).icc == pytest.approx(0.6)


SCIPY = [
    ("welch_t", lambda x, y: stats.ttest_ind(y, x, equal_var=False)),
    ("student_t", lambda x, y: stats.ttest_ind(y, x)),
    ("yuen_t", lambda x, y: stats.ttest_ind(y, x, equal_var=False, trim=0.2)),
    ("mann_whitney", lambda x, y: stats.mannwhitneyu(y, x, method="exact")),
    ("brunner_munzel", lambda x, y: stats.brunnermunzel(x, y)),
]
SCIPY_PAIRED = [
    ("paired_t", lambda x, y: stats.ttest_rel(y, x)),
    ("wilcoxon", lambda x, y: stats.wilcoxon(y, x, method="exact")),
]


@pytest.mark.parametrize(("name", "peer"), SCIPY)
def test_independent_tests_agree_with_scipy_to_ten_digits(name, peer):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=12 + seed), rng.exponential(size=14)
        found, theirs = compare(x, y, test=name, robustness=False), peer(x, y)
        assert found.p_value == pytest.approx(float(theirs.pvalue), rel=1e-10)
        assert abs(found.statistic) == pytest.approx(abs(float(theirs.statistic)), rel=1e-10)


@pytest.mark.parametrize(("name", "peer"), SCIPY_PAIRED)
def test_paired_tests_agree_with_scipy_to_ten_digits(name, peer):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, 12 + seed))
        found, theirs = compare_paired(x, y, test=name, robustness=False), peer(x, y)
        assert found.p_value == pytest.approx(float(theirs.pvalue), rel=1e-10)
