"""Acceptance 8: what is recorded decides whether the extra load stays where it was aimed."""

import random

import pytest

from crucible_hedging import HedgeBudget, PercentileDelay

REQUESTS = 40_000


def lognormal(rng):
    return rng.lognormvariate(0, 1)


def pareto(rng):
    return (1 - rng.random()) ** (-1 / 1.5)


def stragglers(rng):
    return rng.lognormvariate(0, 0.25) * (10 if rng.random() < 0.05 else 1)


def rightly(policy, primary, delay, backup):
    if primary <= delay:
        policy.observe(primary, censored=False)
    else:
        lost = primary <= delay + backup
        policy.observe(min(primary, delay + backup), censored=not lost)


def winners_own_latency(policy, primary, delay, backup):
    own = primary if primary <= delay + backup else backup
    policy.observe(own, censored=False)


def hedged_left_out(policy, primary, delay, backup):
    if primary <= delay:
        policy.observe(primary, censored=False)


def extra_load(draw, record, seed=1, after=0):
    rng, policy, backups = random.Random(seed), PercentileDelay(95), 0
    for number in range(REQUESTS):
        primary, delay = draw(rng), policy.delay()
        backups += primary > delay and number >= after
        record(policy, primary, delay, draw(rng))
    return 100 * backups / (REQUESTS - after)


@pytest.mark.parametrize("draw", [lognormal, pareto, stragglers])
def test_the_extra_load_stays_where_the_percentile_aims(draw):
    assert 5.0 <= extra_load(draw, rightly) <= 5.6


def test_other_records_make_the_load_grow():
    # The figures of the specification, section 7.8.
    assert extra_load(lognormal, winners_own_latency) == pytest.approx(11.6, abs=1)
    # This one keeps growing: the figure is of the second half.
    assert extra_load(lognormal, hedged_left_out, after=REQUESTS // 2) > 80


def test_a_budget_caps_it_and_keeps_most_of_the_gain():
    # Specification, section 7.8: P99 reduction of at least 32 / 51 / 54 % in the mean of 10 seeds;
    # here three seeds of 10,000 requests.
    for draw, least in [(lognormal, 0.32), (pareto, 0.51)]:
        gains = []
        for seed in range(3):
            rng, policy, budget = random.Random(seed), PercentileDelay(95), HedgeBudget(0.05)
            alone, hedged, backups = [], [], 0
            for number in range(12_000):
                budget.arrive()
                primary, delay, backup = draw(rng), policy.delay(), draw(rng)
                fired = primary > delay and budget.try_spend()
                rightly(policy, primary, delay if fired else float("inf"), backup)
                if number >= 2_000:
                    backups += fired
                    alone.append(primary)
                    hedged.append(min(primary, delay + backup) if fired else primary)
            assert backups <= 20 + 0.05 * len(alone)  # what was saved before is a burst at most
            p99 = int(0.99 * len(alone))
            gains.append(1 - sorted(hedged)[p99] / sorted(alone)[p99])
        assert sum(gains) / 3 >= least
