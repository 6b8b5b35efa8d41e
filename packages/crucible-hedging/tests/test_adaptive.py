import math
from statistics import mean

import numpy as np
import pytest
from scipy import stats

from crucible_hedging import AdaptiveDelay, HedgeBudget, simulate
from crucible_hedging.delays.single_r import single_r
from crucible_hedging.survival import kaplan_meier

# 6-MP arm of Freireich et al., Blood 21:699, 1963 (weeks; negative: censored).
SIX_MP = [6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35]


def test_kaplan_meier_gives_the_curve_of_the_leukaemia_trial():
    curve = kaplan_meier(np.abs(SIX_MP), np.less(SIX_MP, 0))
    assert curve.times.tolist() == [6, 7, 10, 13, 16, 22, 23]
    # Acceptance 7; Klein and Moeschberger, Survival Analysis, table 4.1.
    published = [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482]
    assert curve.values.tolist() == pytest.approx(published, abs=5e-5)
    assert curve([5.9, 6, 8]).tolist() == pytest.approx([1.0, 0.8571, 0.8067], abs=5e-5)
    assert curve.quantile(0.25) == 13  # first time at which S <= 0.75: 0.7529 is above
    assert curve.quantile(0.9) == math.inf


def test_kaplan_meier_agrees_with_scipy():
    rng = np.random.default_rng(7)
    x, cut = rng.lognormal(size=300).round(1), rng.random(300) < 0.3
    curve = kaplan_meier(x, cut)
    sf = stats.ecdf(stats.CensoredData(uncensored=x[~cut], right=x[cut])).sf
    events = np.isin(sf.quantiles, x[~cut])
    assert curve.times == pytest.approx(sf.quantiles[events])
    assert curve.values == pytest.approx(sf.probabilities[events])


def test_without_censoring_the_curve_is_the_share_above():
    x = [3.0, 1.0, 2.0, 2.0]
    curve = kaplan_meier(x, [False] * 4)
    for t in (0.5, 1, 1.5, 2, 2.5, 3, 4):
        assert curve(t) == pytest.approx(np.mean(np.array(x) > t))
    with pytest.raises(ValueError, match="`latencies` must be"):
        kaplan_meier([], [])


DISTRIBUTIONS = {
    "lognormal": lambda u: np.exp(stats.norm.ppf(u)),
    "pareto": lambda u: (1 - u) ** (-1 / 1.5) / 2 ** (1 / 1.5),
}


@pytest.mark.parametrize(
    ("name", "budget", "reduction"),
    # Specification, section 6: P99 reduction of SingleR in per cent; Kaler et al. 2017.
    [
        ("lognormal", 0.01, 12.6),
        ("lognormal", 0.02, 20.7),
        ("lognormal", 0.05, 34.9),
        ("lognormal", 0.10, 45.0),
        ("pareto", 0.02, 39.0),
        ("pareto", 0.05, 55.5),
        ("pareto", 0.10, 65.1),
    ],
)
def test_the_plan_for_a_known_distribution_is_the_theoretical_optimum(name, budget, reduction):
    n = 40_000
    x = DISTRIBUTIONS[name]((np.arange(n) + 0.5) / n)  # its quantiles stand for the distribution
    curve = kaplan_meier(x, np.zeros(n, dtype=bool))
    delay_s, probability, predicted_s = single_r(curve, curve, budget=budget, percentile=99)
    assert 100 * (1 - predicted_s / np.quantile(x, 0.99)) == pytest.approx(reduction, abs=0.3)
    assert probability * curve(delay_s) <= budget + 1e-12


def test_the_search_finds_what_trying_every_time_finds():
    rng = np.random.default_rng(3)
    for _ in range(20):
        x, y = rng.lognormal(size=60), rng.lognormal(0.3, 0.7, size=50)
        curve = kaplan_meier(x, rng.random(60) < 0.2)
        again = kaplan_meier(y, rng.random(50) < 0.2)
        best = single_r(curve, again, budget=0.2, percentile=90)
        if best is None:
            continue
        predicted_s = best[2]
        edge = curve.quantile(0.8)
        start = curve.quantile(0.6)
        tried = []
        for d in [0.0, *curve.times[curve.times <= edge]]:
            share = min(1.0, 0.2 / curve(d))
            for t in sorted([*curve.times, *(d + again.times)]):
                if curve(t) * (1 - share + share * again(t - d + 1e-12)) <= 0.1 + 1e-12:
                    tried.append((t, d))
                    break
        assert start <= edge
        assert predicted_s == pytest.approx(min(tried)[0])


def test_among_equal_plans_the_later_backup_is_taken():
    # A backup that takes for ever helps nobody: every delay gives the primary's own percentile.
    curve = kaplan_meier(np.arange(1, 101), np.zeros(100, dtype=bool))
    useless = kaplan_meier([1e6], [False])
    assert single_r(curve, useless, budget=0.1, percentile=95) == (90.0, 1.0, 95.0)


def observe(policy, latencies):
    for latency in latencies:
        policy.observe(latency, censored=False)


def test_there_is_no_plan_and_no_backup_among_the_first_hundred():
    policy = AdaptiveDelay(budget=0.05)
    rng = np.random.default_rng(1)
    for _ in range(100):
        assert (policy.delay(), policy.why_not, policy.plan) == (math.inf, "warmup", None)
        policy.observe(rng.lognormal(), censored=False)
    assert policy.plan.n == 100
    policy.reset()
    assert policy.plan is None


def test_the_coin_falls_with_the_planned_probability():
    # Below the 1 % that P99 leaves, SingleD buys nothing: the plan must toss a coin.
    policy = AdaptiveDelay(budget=0.01)
    observe(policy, np.random.default_rng(2).lognormal(size=2_000))
    assert policy.plan.probability < 0.9
    asked = [policy.delay() for _ in range(4_000)]
    fired = sum(delay == policy.plan.delay_s for delay in asked)
    # Four standard errors of 4,000 tosses: at most 0.032.
    assert fired / 4_000 == pytest.approx(policy.plan.probability, abs=0.032)
    assert set(asked) == {policy.plan.delay_s, math.inf}


def test_equal_seeds_toss_equally():
    tosses = []
    for seed in (1, 1, 2):
        policy = AdaptiveDelay(budget=0.01, seed=seed)
        observe(policy, np.random.default_rng(2).lognormal(size=500))
        tosses.append([policy.delay() for _ in range(100)])
    assert tosses[0] == tosses[1] != tosses[2]


def test_where_the_curve_does_not_fall_to_the_budget_the_last_plan_stays():
    policy = AdaptiveDelay(budget=0.05, window=200, min_samples=100)
    observe(policy, np.random.default_rng(2).lognormal(size=200))
    for _ in range(199):
        policy.observe(1.0, censored=True)
    plan = policy.plan
    for _ in range(200):
        policy.observe(1.0, censored=True)  # from the first on, nothing but lower bounds
    assert policy.plan is plan


def test_backups_with_calls_of_their_own_get_a_curve_of_their_own():
    plans = []
    for differ in (False, True):
        policy = AdaptiveDelay(budget=0.2)
        policy.backups_differ = differ
        rng = np.random.default_rng(4)
        for _ in range(500):
            policy.observe(rng.lognormal(), censored=False)
            policy.observe(50.0, censored=False, attempt=1)  # the other region is of no help
        plans.append(policy.plan)
    alone = np.random.default_rng(4).lognormal(size=500)
    assert plans[1].predicted_s == pytest.approx(np.sort(alone)[494], rel=0.3)
    assert plans[0].predicted_s == 50.0  # mixed up, every second request seems to take 50 s


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "`budget` must be in"),
        ({"budget": 1.5}, "`budget` must be in"),
        ({"budget": 0.1, "percentile": 30}, "`percentile` must be in"),
        ({"budget": 0.1, "window": 50}, "`window` must be >= min_samples = 100, got 50"),
        ({"budget": 0.1, "min_samples": 0}, "`min_samples` must be >= 1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveDelay(**options)


POPULATIONS = {
    "lognormal": simulate.Lognormal(1),
    "pareto": simulate.Pareto(1.5),
    "stragglers": simulate.Stragglers(0.05, 10, 0.25),
}


@pytest.mark.parametrize("budget", [0.05, 0.10])
@pytest.mark.parametrize("name", POPULATIONS)
def test_learned_plans_reach_nine_tenths_of_the_oracles_gain_within_the_budget(name, budget):
    # Acceptance 9 on four seeds; `scripts/bench_hedging.py` runs ten. The oracle knows the
    # distribution, and its plan meets the same draws under a bucket of the same size.
    dist = POPULATIONS[name]
    best = simulate.oracle(dist, budget=budget)
    gains = {"oracle": [], "learned": []}
    for seed in range(4):
        for who, policy in (
            ("oracle", best.policy(seed=seed)),
            ("learned", AdaptiveDelay(budget=budget, seed=seed)),
        ):
            shared = {"budget": HedgeBudget(budget), "explore": 0.1}
            warm = simulate.requests(dist, policy, n=2_000, seed=100 + seed, **shared)
            report = simulate.requests(dist, policy, n=20_000, seed=seed, **shared)
            gains[who].append(report.reduction())
            if who == "learned":
                assert not np.isfinite(warm.delay_s[:100]).any()  # no backup while it warms up
                assert report.extra_ratio <= budget + 0.005
    assert mean(gains["learned"]) >= 0.9 * mean(gains["oracle"])
