"""Sample sizes, power and detectable effects against R, G*Power, papers and brute force."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from statsmodels.stats.power import FTestAnovaPower, TTestIndPower, TTestPower

from crucible_bench.budget import plan_budget
from crucible_bench.power import (
    Clustered,
    McNemar,
    OneProportion,
    OneSampleT,
    OneWayAnova,
    PairedItems,
    PairedT,
    TwoProportions,
    TwoSampleT,
    ZeroFailures,
    achieved_power,
    detectable_effect,
    power_curve,
    sample_size,
)
from crucible_bench.simulated_power import QuantileDifference, simulate_power
from crucible_bench.tables import mcnemar


@pytest.mark.parametrize(
    ("design", "effect", "power", "alpha", "n"),
    [
        # G*Power 3.1 and R's pwr
        *[(TwoSampleT(), d, 0.80, 0.05, n) for d, n in ((0.2, 394), (0.5, 64), (0.8, 26))],
        *[(TwoSampleT(), d, 0.90, 0.05, n) for d, n in ((0.2, 527), (0.5, 86), (0.8, 34))],
        *[(TwoSampleT(), d, 0.95, 0.05, n) for d, n in ((0.2, 651), (0.5, 105), (0.8, 42))],
        *[
            (TwoSampleT(), d, 0.90, 0.01, n)
            for d, n in ((0.2, 746), (0.5, 121), (0.8, 49), (1.0, 32))
        ],
        (PairedT(), 0.5, 0.80, 0.05, 34),
        (PairedT(), 0.2, 0.80, 0.05, 199),
        (OneSampleT(), -0.5, 0.80, 0.05, 34),
        (OneWayAnova(4), 0.25, 0.80, 0.05, 45),
        (OneWayAnova(3), 0.25, 0.80, 0.05, 53),
        (OneWayAnova.from_eta_squared(4), 0.25, 0.80, 0.05, 10),
        # R 4.3: power.prop.test
        (TwoProportions(0.85), 0.05, 0.80, 0.05, 686),
        (TwoProportions(0.5), 0.25, 0.90, 0.05, 77),
        # exact enumeration; Connor 1987 approximates 217.4
        (McNemar(0.07), 0.05, 0.80, 0.05, 199),
        (McNemar(0.07, kind="exact"), 0.05, 0.80, 0.05, 228),
        # Miller 2024, planning: omega^2 = 1/9
        (PairedItems(item_sd=1 / 3), 0.03, 0.80, 0.05, 969),
        # 686 * (1 + 4 * .2) / 5 = 246.96
        (Clustered(TwoProportions(0.85), 5, 0.2), 0.05, 0.80, 0.05, 247),
    ],
)
def test_sample_sizes(design, effect, power, alpha, n):
    result = sample_size(design, effect=effect, power=power, alpha=alpha)
    assert result.n == n
    assert result.power >= power
    assert design.power(effect, n - 1, alpha, "two-sided") < power


@pytest.mark.parametrize(
    ("design", "effect", "n", "power"),
    [
        (TwoSampleT(), 0.5, 30, 0.477896521),  # G*Power 3.1
        (TwoProportions(0.5), 0.25, 50, 0.740166),  # R 4.3: power.prop.test(50, .5, .75)
        (McNemar(0.07), 0.05, 217, 0.838),  # where Connor's approximation promises .80
        (McNemar(0.07, kind="exact"), 0.05, 217, 0.776),
        (TwoSampleT(), 0.0, 20, 0.05),  # without an effect power is alpha
        (OneWayAnova(3), 0.0, 20, 0.05),
    ],
)
def test_achieved_power(design, effect, n, power):
    result = achieved_power(design, planned_effect=effect, n=n)
    digits = 5e-4 if isinstance(design, McNemar) else 1e-6
    assert result.power == pytest.approx(power, abs=digits)


def test_t_and_f_power_agree_with_statsmodels():
    for alternative, theirs in (("two-sided", "two-sided"), ("greater", "larger")):
        ours = TwoSampleT(ratio=2.0).power(0.4, 30, 0.05, alternative)
        peer = TTestIndPower().power(0.4, 30, 0.05, ratio=2.0, alternative=theirs)
        assert ours == pytest.approx(peer, rel=1e-9)
        ours = PairedT().power(0.4, 30, 0.05, alternative)
        assert ours == pytest.approx(
            TTestPower().power(0.4, 30, 0.05, alternative=theirs), rel=1e-9
        )
    ours = OneWayAnova(5).power(0.3, 12, 0.01, "two-sided")
    assert ours == pytest.approx(FTestAnovaPower().power(0.3, 60, 0.01, k_groups=5), rel=1e-9)


def test_power_is_one_where_scipys_far_tail_is_nan():
    # scipy: nctdtr(198, 10, -1.97) is nan
    assert TwoSampleT().power(10 / math.sqrt(50), 100, 0.05, "two-sided") == pytest.approx(1.0)
    assert OneSampleT().power(20.0, 100, 0.05, "two-sided") == 1.0


@pytest.mark.parametrize(
    ("design", "n", "effect"),
    [
        (TwoSampleT(), 100, 0.398138),  # R 4.3: power.t.test(n = 100, power = .8)$delta
        (TwoSampleT(), 20, 0.909129),
        # Miller 2024: omega^2 = 1/9, sigma^2 = 1/6, 1 and 10 answers per item
        (PairedItems(item_sd=1 / 3, within_sd=(6**-0.5, 6**-0.5)), 198, 0.132733),
        (
            PairedItems(item_sd=1 / 3, within_sd=(6**-0.5, 6**-0.5), repeats=(10, 10)),
            198,
            0.075670,
        ),
    ],
)
def test_detectable_effects(design, n, effect):
    assert detectable_effect(design, n=n).effect == pytest.approx(effect, abs=1e-6)


@pytest.mark.parametrize(
    "design",
    [
        TwoSampleT(),
        OneWayAnova(3),
        TwoProportions(0.6),
        OneProportion(0.6),
        McNemar(0.2),
        Clustered(PairedT(), 4, 0.3),
    ],
)
def test_the_detectable_effect_has_the_power_asked_for(design):
    found = detectable_effect(design, n=120, power=0.9)
    power = achieved_power(design, planned_effect=found.effect, n=120).power
    assert power == pytest.approx(0.9, abs=1e-6)


def test_the_detectable_effect_of_a_lower_alternative_is_negative():
    down = detectable_effect(TwoSampleT(), n=50, alternative="less").effect
    up = detectable_effect(TwoSampleT(), n=50, alternative="greater").effect
    assert down == pytest.approx(-up)
    assert detectable_effect(TwoProportions(0.9), n=300, alternative="less").effect < 0


def test_where_no_effect_reaches_the_power_the_answer_is_an_error():
    with pytest.raises(ValueError, match="no positive effect reaches power 0.8 with 40 per group"):
        detectable_effect(TwoProportions(0.95), n=40)
    with pytest.raises(ValueError, match="no negative effect"):
        detectable_effect(OneProportion(0.05), n=40, alternative="less")


@pytest.mark.parametrize(
    ("design", "effect", "alternative"),
    [
        (OneProportion(0.5), 0.1, "two-sided"),
        (OneProportion(0.9), 0.05, "greater"),
        (OneProportion(0.9), -0.06, "less"),
        (McNemar(0.3, kind="exact"), 0.1, "two-sided"),
        (McNemar(1.0), 0.3, "greater"),
        (Clustered(McNemar(0.3), 4, 0.2), 0.1, "two-sided"),
    ],
)
def test_after_n_the_saw_tooth_never_falls_below_the_target_again(design, effect, alternative):
    n = sample_size(design, effect=effect, alternative=alternative).n
    below = [k for k in range(2, 3 * n) if design.power(effect, k, 0.05, alternative) < 0.8]
    assert n == below[-1] + 1


def test_one_proportions_power_is_the_binomial_tail():
    # by hand: n = 20, null .5, alpha .05 one-sided rejects from 15 on (P = .0207)
    power = OneProportion(0.5).power(0.3, 20, 0.05, "greater")
    assert power == pytest.approx(float(stats.binom.sf(14, 20, 0.8)), rel=1e-12)


def test_mcnemars_power_is_what_simulation_finds():
    # 4,000 experiments of 150 pairs, discordance .2, difference .08: within 3 standard errors.
    rng = np.random.default_rng(3)
    draws = rng.multinomial(150, [0.06, 0.14, 0.80], size=4_000)
    found = sum(mcnemar(b, c, pairs=150).p_value <= 0.05 for b, c, _ in draws.tolist())
    expected = McNemar(0.2).power(0.08, 150, 0.05, "two-sided")
    assert found / 4_000 == pytest.approx(expected, abs=3 * (0.25 / 4_000) ** 0.5)


def test_reliability_of_99_percent_takes_299_items_without_a_failure():
    # .99 ** 299 = .0495
    result = sample_size(ZeroFailures(0.99), effect=0.01, alternative="greater")
    assert (result.n, result.power) == (299, 1.0)
    with pytest.raises(ValueError, match="no failure with probability 0.741 < 0.8"):
        sample_size(ZeroFailures(0.99), effect=0.009, alternative="greater")
    with pytest.raises(ValueError, match='`alternative` must be "greater"'):
        sample_size(ZeroFailures(0.99), effect=0.01)


def test_unequal_groups_are_counted_in_full():
    result = sample_size(TwoSampleT(ratio=1.5), effect=0.5)
    assert (result.unit, result.total_n) == ("in control", result.n + math.ceil(1.5 * result.n))
    clusters = sample_size(Clustered(TwoSampleT(), 5, 0.1), effect=0.5)
    assert (clusters.unit, clusters.total_n) == ("clusters per group", 2 * 5 * clusters.n)
    assert "design effect 1.4" in clusters.notes[0]


def test_clusters_of_one_or_without_correlation_change_nothing():
    for design in (Clustered(PairedT(), 1, 0.9), Clustered(PairedT(), 1, 0.0)):
        assert sample_size(design, effect=0.3).n == sample_size(PairedT(), effect=0.3).n


def test_the_power_curve_has_a_row_for_each_effect():
    curve = power_curve(TwoSampleT(), [0.2, 0.5], [20, 64, 394])
    assert curve.shape == (2, 3)
    assert curve[1, 1] == pytest.approx(0.8, abs=0.005)
    assert curve[0, 2] == pytest.approx(0.8, abs=0.005)


@settings(max_examples=40)
@given(st.floats(0.05, 2.0), st.integers(3, 500), st.floats(0.001, 0.2))
def test_power_grows_with_effect_n_and_alpha(effect, n, alpha):
    base = TwoSampleT().power(effect, n, alpha, "two-sided")
    assert base <= TwoSampleT().power(effect, n + 1, alpha, "two-sided") + 1e-12
    assert base <= TwoSampleT().power(effect * 1.1, n, alpha, "two-sided") + 1e-12
    assert base <= TwoSampleT().power(effect, n, alpha * 1.1, "two-sided") + 1e-12
    assert alpha - 1e-9 <= base <= 1
    assert base == TwoSampleT().power(-effect, n, alpha, "two-sided")


def test_a_budget_says_what_it_can_show():
    # 199 pairs at 5 cents cost 9.95
    plans = [
        plan_budget(PairedT(), effect=0.2, budget_usd=usd, cost_per_unit_usd=0.05)
        for usd in (9.95, 9.90, 0.05)
    ]
    assert [p.state for p in plans] == ["fully_powered", "underpowered", "insufficient"]
    assert [p.n_affordable for p in plans] == [199, 198, 1]
    assert plans[1].power < 0.8 < plans[0].power
    assert plans[2].power is None
    with pytest.raises(ValueError, match="`cost_per_unit_usd` must be > 0, got 0"):
        plan_budget(PairedT(), effect=0.2, budget_usd=1.0, cost_per_unit_usd=0.0)


def test_simulated_power_covers_the_exact_power():
    from crucible_bench.means import paired_t

    def study(rng):
        return rng.normal(size=30), rng.normal(0.7, 1, size=30)

    result = simulate_power(
        study, lambda arms: paired_t(*arms).p_value <= 0.05, n_simulations=2_000, rng=5
    )
    exact = PairedT().power(0.7 / math.sqrt(2), 30, 0.05, "two-sided")
    assert result.power == pytest.approx(exact, abs=3 * math.sqrt(0.25 / 2_000))
    assert result.interval.low < result.power < result.interval.high


def test_a_p_value_is_not_a_decision():
    with pytest.raises(ValueError, match="`analyse` must return True or False, got 0.3"):
        simulate_power(lambda rng: rng.random(), lambda x: 0.3, n_simulations=1, rng=0)


def test_a_difference_of_medians_needs_pi_over_two_more_items_than_one_of_means():
    # Normal data: the median's variance is pi / 2 times the mean's, for large n.
    pilot = special.ndtri((np.arange(20_000) + 0.5) / 20_000)
    design = QuantileDifference(50, pilot, rng=1)
    n = sample_size(design, effect=0.2 * float(np.std(pilot))).n
    assert n == pytest.approx(393.4 * math.pi / 2, rel=0.04)  # Monte Carlo error
    assert design.power(0.0, 100, 0.05, "two-sided") == pytest.approx(0.05, abs=0.002)
    assert design.power(-0.3, 100, 0.05, "two-sided") == pytest.approx(
        design.power(0.3, 100, 0.05, "two-sided"), abs=0.02
    )
    assert design.power(-0.3, 100, 0.05, "greater") < 0.01


def test_a_small_pilot_is_said_to_be_small():
    design = QuantileDifference(99, np.arange(200.0), rng=1)
    assert design.notes[1] == "only 2.0 of them expected beyond q"
    assert (
        sample_size(QuantileDifference(50, np.arange(200.0), rng=1), effect=40.0).total_n % 2 == 0
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sample_size(PairedT(), effect=0.0), "`effect` must be a number other than 0"),
        (lambda: sample_size(PairedT(), effect=math.nan), "`effect` must be a number other than 0"),
        (
            lambda: sample_size(PairedT(), effect=-0.2, alternative="greater"),
            "`effect` must be > 0",
        ),
        (lambda: sample_size(PairedT(), effect=0.2, alternative="less"), "`effect` must be < 0"),
        (lambda: sample_size(PairedT(), effect=0.2, alternative="up"), "`alternative` must be one"),
        (lambda: sample_size(PairedT(), effect=1e-6), "more than 10,000,000"),
        (lambda: sample_size(PairedT(), effect=0.2, power=1.0), r"`power` must be in \(0, 1\)"),
        (lambda: sample_size(PairedT(), effect=0.2, alpha=0.0), r"`alpha` must be in \(0, 1\)"),
        (lambda: sample_size(McNemar(0.1), effect=0.2), "`effect` must be <= the discordance"),
        (lambda: sample_size(TwoProportions(0.9), effect=0.2), "keep the proportion in"),
        (
            lambda: sample_size(OneWayAnova(3), effect=0.2, alternative="greater"),
            '"two-sided" for an F test',
        ),
        (lambda: achieved_power(PairedT(), planned_effect=0.2, n=1), "`n` must be >= 2, got 1"),
        (lambda: achieved_power(PairedT(), planned_effect=0.2, n=9.5), "`n` must be an integer"),
        (lambda: detectable_effect(PairedT(), n=0), "`n` must be >= 2, got 0"),
        (lambda: power_curve(PairedT(), [], [3]), "`effects` must be"),
        (lambda: power_curve(PairedT(), [0.1], [1]), "`ns` must be >= 2, got 1"),
        (lambda: OneWayAnova(1), "`groups` must be >= 2, got 1"),
        (lambda: TwoSampleT(ratio=0), "`ratio` must be > 0, got 0"),
        (lambda: OneProportion(1.0), r"`null` must be in \(0, 1\)"),
        (lambda: McNemar(0.1, kind="exakt"), '`kind` must be "mid-p" or "exact"'),
        (lambda: PairedItems(item_sd=0), "`item_sd` must be > 0"),
        (lambda: Clustered(PairedT(), 0.5, 0.1), "`cluster_size` must be >= 1"),
        (lambda: Clustered(PairedT(), 5, -0.1), r"`icc` must be in \[0, 1\]"),
        (lambda: QuantileDifference(100, np.arange(50.0), rng=0), r"`q` must be in \(0, 100\)"),
        (lambda: QuantileDifference(50, np.arange(5.0), rng=0), "`pilot` must have at least 20"),
    ],
)
def test_bad_plans_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
