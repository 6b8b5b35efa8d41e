"""The studies in worlds whose truth is known: intervals hold it, and nothing is found in nothing.

Small versions of scripts/simulate_studies.py, whose tables are in docs/studies.md. A share is
compared with its promise at a binomial tail of 1 in 10,000.
"""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom, norm, t

from crucible_ensemble.theory import majority_accuracy
from crucible_harness.studies import (
    AdaptiveHedging,
    Methods,
    ReliabilityPlan,
    SizePlan,
    TailLatency,
    WeightsPlan,
    World,
)
from crucible_harness.studies.ballots import chance_right
from crucible_harness.studies.h4_adaptive_hedging import POLICIES, TraceRun
from crucible_harness.studies.rare_events import rate_figure
from crucible_harness.studies.worlds import BetaVoters, Confident, PairedCalls, SharedCoin, drawn
from crucible_hedging.simulate import Lognormal

_RARE = 1e-4


def holds(hits: int, n: int, promise: float = 0.95) -> bool:
    """Say whether a share may well be what was promised."""
    return bool(binom.ppf(_RARE, n, promise) <= hits <= binom.ppf(1 - _RARE, n, promise))


def few(hits: int, n: int, promise: float = 0.05) -> bool:
    """Say whether a share may well be at most what was promised."""
    return bool(hits <= binom.ppf(1 - _RARE, n, promise))


def inside(figure, truth) -> bool:
    return figure.low <= truth <= figure.high


# ------------------------------------------------------------- the worlds themselves


def test_a_shared_coin_has_the_accuracy_of_its_closed_form():
    rng = np.random.default_rng(1)
    for world in (
        SharedCoin(accuracies=(0.8, 0.7, 0.6), correlation=0.0, classes=2),
        SharedCoin(accuracies=(0.8, 0.7, 0.7, 0.65), correlation=0.4),
        SharedCoin(accuracies=(0.7,) * 5, correlation=0.3, classes=3),
    ):
        ballots = world.draw(200_000, rng)
        assert chance_right(ballots.answers).mean() == pytest.approx(world.vote(), abs=0.004)
        assert ballots.right.mean(axis=0) == pytest.approx(world.accuracies, abs=0.004)
    # The ensemble package's specification, section 7, number 1: c = .3, p = .8, n = 5.
    two = SharedCoin(accuracies=(0.8,) * 5, correlation=0.3, classes=2)
    assert two.vote() == pytest.approx(0.899456, abs=5e-7)


def test_beta_voters_have_the_accuracy_of_the_beta_binomial():
    world = BetaVoters(mu=0.8, rho=0.3)
    assert world.vote(5) == pytest.approx(0.849697, abs=5e-7)  # the same section
    ballots = world.draw(200_000, np.random.default_rng(2))
    assert chance_right(ballots.answers).mean() == pytest.approx(world.vote(5), abs=0.004)
    assert np.corrcoef(ballots.right.T)[0, 1] == pytest.approx(0.3, abs=0.01)
    assert ballots.cost_usd.mean() == pytest.approx(0.001, rel=0.02)
    # Voters that are wrong more often were asked what is hard, and so dear.
    assert np.corrcoef(ballots.right.mean(axis=1), ballots.cost_usd.mean(axis=1))[0, 1] < -0.3


def test_paired_calls_have_the_latency_and_the_persistence_they_say():
    world = PairedCalls(dist=Lognormal(1), persistence=0.6)
    log = world.draw(60_000, np.random.default_rng(3))
    z = np.log([r.primary_s for r in log])
    assert (z.mean(), z.std()) == pytest.approx((0.0, 1.0), abs=0.03)
    assert np.corrcoef(z[1:], z[:-1])[0, 1] == pytest.approx(0.6, abs=0.02)
    d = float(Lognormal(1).ppf(0.95))
    cut = world.reduction(delay_s=d, probability=1.0, percentile=99)
    assert cut == pytest.approx(0.349, abs=0.001)  # hedging specification: 34.9 % at 5 %


# ------------------------------------------------------------- the studies in them


def test_h1_holds_the_truth_and_rarely_claims_what_is_not_there():
    world = SharedCoin(accuracies=(0.7,) * 5, correlation=0.2)
    rng, n = np.random.default_rng(11), 250
    gain = world.vote() - 0.7
    held = better = reliable = 0
    for _ in range(n):
        ballots = world.draw(400, rng)
        vote = drawn(chance_right(ballots.answers), rng)
        choosing = rng.permutation(400) < 133
        one = ReliabilityPlan(sesoi=gain, at_least=0.3).judge(
            ballots, vote, choosing, simulated=True
        )
        two = ReliabilityPlan(sesoi=0.01, at_least=world.vote()).judge(
            ballots, vote, choosing, simulated=True
        )
        held += inside(one.figure("gain"), gain)
        better += one.outcome == "supported"
        reliable += two.outcome == "supported"
    assert holds(held, n)
    assert few(better, n)  # the gain is exactly the smallest of interest
    assert few(reliable, n)  # the accuracy is exactly what is claimed


def test_h3_holds_the_truth_and_finds_no_gain_among_guessers():
    world, rng, n = BetaVoters(), np.random.default_rng(13), 80
    truths = {"gain": majority_accuracy(0.6, 5, 0.2) - 0.6, "mu": 0.6, "rho": 0.2}
    held, value, per_usd = dict.fromkeys(truths, 0), 0, 0
    for _ in range(n):
        found = SizePlan(resamples=200).judge(world.draw(300, rng), simulated=True)
        for name, truth in truths.items():
            held[name] += inside(found.figure(name), truth)
        row = found.table("Shapley values").rows[0]
        value += row[2] <= world.vote(5) / 5 <= row[3]
        *_, low, high, _ = found.table("Sizes").rows[2]
        per_usd += low <= (world.vote(3) - world.vote(2)) / world.price_usd <= high
    assert all(holds(hits, n) for hits in (*held.values(), value, per_usd)), held
    guessers, supported = BetaVoters(mu=0.5), 0
    for _ in range(n):
        found = SizePlan(resamples=200, sesoi=0.001).judge(guessers.draw(300, rng), simulated=True)
        supported += found.outcome == "supported"
    assert few(supported, n)


def test_h5_holds_the_truth_and_finds_nothing_in_confidences_that_say_nothing():
    world, rng, n = Confident(), np.random.default_rng(15), 40
    gain = world.gain(items=1_000_000, rng=np.random.default_rng(1))
    lost = gain - world.gain(weakest_shift=3.0, items=1_000_000, rng=np.random.default_rng(1))
    plan = WeightsPlan(source="reported", classes=4.0, resamples=400, sesoi=0.001)
    held = cost = 0
    for _ in range(n):
        found = plan.judge(world.draw(400, rng)[0], simulated=True, rules=("log-odds",))
        held += inside(found.figure("gain"), gain)
        cost += inside(found.figure("interaction"), lost)
    assert holds(held, n)
    assert holds(cost, n)
    nothing = Confident(shapes=((6.0, 1.6),) * 3, informative=False)
    supported = 0
    for _ in range(n):
        found = plan.judge(nothing.draw(400, rng)[0], simulated=True, rules=("log-odds",))
        supported += found.outcome == "supported"
    assert few(supported, n)


def test_h2_holds_the_truth_and_finds_nothing_where_copies_are_as_slow():
    rng, n = np.random.default_rng(12), 10
    held = load = supported = 0
    for k in range(n):
        world, study = PairedCalls(dist=Lognormal(1)), TailLatency(seed=k)
        found = study.analyse(world.draw(4_000, rng), simulated=True)
        d, q = found.figure("delay").value, found.figure("probability").value
        cut = world.reduction(delay_s=d, probability=q, percentile=99)
        held += inside(found.figure("reduction"), cut)
        load += q * float(world.dist.sf(d)) <= found.figure("extra load").high
        same = PairedCalls(dist=Lognormal(1), copies=1.0).draw(4_000, rng)
        supported += study.analyse(same, simulated=True).outcome == "supported"
    assert holds(held, n)
    assert holds(load, n)
    assert few(supported, n)


def test_a_rate_of_calls_that_are_correlated_in_time_keeps_its_bounds():
    """Where percentiles of a block bootstrap keep 93 % above: a rare event is skewed."""
    threshold, truth = norm.isf(0.0375), 0.0375
    for persistence in (0.0, 0.3):
        rng, n = np.random.default_rng(16), 5_000
        above = below = 0
        for _ in range(n):
            z = rng.standard_normal(2_000)
            z[1:] *= np.sqrt(1 - persistence**2)
            late = lfilter([1.0], [1.0, -persistence], z) > threshold
            found = rate_figure("late", late, alpha=0.05)
            above += found.high >= truth
            below += found.low <= truth
        assert above >= binom.ppf(_RARE, n, 0.95)
        assert below >= binom.ppf(_RARE, n, 0.95)
        assert max(above, below) <= binom.ppf(1 - _RARE, n, 0.96)


def test_a_rate_of_independent_calls_has_the_bounds_of_clopper_and_pearson():
    # Never and always: 1 - .05 ** (1 / n), with n less by the t quantile's allowance.
    n, blocks = 1_000, 100
    allowance = (norm.isf(0.05) / t.isf(0.05, blocks - 1)) ** 2
    never = rate_figure("never", np.zeros(n), alpha=0.05)
    assert (never.value, never.low) == (0.0, 0.0)
    assert never.high == pytest.approx(1 - 0.05 ** (1 / (n * allowance)), rel=1e-9)
    always = rate_figure("always", np.ones(n), times=0.5, alpha=0.05)
    assert (always.value, always.high) == (0.5, 0.5)
    assert always.low == pytest.approx(0.5 * 0.05 ** (1 / (n * allowance)), rel=1e-9)
    # A hundred late calls in one row are one event, not a hundred.
    spread, burst = np.zeros(n), np.zeros(n)
    spread[::10] = burst[:100] = 1.0
    assert (
        rate_figure("b", burst, alpha=0.05).high > rate_figure("s", spread, alpha=0.05).high + 0.02
    )
    with pytest.raises(ValueError, match="`happened` must hold 2 calls"):
        rate_figure("few", [True], alpha=0.05)


def test_h4_holds_the_truth_over_seeds():
    """The judgement over seeds, given regrets with a known mean."""
    rng, n = np.random.default_rng(14), 300
    study = AdaptiveHedging(traces=("regimes",), sesoi=0.1)
    held = supported = 0
    for _ in range(n):
        saved = 0.1 + 0.1 * rng.standard_normal(30)
        runs = [
            {
                policy: TraceRun(percentile_s=1.0, extra=0.05, regret=s if policy == "fixed" else 0)
                for policy in POLICIES
            }
            for s in saved.tolist()
        ]
        found = study.judge({"regimes": runs})
        held += inside(found.figure("regret saved: regimes"), 0.1)
        supported += found.outcome == "supported"
    assert holds(held, n)
    assert few(supported, n)  # what is saved is exactly the smallest of interest


def test_h4_says_supported_only_if_every_kind_of_trace_is():
    def runs(saved):
        return [
            {p: TraceRun(percentile_s=1.0, extra=0.05, regret=s if p == "fixed" else 0.0)
             for p in POLICIES}
            for s in (saved + 0.01 * np.arange(30) / 30).tolist()
        ]  # fmt: skip

    study = AdaptiveHedging(traces=("regimes", "days"))
    assert study.judge({"regimes": runs(0.3), "days": runs(0.3)}).outcome == "supported"
    found = study.judge({"regimes": runs(0.3), "days": runs(-0.3)})
    assert found.outcome == "not supported"
    assert "days: not supported" in found.sentence


def rates_of(found, *, world=0):
    """Return false findings, those expected and counted, coverage and power of each analysis."""
    table = found.table("Rates")
    names = table.columns.index("analysis")
    labels = list(dict.fromkeys(row[:6] for row in table.rows))
    return {row[names]: row[names + 1 :] for row in table.rows if row[:6] == labels[world]}


def test_rq6_repeats_taken_as_items_find_differences_that_are_not_there():
    # Issue: 50 items x 3 repeats at temperature 0: 21 to 27 % as independent, 4 to 6 % clustered.
    # Large samples: P(|Z| > 1.96 / sqrt(3)) = 25.8 %, whatever items are like.
    runs = 2_500
    rates = rates_of(Methods(worlds=(World(),), runs=runs, seed=6).simulate())
    false, many, exact, coverage, _ = rates["all pairs, as independent"]
    assert 0.21 <= exact <= 0.27
    assert many == pytest.approx(0.2578, abs=5e-5)
    assert holds(round(false * runs), runs, promise=exact)
    assert coverage < 0.80  # of an interval of 95 %
    false, many, exact, coverage, _ = rates["by item (clustered, the default)"]
    assert 0.04 <= exact <= 0.06
    assert many == 0.05
    assert holds(round(false * runs), runs, promise=exact)
    assert holds(round(coverage * runs), runs)
    # Repeats at temperature 0 are the first answer again: the same test, to the last digit.
    assert rates["by item (clustered, the default)"] == rates["first answer only, by item"]
    # Two groups of answers hide a part of it: items that both models find easy or hard.
    assert rates["all answers, unpaired"][0] == pytest.approx(0.133, abs=0.03)


def test_rq6_expects_what_it_sees_in_any_world():
    worlds = (
        World(items=300, item_sd=1.0, own_sd=1.0, base=0.5),
        World(items=300, item_sd=3.5, own_sd=2.0, base=-1.4, sampling="sampled"),
    )
    runs = 500
    found = Methods(worlds=worlds, runs=runs, seed=7).simulate()
    for place in range(len(worlds)):
        for name, (false, many, *_) in rates_of(found, world=place).items():
            assert holds(round(false * runs), runs, promise=many), name


def test_equal_items_make_pairs_and_groups_err_alike():
    # r repeats of one answer: the variance is r times what it is taken for.
    for repeats, expected in ((1, 0.05), (3, 0.25781), (10, 0.53539)):  # 2 (1 - Phi(z/sqrt(r)))
        world = World(item_sd=0.0, base=0.5, repeats=repeats)
        assert world.moments()[1:] == pytest.approx((0.0, 1.0), abs=1e-12)
        for paired in (True, False):
            assert world.false_findings(paired=paired, alpha=0.05) == pytest.approx(
                expected, abs=2e-5
            )


def test_a_world_knows_its_accuracy_and_correlations():
    world = World(sampling="sampled", repeats=2, own_sd=1.5, items=200_000)
    control, treatment = world.draw(0.0, np.random.default_rng(8))
    p, models, repeats = world.moments()
    assert control.mean() == pytest.approx(p, abs=0.005)
    assert np.corrcoef(control[:, 0], treatment[:, 0])[0, 1] == pytest.approx(models, abs=0.01)
    assert np.corrcoef(control.T)[0, 1] == pytest.approx(repeats, abs=0.01)


def test_rq6_sampled_repeats_help_when_they_are_nested_in_items():
    world = World(sampling="sampled", own_sd=0.5, repeats=5)
    rates = rates_of(Methods(worlds=(world,), runs=400, seed=6).simulate())
    clustered = rates["by item (clustered, the default)"]
    assert few(round(clustered[0] * 400), 400, promise=0.06)
    assert clustered[4] > rates["first answer only, by item"][4] + 0.1


def test_rq6_knows_the_true_difference():
    world = World(item_sd=1.0, own_sd=1.0, base=0.5)
    control, treatment = (
        np.concatenate(parts)
        for parts in zip(
            *(world.draw(0.7, np.random.default_rng(k)) for k in range(2_000)), strict=True
        )
    )
    seen = treatment[:, 0].mean() - control[:, 0].mean()  # 100,000 items: standard error .002
    assert world.difference(0.7) == pytest.approx(seen, abs=0.006)
    assert World(item_sd=0, own_sd=0, base=0.0).difference(0.7) == pytest.approx(
        1 / (1 + np.exp(-0.7)) - 0.5, abs=1e-9
    )
