"""Acceptance 8 to 10 of the specification, on the simulation."""

import math

import numpy as np
import pytest

from crucible_hedging import AdaptiveDelay, HedgeBudget, PercentileDelay
from crucible_hedging.simulate import Lognormal, Pareto, Stragglers, oracle, requests

LOGNORMAL, PARETO, STRAGGLERS = Lognormal(1), Pareto(1.5), Stragglers(0.05, 10, 0.25)
SEEDS = range(10)


@pytest.mark.parametrize(("dist", "least"), [(LOGNORMAL, 32), (PARETO, 51), (STRAGGLERS, 54)])
def test_a_percentile_under_a_budget_keeps_most_of_the_gain(dist, least):
    # Acceptance 8, with four of its ten seeds, after 2,000 requests.
    reductions, extras = [], []
    for seed in range(4):
        policy, budget = PercentileDelay(95), HedgeBudget(0.05)
        requests(dist, policy, n=2_000, budget=budget, seed=100 + seed)
        report = requests(dist, policy, n=20_000, budget=budget, seed=seed)
        reductions.append(100 * report.reduction())
        extras.append(100 * report.extra_ratio)
    assert np.mean(extras) <= 5.1
    assert np.mean(reductions) >= least


@pytest.mark.parametrize("budget", [0.05, 0.10])
@pytest.mark.parametrize("dist", [LOGNORMAL, PARETO, STRAGGLERS])
def test_the_adaptive_delay_reaches_nine_tenths_of_the_oracle(dist, budget):
    # Acceptance 9: the oracle's plan and ours on the same draws under the same bucket; two of its
    # ten seeds, all of which `scripts/bench_hedging.py` runs.
    best = oracle(dist, budget=budget)
    ours, theirs = [], []
    for seed in range(2):
        policies = (AdaptiveDelay(budget=budget, seed=seed), best.policy(seed=seed))
        for policy, reductions in zip(policies, (ours, theirs), strict=True):
            bucket = HedgeBudget(budget)
            warm = requests(dist, policy, n=2_000, budget=bucket, explore=0.1, seed=100 + seed)
            report = requests(dist, policy, n=20_000, budget=bucket, explore=0.1, seed=seed)
            reductions.append(report.reduction())
            if reductions is ours:
                assert report.extra_ratio <= budget + 0.005
                assert not warm.fired[:100].any()
    assert np.mean(ours) >= 0.9 * np.mean(theirs)


def slowdown(policy, budget, seed):
    """Three times as slow from request 4,000 on: excess backups, and requests until it is over.

    The true fire rate at a delay d is S(d / 3); it is back where it is under 7 %.
    """
    bucket = None if budget is None else HedgeBudget(budget)
    requests(LOGNORMAL, policy, n=4_000, budget=bucket, seed=100 + seed)
    slow, rates, backups = Lognormal(1, 3.0), [], 0
    step = 10
    for block in range(300):
        report = requests(slow, policy, n=step, budget=bucket, seed=10_000 * (seed + 1) + block)
        backups += int(report.fired[: max(0, 1_000 - block * step)].sum())
        delay = policy.delay()
        rates.append(float(slow.sf(delay)) if delay < math.inf else 0.0)
    over = next((i for i, rate in enumerate(rates) if rate < 0.07), len(rates))
    return backups - 0.05 * 1_000, step * (over + 1)


def test_a_slowdown_is_followed():
    # Acceptance 10: without a budget <= 100 excess backups in 1,000 requests.
    free = np.mean([slowdown(PercentileDelay(95), None, seed) for seed in SEEDS], axis=0)
    assert free[0] <= 100
    assert free[1] <= 1_000
    held = np.mean([slowdown(PercentileDelay(95), 0.05, seed) for seed in SEEDS], axis=0)
    assert held[0] <= 5
    assert held[1] <= 600
    assert held[1] < free[1]


def test_a_window_that_never_forgets_does_not_follow():
    # The mutation of the specification.
    excess, over = slowdown(PercentileDelay(95, window=10_000), None, 0)
    assert excess > 100 or over > 1_000


def test_a_plan_does_not_chase_the_luckiest_promise():
    # 5 % stragglers at 5 % is a knife edge: an early delay with a low probability may look best by
    # chance, and leaves stragglers alone. Without ties these three runs gained 0.46, 0.40 and 0.48;
    # the oracle's own plan averages 0.71.
    for seed in (4, 5, 6):
        policy, budget = AdaptiveDelay(budget=0.05, seed=seed), HedgeBudget(0.05)
        requests(STRAGGLERS, policy, n=2_000, budget=budget, explore=0.1, seed=100 + seed)
        report = requests(STRAGGLERS, policy, n=10_000, budget=budget, explore=0.1, seed=seed)
        assert report.reduction() >= 0.65
