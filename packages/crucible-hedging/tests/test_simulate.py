"""Section 6 of the specification as executable theory."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crucible_hedging import BackoffDelay, FixedDelay, HedgeBudget, PercentileDelay
from crucible_hedging.simulate import (
    Lognormal,
    Pareto,
    Stragglers,
    hedged_quantile,
    oracle,
    pool,
    requests,
)

LOGNORMAL, PARETO, STRAGGLERS = Lognormal(1), Pareto(1.5), Stragglers(0.05, 10, 0.25)


# Specification, section 6, in units of the median.
@pytest.mark.parametrize(
    ("dist", "quantiles"),
    [
        (LOGNORMAL, (1, 5.18, 10.24)),
        (PARETO, (1, 4.64, 13.57)),
        (STRAGGLERS, (1.02, 3.41, 12.34)),
    ],
)
def test_the_distributions_have_the_quantiles_of_the_table(dist, quantiles):
    assert dist.ppf([0.5, 0.95, 0.99]) == pytest.approx(quantiles, abs=0.006)
    assert dist.sf(dist.ppf([0.1, 0.5, 0.999])) == pytest.approx([0.9, 0.5, 0.001])


def test_they_agree_with_scipy():
    x = np.array([0.0, 0.3, 1.0, 4.0, 50.0])
    assert Lognormal(0.7, 2.0).sf(x) == pytest.approx(stats.lognorm(0.7, scale=2).sf(x))
    least = 2.0 * 0.5 ** (1 / 1.5)
    assert Pareto(1.5, 2.0).sf(x) == pytest.approx(stats.pareto(1.5, scale=least).sf(x))


# The table of section 6: (SingleD, SingleR) in per cent, to 0.2 points.
TABLE = {
    (LOGNORMAL, 99): {0.01: (0, 12.6), 0.02: (16.7, 20.7), 0.05: (34.9, 34.9), 0.10: (45.0, 45.0)},
    (PARETO, 99): {0.01: (0, 26.6), 0.02: (30.3, 39.0), 0.05: (55.4, 55.5), 0.10: (65.1, 65.1)},
    (STRAGGLERS, 99): {
        0.01: (0, 8.0), 0.02: (6.5, 15.4), 0.05: (61.9, 73.0), 0.10: (77.4, 77.4),
    },
    (LOGNORMAL, 95): {0.05: (0, 13.2)},
    (PARETO, 95): {0.05: (0, 18.3)},
    (STRAGGLERS, 95): {0.05: (0, 41.1)},
    (LOGNORMAL, 99.9): {0.05: (57.6, 57.6)},
    (PARETO, 99.9): {0.05: (85.7, 85.7)},
    (STRAGGLERS, 99.9): {0.05: (37.6, 38.5)},
}  # fmt: skip


@pytest.mark.parametrize(
    ("dist", "percentile", "budget", "reductions"),
    [
        (dist, percentile, budget, reductions)
        for (dist, percentile), row in TABLE.items()
        for budget, reductions in row.items()
    ],
)
def test_the_oracle_prints_the_table(dist, percentile, budget, reductions):
    best = oracle(dist, budget=budget, percentile=percentile)
    found = (100 * best.reductions["single_d"], 100 * best.reductions["single_r"])
    assert found == pytest.approx(reductions, abs=0.2)
    assert best.probability * dist.sf(best.delay_s) <= budget + 1e-9


def test_the_oracle_may_toss_a_coin():
    best = oracle(STRAGGLERS, budget=0.05)
    assert (best.delay_s, best.probability) == pytest.approx((1.92, 0.92), abs=0.005)
    coin = best.policy(seed=1)
    tosses = [coin.delay() for _ in range(4_000)]
    assert set(tosses) == {best.delay_s, math.inf}
    assert np.isfinite(tosses).mean() == pytest.approx(0.92, abs=0.015)


def test_a_scipy_distribution_fits():
    frozen = stats.lognorm(1)
    assert oracle(frozen, budget=0.05).single_r_s == pytest.approx(
        oracle(LOGNORMAL, budget=0.05).single_r_s, rel=1e-6
    )


@pytest.mark.parametrize("dist", [LOGNORMAL, PARETO, STRAGGLERS])
def test_the_median_never_moves_for_a_late_backup(dist):
    delay = float(dist.ppf(0.9))
    assert hedged_quantile(dist, delays=[delay], percentile=50) == pytest.approx(dist.ppf(0.5))


def test_a_third_copy_buys_only_the_far_tail():
    # With each copy at P90 of the one before, P99 is reached before the third has started.
    d = float(LOGNORMAL.ppf(0.9))
    two, three = [d], [d, 2 * d]
    p99 = [hedged_quantile(LOGNORMAL, delays=ds, percentile=99) for ds in (two, three)]
    p999 = [hedged_quantile(LOGNORMAL, delays=ds, percentile=99.9) for ds in (two, three)]
    assert p99[0] == pytest.approx(p99[1])
    assert p999[1] < 0.99 * p999[0]


@settings(max_examples=50, deadline=None)
@given(
    delay=st.floats(0, 20),
    q=st.floats(0, 1),
    percentile=st.floats(1, 99.9),
    dist=st.sampled_from([LOGNORMAL, PARETO, STRAGGLERS]),
)
def test_the_quantile_solves_its_equation_and_is_never_longer(delay, q, percentile, dist):
    t = hedged_quantile(dist, delays=[delay], percentile=percentile, probability=q)
    assert t <= float(dist.ppf(percentile / 100)) * (1 + 1e-9)
    copy = dist.sf(t - delay) if t > delay else 1.0
    assert dist.sf(t) * (1 - q + q * copy) == pytest.approx(1 - percentile / 100, rel=1e-6)


@pytest.mark.parametrize("dist", [LOGNORMAL, PARETO, STRAGGLERS])
def test_the_simulated_race_agrees_with_the_closed_form(dist):
    d = float(dist.ppf(0.9))
    report = requests(dist, FixedDelay(d), n=60_000, seed=4)
    closed = hedged_quantile(dist, delays=[d], percentile=99)
    assert np.percentile(report.hedged_s, 99) == pytest.approx(closed, rel=0.05)
    assert report.extra_ratio == pytest.approx(0.10, abs=0.005)


@pytest.mark.parametrize(
    ("dist", "per_cent"), [(LOGNORMAL, -4.2), (PARETO, -18.7), (STRAGGLERS, -14.4)]
)
def test_hedging_at_p95_with_instant_cancel_saves_server_time(dist, per_cent):
    # Section 6. The mean of a Pareto(1.5) sample converges slowly, its variance being infinite.
    report = requests(dist, FixedDelay(float(dist.ppf(0.95))), n=100_000, seed=3)
    tolerance = 6 if dist is PARETO else 1
    assert 100 * (report.busy_s / report.alone_s.sum() - 1) == pytest.approx(
        per_cent, abs=tolerance
    )


def test_equal_seeds_draw_equally_whatever_the_policy():
    one = requests(LOGNORMAL, FixedDelay(1.0), n=500, seed=9)
    other = requests(LOGNORMAL, PercentileDelay(95), n=500, budget=0.05, seed=9)
    assert (one.alone_s == other.alone_s).all()
    assert not (one.hedged_s == other.hedged_s).all()


# Section 6: what correlation leaves of the P99 gain at d = P95, in per cent.
@pytest.mark.parametrize(
    ("dist", "gains"),
    [
        (LOGNORMAL, [35, 27, 20, 12, 2]),
        (PARETO, [55, 49, 43, 32, 15]),
        (STRAGGLERS, [62, 59, 32, 14, 3]),  # steep in the middle: hence the tolerance
    ],
)
def test_correlated_copies_buy_little(dist, gains):
    policy = FixedDelay(float(dist.ppf(0.95)))
    found = [
        100 * requests(dist, policy, n=60_000, correlation=r, seed=5).reduction()
        for r in (0.0, 0.3, 0.5, 0.7, 0.9)
    ]
    assert found == pytest.approx(gains, abs=4)


def test_equal_copies_buy_nothing():
    whole = requests(LOGNORMAL, FixedDelay(0.0), n=2_000, correlation=1.0, seed=2)
    assert whole.hedged_s == pytest.approx(whole.alone_s)


def test_backoff_settles_at_a_fifth_of_lost_backups_and_a_budget_caps_it():
    # ln(1/0.9) / (ln 1.5 + ln(1/0.9)) = 20.6 % (acceptance 14).
    report = requests(LOGNORMAL, BackoffDelay(1.0, max_s=100.0), n=20_000, seed=1)
    lost = report.fired & (report.hedged_s == report.alone_s)
    assert 100 * lost.mean() == pytest.approx(20.6, abs=1)
    budget = requests(LOGNORMAL, BackoffDelay(1.0, max_s=100.0), n=20_000, budget=0.05, seed=1)
    assert budget.extra_ratio <= 0.05


def test_a_bucket_that_is_passed_keeps_its_tokens():
    bucket = HedgeBudget(0.5)
    requests(LOGNORMAL, FixedDelay(math.inf), n=10, budget=bucket, seed=1)
    assert bucket.tokens == 5


@pytest.mark.parametrize("utilisation", [0.2, 0.5, 0.9])
def test_with_cancellation_a_pool_gains_at_every_utilisation(utilisation):
    base = pool(utilisation=utilisation, delay=math.inf, cancel=True, n=20_000)
    assert base.extra_ratio == 0
    assert base.utilisation == pytest.approx(utilisation, abs=0.04)
    hedged = pool(utilisation=utilisation, delay=base.p95_s, cancel=True, n=20_000)
    assert hedged.p99_s <= 0.8 * base.p99_s  # section 6


def test_without_cancellation_and_budget_a_busy_pool_runs_away():
    base = pool(utilisation=0.7, delay=math.inf, cancel=False)
    hedged = pool(utilisation=0.7, delay=base.p95_s, cancel=False)
    assert hedged.p99_s >= 10 * base.p99_s  # section 6
    for utilisation in (0.7, 0.9):
        base = pool(utilisation=utilisation, delay=math.inf, cancel=False, n=20_000)
        within = pool(
            utilisation=utilisation, delay=base.p95_s, cancel=False, budget=0.05, n=20_000
        )
        assert within.p99_s <= 1.6 * base.p99_s
        assert within.extra_ratio <= 0.05


def test_a_pool_without_backups_has_the_mean_wait_of_pollaczek_and_khinchine():
    # M/G/1 with exponential service of mean 1 (M/M/1): P(T > t) = exp(-(1 - u) t), so P95 of the
    # sojourn time is ln(20) / (1 - u).
    base = pool(
        utilisation=0.5, delay=math.inf, cancel=False, servers=4, service=stats.expon(), seed=3
    )
    assert base.p95_s == pytest.approx(math.log(20) / 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lognormal(0), "`s` must be a finite number > 0, got 0"),
        (lambda: Pareto(-1), "`alpha` must be a finite number > 0, got -1"),
        (lambda: Stragglers(2), r"`share` must be in \[0, 1\], got 2"),
        (lambda: oracle(LOGNORMAL, budget=0), r"`budget` must be in \(0, 1\), got 0"),
        (
            lambda: hedged_quantile(LOGNORMAL, delays=[1], percentile=100),
            r"`percentile` must be in \(0, 100\), got 100",
        ),
        (
            lambda: hedged_quantile(LOGNORMAL, delays=[-1], percentile=99),
            "`delays` must be >= 0 seconds, got -1",
        ),
        (lambda: requests(LOGNORMAL, FixedDelay(1), n=0), "`n` must be an integer >= 1, got 0"),
        (
            lambda: requests(LOGNORMAL, FixedDelay(1), n=1, correlation=2),
            r"`correlation` must be in \[-1, 1\], got 2",
        ),
        (
            lambda: pool(utilisation=1, delay=1, cancel=True),
            r"`utilisation` must be in \(0, 1\), got 1",
        ),
        (
            lambda: pool(utilisation=0.5, delay=1, cancel=True, servers=1),
            "`servers` must be an integer >= 2, got 1",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
