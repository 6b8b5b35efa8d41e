"""Posteriors against closed sums, simulation and symmetry."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from crucible_bench.bayes import compare_paired_counts, compare_proportions


def _closed_sum(a0, b0, a1, b1):
    # P(T > C) for integer parameters: Evan Miller, Formulas for Bayesian A/B Testing, 2014
    i = np.arange(a1)
    return float(
        np.exp(
            special.betaln(a0 + i, b0 + b1)
            - np.log(b1 + i)
            - special.betaln(1 + i, b1)
            - special.betaln(a0, b0)
        ).sum()
    )


def test_the_probability_of_being_better_is_the_closed_sum():
    result = compare_proportions((48, 80), (56, 70), prior=1)
    assert result.probability_better == pytest.approx(_closed_sum(49, 33, 57, 15), abs=1e-12)
    assert result.probability_better == pytest.approx(0.995929539, abs=1e-9)
    jeffreys = compare_proportions((48, 80), (56, 70))
    assert jeffreys.probability_better == pytest.approx(0.996273679, abs=1e-9)


def test_graded_gsm8k_solutions():
    # 306 / 209 / 152 / 652; quadrature of the posterior that the docstring states
    result = compare_paired_counts(209, 152, pairs=1319, rope=0.02)
    assert (result.interval.low, result.interval.high) == pytest.approx((-0.071300, -0.015040), abs=2e-6)  # fmt: skip
    assert result.probability_in_rope == pytest.approx(0.053218, abs=1e-6)
    # P(T > C) is P(share > 1/2) exactly
    exact = float(stats.beta.sf(0.5, 152.5, 209.5))
    assert result.probability_better == pytest.approx(exact, abs=1e-12)


def test_both_posteriors_are_those_of_a_million_draws():
    # quantiles of 1e6 draws: standard error about 2e-4 at most here
    rng = np.random.default_rng(0)
    draws = rng.beta(9.5, 3.5, 1_000_000) - rng.beta(5.5, 6.5, 1_000_000)
    result = compare_proportions((5, 11), (9, 12))
    assert (result.interval.low, result.interval.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1.5e-3)  # fmt: skip
    assert result.mean == pytest.approx(draws.mean(), abs=1e-3)
    cells = rng.dirichlet([30.5, 4.5, 9.5, 6.5], 1_000_000)
    paired = compare_paired_counts(4, 9, pairs=49, rope=0.05)
    draws = cells[:, 2] - cells[:, 1]
    assert (paired.interval.low, paired.interval.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1.5e-3)  # fmt: skip
    assert paired.probability_in_rope == pytest.approx((np.abs(draws) < 0.05).mean(), abs=2e-3)


def test_extreme_tables_have_a_posterior():
    for result in (
        compare_proportions((0, 20), (20, 20)),
        compare_proportions((0, 1), (0, 1_000_000)),
        compare_paired_counts(0, 0, pairs=1),
        compare_paired_counts(0, 100_000, pairs=100_000),
    ):
        assert -1 < result.interval.low < result.interval.high < 1
        assert 0 <= result.probability_better <= 1
        assert result.probability_in_rope is None


@settings(max_examples=6)
@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.4, 0.5, 1.0, 2.5]))
def test_swapping_the_arms_mirrors_the_posterior(x0, x1, prior):
    forward = compare_proportions((x0, 40), (x1, 40), prior=prior)
    backward = compare_proportions((x1, 40), (x0, 40), prior=prior)
    assert backward.probability_better == pytest.approx(1 - forward.probability_better, abs=1e-6)
    # A density that is infinite at 0 or 1 (prior < 1, no success or no failure) costs digits.
    assert backward.interval.low == pytest.approx(-forward.interval.high, abs=3e-4)
    if x0 == x1:
        assert forward.probability_better == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: compare_proportions((3, 2), (1, 2)), r"`control` must be \(successes, trials\)"),
        (lambda: compare_proportions((1, 2), (0, 0)), "`treatment` must be"),
        (lambda: compare_proportions((1, 2), (1, 2), prior=0), "`prior` must be > 0, got 0"),
        (lambda: compare_proportions((1, 2), (1, 2), prior=math.nan), "`prior` must be > 0"),
        (lambda: compare_proportions((1, 2), (1, 2), rope=0), r"`rope` must be in \(0, 1\)"),
        (lambda: compare_proportions((1, 2), (1, 2), confidence=0), "`confidence` must be"),
        (lambda: compare_paired_counts(2, 2, pairs=3), "`pairs` must be >= 1"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
