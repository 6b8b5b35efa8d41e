"""Intervals, power, corrections and quantiles against published and closed-form values."""

import numpy as np
import pytest
from scipy import stats

from crucible_bench import (
    bootstrap,
    correct,
    detectable_effect,
    mean_interval,
    proportion_interval,
    quantile,
    sample_size,
)
from crucible_bench.intervals import miettinen_nurminen
from crucible_bench.means import one_sample_t
from crucible_bench.power import McNemar, PairedT, TwoSampleT


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.255289, 0.366210),  # Newcombe 1998, Statistics in Medicine 17, table I
        (15, 148, 0.062386, 0.160487),  # the same
        (0, 10, 0.0, 0.277533),  # closed form: z^2 / (n + z^2)
        (10, 10, 0.722467, 1.0),
    ],
)
def test_wilson(successes, trials, low, high):
    interval = proportion_interval(successes, trials)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-6)


def test_clopper_pearson_without_a_failure_is_the_root_of_alpha():
    # closed form: .05 ** (1 / 299)
    interval = proportion_interval(299, 299, confidence=0.9, method="clopper_pearson")
    assert interval.low == pytest.approx(0.05 ** (1 / 299), rel=1e-9)


def test_miettinen_nurminen_gives_newcombes_published_interval():
    # Newcombe 1998 (II), example (a), 56/70 against 48/80: .0528, .3382
    interval = miettinen_nurminen((48, 80), (56, 70))
    assert (interval.low, interval.high) == pytest.approx((0.0528, 0.3382), abs=1e-4)


def test_there_is_no_interval_for_no_trials():
    with pytest.raises(ValueError, match="`trials` must be >= 1, got 0"):
        proportion_interval(0, 0)


def test_the_t_interval_of_a_mean_is_scipys():
    x = np.random.default_rng(0).normal(size=17)
    low, high = stats.ttest_1samp(x, 0).confidence_interval()
    interval = mean_interval(x)
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-12)


def test_one_sample_t_agrees_with_scipy():
    x = np.random.default_rng(0).normal(size=17)
    theirs = stats.ttest_1samp(x, 0.2, alternative="greater")
    ours = one_sample_t(x, mean=0.2, alternative="greater")
    assert ours.p_value == pytest.approx(float(theirs.pvalue), rel=1e-10)


@pytest.mark.parametrize(
    ("design", "effect", "power", "n"),
    [
        # G*Power 3.1 and R 4.3 pwr: two-sided, alpha .05
        (TwoSampleT(), 0.2, 0.80, 394),
        (TwoSampleT(), 0.5, 0.80, 64),
        (TwoSampleT(), 0.8, 0.80, 26),
        (TwoSampleT(), 0.5, 0.90, 86),
        (TwoSampleT(), 0.2, 0.95, 651),
        (PairedT(), 0.5, 0.80, 34),
        (PairedT(), 0.2, 0.80, 199),
        # exact enumeration; Connor 1987 approximates 217.4
        (McNemar(0.07), 0.05, 0.80, 199),
        (McNemar(0.07, kind="exact"), 0.05, 0.80, 228),
    ],
)
def test_sample_sizes(design, effect, power, n):
    assert sample_size(design, effect=effect, power=power).n == n


def test_the_detectable_effect_of_a_two_sample_t_test():
    # R 4.3: power.t.test(n = 100, power = .8)$delta, and n = 20
    assert detectable_effect(TwoSampleT(), n=100).effect == pytest.approx(0.398138, abs=1e-6)
    assert detectable_effect(TwoSampleT(), n=20).effect == pytest.approx(0.909129, abs=1e-6)


def test_mcnemars_power_is_what_simulation_finds():
    # 4,000 experiments of 150 pairs, discordance .2, difference .08: within 3 standard errors.
    from crucible_bench.tables import mcnemar

    rng = np.random.default_rng(3)
    draws = rng.multinomial(150, [0.06, 0.14, 0.80], size=4_000)
    found = sum(mcnemar(b, c, pairs=150).p_value <= 0.05 for b, c, _ in draws.tolist())
    expected = McNemar(0.2).power(0.08, 150, 0.05, "two-sided")
    assert found / 4_000 == pytest.approx(expected, abs=3 * (0.25 / 4_000) ** 0.5)


def test_holm_and_benjamini_hochberg():
    # closed forms; scipy.stats.false_discovery_control for the second
    p = [0.01, 0.04, 0.03, 0.2]
    assert correct(p, method="holm", family="f").adjusted == pytest.approx((0.04, 0.09, 0.09, 0.2))
    expected = stats.false_discovery_control(p)
    assert correct(p, method="benjamini_hochberg", family="f").adjusted == pytest.approx(expected)
    by = stats.false_discovery_control(p, method="by")
    assert correct(p, method="benjamini_yekutieli", family="f").adjusted == pytest.approx(by)


def test_a_missing_p_value_is_refused():
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        correct([0.1, float("nan")], family="f")


@pytest.mark.parametrize(("n", "has_upper"), [(367, False), (368, True)])
def test_p99_has_an_upper_limit_from_368_on(n, has_upper):
    # .99 ** n <= .025 from n = 368 on
    assert (quantile(np.arange(n, dtype=float), 99).interval.high is not None) == has_upper


def test_quantile_intervals_cover():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(2_000):
        interval = quantile(rng.exponential(size=60), 50).interval
        hits += interval.low <= np.log(2) <= interval.high
    assert hits / 2_000 >= 0.94  # conservative by construction, 3 standard errors below .95


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


def test_a_great_many_p_values_are_corrected_like_scipy_ties_and_neighbours_included():
    rng = np.random.default_rng(0)
    p = rng.random(30_000)
    p[:5_000] = np.round(p[:5_000], 2)
    p[5_000:6_000] = 0.3 + np.arange(1_000)[::-1] * 2.0**-53  # nearer than the packed bits can tell
    p[6_000] = -0.0
    ours = correct(p, method="benjamini_hochberg", family="f").adjusted
    assert ours == pytest.approx(stats.false_discovery_control(np.abs(p)), rel=1e-12)
    holm = np.array(correct(p, method="holm", family="f").adjusted)
    assert (np.diff(holm[np.argsort(p, kind="stable")]) >= 0).all()
