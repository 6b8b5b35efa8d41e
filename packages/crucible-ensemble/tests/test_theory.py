"""Closed forms; every number is the specification's, or a binomial sum written out."""

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_ensemble.executions import Consensus, Decided, Posterior, Sprt
from crucible_ensemble.theory import (
    all_wrong_rate,
    expected_calls,
    fit_beta_binomial,
    majority_accuracy,
    majority_limit,
    n_eff,
    plurality_accuracy,
    probit_phi,
    weighted_accuracy,
)


@pytest.mark.parametrize(
    ("p", "n", "rho", "model", "accuracy"),
    [
        (0.9, 3, 0.0, "beta_binomial", 0.972),
        (0.9, 5, 0.0, "beta_binomial", 0.99144),
        (0.9, 7, 0.0, "beta_binomial", 0.997272),
        (0.8, 3, 0.3, "beta_binomial", 0.836185),
        (0.8, 5, 0.3, "beta_binomial", 0.849697),
        (0.8, 7, 0.3, "beta_binomial", 0.856726),
        (0.8, 11, 0.3, "beta_binomial", 0.863935),
        (0.7, 5, 0.3, "beta_binomial", 0.74425),
        (0.6, 5, 0.1, "beta_binomial", 0.655356),
        (0.9, 3, 0.5, "beta_binomial", 0.912),
        (0.8, 5, 0.5, "probit", 0.852994),
        (0.8, 5, 0.3, "shared_coin", 0.899456),
    ],
)
def test_what_a_majority_reaches(p, n, rho, model, accuracy):
    assert majority_accuracy(p, n, rho, model=model) == pytest.approx(accuracy, abs=6e-7)


def test_errors_shrink_by_these_factors_only_if_voters_are_independent():
    assert 0.1 / (1 - majority_accuracy(0.9, 5)) == pytest.approx(11.682, abs=5e-4)
    assert 0.1 / (1 - majority_accuracy(0.9, 7)) == pytest.approx(36.657, abs=5e-4)
    assert majority_limit(0.8, 0.3) == pytest.approx(0.878873, abs=5e-7)
    assert 1 - all_wrong_rate(0.8, 5, 0.3) == pytest.approx(0.977037, abs=5e-7)
    assert probit_phi(0.8, 0.5) == pytest.approx(0.294691, abs=5e-6)
    assert n_eff(5, 0.3) == pytest.approx(2.2727, abs=5e-5)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("model", ["beta_binomial", "probit", "shared_coin"])
def test_two_voters_are_worth_one(p, rho, model):
    assert majority_accuracy(p, 2, rho, model=model) == pytest.approx(p, abs=1e-9)


@given(st.floats(0.01, 0.99), st.integers(1, 9))
def test_complete_dependence_and_independence_are_exact_limits(p, n):
    assert majority_accuracy(p, n, 1.0) == p
    sums = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) * (1.0 if 2 * k > n else 0.5 if 2 * k == n else 0.0) for k in range(n + 1))  # fmt: skip
    assert majority_accuracy(p, n, 0.0) == pytest.approx(sums, abs=1e-12)
    near = majority_accuracy(p, n, 1e-7)
    assert near == pytest.approx(sums, abs=1e-4)


@pytest.mark.parametrize(
    ("ps", "k", "plurality", "weighted"),
    [
        ([0.7] * 3, 4, 0.826, None),
        ([0.7] * 3, 2, 0.784, None),
        ([0.6] * 5, 4, 0.81056, None),
        ([0.6] * 5, 2, 0.68256, None),
        ([0.9, 0.6, 0.6], 2, 0.792, 0.900),
        ([0.9, 0.85, 0.8, 0.7, 0.6], 2, 0.92504, 0.94418),
        ([0.95, 0.6, 0.6, 0.6, 0.6], 2, 0.80352, 0.950),
        ([0.9, 0.6, 0.6], 4, 0.834667, 0.900),
        ([0.9, 0.85, 0.8, 0.7, 0.6], 4, 0.961984, 0.973822),
        ([0.95, 0.6, 0.6, 0.6, 0.6], 4, 0.894187, 0.959893),
    ],
)
def test_plurality_and_log_odds_weights(ps, k, plurality, weighted):
    assert plurality_accuracy(ps, k) == pytest.approx(plurality, abs=6e-7)
    if weighted is not None:
        assert weighted_accuracy(ps, k) == pytest.approx(weighted, abs=6e-7)


@given(st.lists(st.floats(0.05, 0.95), min_size=1, max_size=4), st.integers(2, 4))
@settings(max_examples=40)
def test_plurality_is_what_enumeration_says(ps, k):
    total = 0.0
    for path in product(range(k), repeat=len(ps)):
        chance = math.prod(p if a == 0 else (1 - p) / (k - 1) for p, a in zip(ps, path, strict=True))  # fmt: skip
        best = max(path.count(a) for a in set(path))
        tied = [a for a in set(path) if path.count(a) == best]
        total += chance * ((0 in tied) / len(tied))
    assert plurality_accuracy(ps, k) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize(
    ("rule", "p", "n", "calls", "accuracy"),
    [
        (Decided(), 0.9, 3, 2.18, 0.972),
        (Decided(), 0.6, 5, 4.0656, None),
        (Decided(), 0.7, 5, 3.8946, None),
        (Decided(), 0.8, 5, 3.6336, None),
        (Decided(), 0.9, 5, 3.3186, 0.99144),
        (Decided(), 0.9, 11, 6.666069, None),
        (Consensus(0.7), 0.9, 5, 2.3924, 0.98496),
        (Posterior(0.9), 0.8, 7, 2.877568, 0.936550),
        (Posterior(0.95), 0.8, 7, 4.4208, 0.964198),
        (Sprt(1 / 17, 1 / 17), 0.8, None, 2.941176, 16 / 17),
    ],
)
def test_how_many_calls_a_stop_rule_needs(rule, p, n, calls, accuracy):
    found = expected_calls(rule, p, n)
    assert found.calls == pytest.approx(calls, abs=6e-6)
    wanted = majority_accuracy(p, n) if accuracy is None else accuracy
    assert found.accuracy == pytest.approx(wanted, abs=6e-7)


def test_a_beta_binomial_is_found_again():
    from scipy.stats import betabinom

    n, a, b = 6, 1.4, 0.6  # mu = .7, rho = 1/3
    counts = betabinom.ppf([(i + 0.5) / 6000 for i in range(6000)], n, a, b).astype(int)
    found = fit_beta_binomial(counts, n)
    assert found.mu == pytest.approx(0.7, abs=0.002)
    assert found.rho == pytest.approx(1 / 3, abs=0.005)


@pytest.mark.parametrize(
    "call",
    [
        lambda: majority_accuracy(1.1, 3),
        lambda: majority_accuracy(0.5, 3, -0.1),
        lambda: majority_accuracy(0.5, 0),
        lambda: majority_accuracy(0.5, 3, 0.2, model="gauss"),
        lambda: plurality_accuracy([], 2),
        lambda: weighted_accuracy([0.5] * 30, 4),
        lambda: expected_calls(Decided(), 0.9),
        lambda: fit_beta_binomial([0, 0], 3),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(ValueError, match="must"):
        call()
