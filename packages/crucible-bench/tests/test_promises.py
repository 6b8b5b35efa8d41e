"""How often tests reject and intervals hold: enumerated exactly where possible, else simulated."""

import functools
import math

import numpy as np
import pytest
from scipy import special, stats

from crucible_bench import compare
from crucible_bench.clusters import cluster_mean, cluster_t
from crucible_bench.intervals import miettinen_nurminen, tango
from crucible_bench.means import one_sample_t
from crucible_bench.quantile_resampling import independent
from crucible_bench.quantiles import quantile
from crucible_bench.sequential import SequentialComparison
from crucible_bench.simulation import item_scores
from crucible_bench.tables import mcnemar, two_proportions

# ---------------------------------------------------------------- enumerated


@functools.cache
def limits_of_forty():
    found = np.empty((41, 41, 2))
    for x in range(41):
        for y in range(41):
            interval = miettinen_nurminen((x, 40), (y, 40))
            found[x, y] = interval.low, interval.high
    return found


@pytest.mark.parametrize(("p0", "p1", "coverage"), [(0.9, 0.8, 0.9483), (0.7, 0.5, 0.9518)])
def test_miettinen_nurminen_covers_exactly_this_often(p0, p1, coverage):
    found, k = limits_of_forty(), np.arange(41)
    mass = np.outer(stats.binom.pmf(k, 40, p0), stats.binom.pmf(k, 40, p1))
    holds = (found[..., 0] <= p1 - p0) & (p1 - p0 <= found[..., 1])
    assert float(mass[holds].sum()) == pytest.approx(coverage, abs=5e-5)


@pytest.mark.parametrize(("lost", "won", "coverage"), [(0.05, 0.1, 0.9477), (0.05, 0.3, 0.9453)])
def test_tango_covers_exactly_this_often(lost, won, coverage):
    total = 0.0
    for b in range(61):
        for c in range(61 - b):
            mass = stats.multinomial.pmf([b, c, 60 - b - c], 60, [lost, won, 1 - lost - won])
            if mass < 1e-9:
                continue
            interval = tango(b, c, 60)
            total += mass * (interval.low <= won - lost <= interval.high)
    assert total == pytest.approx(coverage, abs=5e-5)


@pytest.mark.parametrize(("kind", "level"), [("mid-p", 0.0457), ("exact", 0.0294)])
def test_mcnemars_exact_type_one_error(kind, level):
    # 200 pairs, .05 + .05 discordant: m discordant pairs, then Binomial(m, 1/2)
    total = 0.0
    for m in range(60):
        of_m = stats.binom.pmf(m, 200, 0.1)
        for b in range(m + 1):
            if mcnemar(b, m - b, pairs=200, kind=kind).p_value <= 0.05:
                total += of_m * stats.binom.pmf(b, m, 0.5)
    assert total == pytest.approx(level, abs=5e-5)


def crossing(log_e_of, n):
    """Return P(a walk of n fair steps ever meets `log_e_of(wins, steps)`), step by step."""
    alive, crossed = np.array([1.0]), 0.0
    for steps in range(1, n + 1):
        alive = 0.5 * (np.r_[alive, 0.0] + np.r_[0.0, alive])
        out = log_e_of(np.arange(steps + 1), steps)
        crossed += float(alive[out].sum())
        alive = np.where(out, 0.0, alive)
    return crossed


def mixture(won, steps):
    return special.betaln(won + 0.5, steps - won + 0.5) - math.log(math.pi) + steps * math.log(2)


def test_watching_every_discordant_pair_keeps_alpha_and_repeated_z_tests_do_not():
    e_test = crossing(lambda won, n: mixture(won, n) >= math.log(20), 400)
    assert e_test == pytest.approx(0.035, abs=0.002)
    z_test = crossing(
        lambda won, n: (np.abs(2 * won - n) >= 1.959964 * math.sqrt(n)) & (n >= 20), 400
    )
    assert z_test == pytest.approx(0.37, abs=0.01)


@pytest.mark.parametrize("steps", [7, 40, 150, 400])
def test_the_comparison_decides_where_the_closed_form_crosses(steps):
    # the boundary that the exact probability above is of
    over = [k for k in range(steps // 2, steps + 1) if mixture(k, steps) >= math.log(20)]
    for won, decision in ((over[0], "superior"), (over[0] - 1, "continue")):
        watch = SequentialComparison(outcome="binary")
        data = {**watch.to_dict(), "n": steps - 1, "won": won - 1, "lost": steps - won}
        assert SequentialComparison.from_dict(data).update(0, 1).decision == decision


# ---------------------------------------------------------------- simulated, seeded


def share(hits, runs):
    return hits / runs


@functools.cache
def p_of_pairs(lost, won, kind):
    return mcnemar(lost, won, pairs=1_000, kind=kind).p_value


@functools.cache
def p_of_shares(x, y):
    return two_proportions((x, 1_000), (y, 1_000)).p_value


@pytest.mark.parametrize(
    ("ability", "unpaired", "exact", "mid_p"), [(0.25, 0.330, 0.513, 0.534), (0.0, 0.015, 0.044, 0.049)]
)  # fmt: skip
def test_pairing_finds_what_is_there_and_only_that(ability, unpaired, exact, mid_p):
    # 4,000 studies of 1,000 items, base 1, item SD 2: within a point, plus 2 standard errors of
    # our own 4,000 where the rate is near one half
    rng, runs = np.random.default_rng(1), 4_000
    found = np.zeros(3)
    for _ in range(runs):
        a, b = item_scores(1_000, [0.0, ability], item_sd=2.0, base=1.0, rng=rng)[:, :, 0]
        lost, won = int((a > b).sum()), int((a < b).sum())
        ps = (
            p_of_shares(int(a.sum()), int(b.sum())),
            p_of_pairs(lost, won, "exact"),
            p_of_pairs(lost, won, "mid-p"),
        )
        found += np.array(ps) <= 0.05
    expected = np.array([unpaired, exact, mid_p])
    room = 0.01 + 2 * np.sqrt(expected * (1 - expected) / runs)
    assert (np.abs(found / runs - expected) <= room).all(), found / runs


def test_twenty_repeats_of_ten_items_are_not_two_hundred_items():
    # ICC .8. The variance of the mean is 1 + 19 * .8 = 16.2 times what 200 items would have, so
    # about 2 (1 - Phi(1.96 / sqrt(16.2))) = .63 of the studies reject; .685 with ICC 1, by t(9)
    rng, runs = np.random.default_rng(2), 4_000
    items = np.repeat(np.arange(10), 20)
    naive = clustered = 0
    for _ in range(runs):
        x = rng.normal(size=10)[items] + rng.normal(scale=0.5, size=200)
        naive += one_sample_t(x).p_value <= 0.05
        clustered += cluster_t(x, items).p_value <= 0.05
    assert share(naive, runs) == pytest.approx(0.65, abs=0.01)
    assert share(clustered, runs) == pytest.approx(0.048, abs=0.01)


def test_cr2_keeps_its_level_where_clusters_differ_in_size_and_cr1_does_not():
    rng, runs = np.random.default_rng(3), 4_000
    sizes = [2, 3, 4, 5, 6, 8, 10, 20, 40, 60]
    groups = np.repeat(np.arange(10), sizes)
    cr1 = cr2 = 0
    for _ in range(runs):
        y = rng.normal(size=10)[groups] + rng.normal(size=groups.size)
        found = cluster_mean(y, groups, variance="CR1")
        cr1 += 2 * special.stdtr(found.df, -abs(found.estimate) / found.se) <= 0.05
        cr2 += cluster_t(y, groups).p_value <= 0.05
    assert share(cr1, runs) == pytest.approx(0.153, abs=0.01)
    assert share(cr2, runs) == pytest.approx(0.061, abs=0.01)


AUTO = {
    "normal, SD 3 of 10 against SD 1 of 30": lambda r: (r.normal(0, 3, 10), r.normal(0, 1, 30)),
    "exponential against normal, 20 each": lambda r: (r.exponential(size=20), r.normal(1, 1, 20)),
    "exponential, 10 against 40": lambda r: (r.exponential(size=10), r.exponential(size=40)),
    "normal, 5 each": lambda r: (r.normal(size=5), r.normal(size=5)),
    "lognormal, 30 each": lambda r: (r.lognormal(size=30), r.lognormal(size=30)),
}


@pytest.mark.parametrize("name", AUTO)
def test_auto_keeps_its_level(name):
    # [.035, .07]; 1,000 studies, standard error .007; 4,000 each in docs/simulations.md
    rng, runs = np.random.default_rng(4), 1_000
    hits = 0
    for _ in range(runs):
        x, y = AUTO[name](rng)
        found = compare(x, y, test="auto", robustness=False, n_resamples=199, rng=rng)
        hits += found.p_value <= 0.05
    assert 0.035 <= share(hits, runs) <= 0.07, share(hits, runs)


def test_order_statistics_hold_a_p99_that_the_percentile_bootstrap_misses():
    # lognormal, n = 500: .88 for the bootstrap's percentiles
    rng, runs = np.random.default_rng(5), 1_500
    true = math.exp(special.ndtri(0.99))
    bootstrap = ranks = 0
    for _ in range(runs):
        x = rng.lognormal(size=500)
        low, high = np.quantile(independent(x, 99, 499, rng), [0.025, 0.975])
        bootstrap += low <= true <= high
        exact = quantile(x, 99).interval
        ranks += exact.low <= true and (exact.high is None or true <= exact.high)
    assert share(bootstrap, runs) == pytest.approx(0.88, abs=0.025)
    assert share(ranks, runs) >= 0.94
