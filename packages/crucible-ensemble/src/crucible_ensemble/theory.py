"""What voting can be expected to give, before anybody is asked.

Voters are right with probability p. Dependence between them is one of three models: beta-binomial
(each question has its own probability), probit (a shared normal difficulty), or a shared coin
(with probability rho all voters give one answer). A tie counts one over the number of tied answers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy.typing as npt

Dependence = Literal["beta_binomial", "probit", "shared_coin"]
_MOST_PATHS = 4_000_000


def majority_accuracy(
    p: float, n: int, rho: float = 0.0, *, model: Dependence = "beta_binomial"
) -> float:
    """Return the accuracy of a majority of n equal voters between two answers.

    Parameters
    ----------
    p : float, in [0, 1]
        Accuracy of one voter.
    n : int, >= 1
        For even n a tie counts one half, so n = 2 gives p.
    rho : float, in [0, 1]
        "beta_binomial": intra-class correlation. "probit": correlation of the latent normals.
        "shared_coin": probability that all voters are one. 0 and 1 are the exact limits.
    model : {"beta_binomial", "probit", "shared_coin"}

    Raises
    ------
    ValueError
        If an argument is out of range; negative dependence has no such model.

    Examples
    --------
    >>> round(majority_accuracy(0.9, 5), 5)
    0.99144
    """
    _check(p, rho, n)
    if n == 1 or rho == 1.0 or p in (0.0, 1.0):
        return p
    if rho == 0.0:
        return _binomial_majority(p, n)
    if model == "shared_coin":
        return (1 - rho) * _binomial_majority(p, n) + rho * p
    if model == "beta_binomial":
        from scipy.stats import betabinom

        a, b = _beta(p, rho)
        half = n // 2
        above = float(betabinom.sf(half, n, a, b))
        return above + (0.5 * float(betabinom.pmf(half, n, a, b)) if n % 2 == 0 else 0.0)
    if model == "probit":
        return _over_normal(lambda q: _binomial_majority(q, n), p, rho)
    raise ValueError(f'`model` must be "beta_binomial", "probit" or "shared_coin", got {model!r}')


def majority_limit(p: float, rho: float, *, model: Dependence = "beta_binomial") -> float:
    """Return what `majority_accuracy` approaches with ever more voters."""
    _check(p, rho, 1)
    if rho == 1.0 or p in (0.0, 1.0):
        return p
    if rho == 0.0:
        return 0.5 if p == 0.5 else float(p > 0.5)
    if model == "shared_coin":
        return (1 - rho) * (0.5 if p == 0.5 else float(p > 0.5)) + rho * p
    from scipy.stats import beta, norm

    if model == "beta_binomial":
        return float(beta.sf(0.5, *_beta(p, rho)))
    if model == "probit":
        return float(norm.cdf(norm.ppf(p) / math.sqrt(rho)))
    raise ValueError(f'`model` must be "beta_binomial", "probit" or "shared_coin", got {model!r}')


def all_wrong_rate(p: float, n: int, rho: float = 0.0, *, model: Dependence = "beta_binomial") -> float:  # noqa: E501 # fmt: skip
    """Return the share of questions that nobody gets right: 1 less this bounds every vote."""
    _check(p, rho, n)
    if rho == 1.0 or n == 1:
        return 1 - p
    if rho == 0.0 or p in (0.0, 1.0):
        return float((1 - p) ** n)
    if model == "shared_coin":
        return float((1 - rho) * (1 - p) ** n + rho * (1 - p))
    if model == "beta_binomial":
        from scipy.stats import betabinom

        return float(betabinom.pmf(0, n, *_beta(p, rho)))
    if model == "probit":
        return _over_normal(lambda q: (1 - q) ** n, p, rho)
    raise ValueError(f'`model` must be "beta_binomial", "probit" or "shared_coin", got {model!r}')


def probit_phi(p: float, rho: float) -> float:
    """Return the correlation of right and wrong that a latent correlation means at accuracy p."""
    from scipy.stats import multivariate_normal, norm

    _check(p, rho, 1)
    z = norm.ppf(p)
    both = multivariate_normal.cdf([z, z], mean=[0, 0], cov=[[1, rho], [rho, 1]], abseps=1e-10, releps=1e-10)  # noqa: E501 # fmt: skip
    return float((both - p * p) / (p * (1 - p)))


def n_eff(n: int, rho: float) -> float:
    """Return the effective number of voters n / (1 + (n - 1) rho)."""
    _check(0.5, rho, n)
    return n / (1 + (n - 1) * rho)


def plurality_accuracy(ps: Sequence[float], classes: int = 2) -> float:
    """Return the accuracy of a plurality of independent voters, errors uniform over the others.

    Parameters
    ----------
    ps : sequence of float, in [0, 1]
    classes : int, >= 2

    Notes
    -----
    Exact: a dynamic program over the counts, in which wrong answers are interchangeable.
    """
    _check_many(ps, classes)
    # State: votes for the right answer, and the sorted votes of the wrong ones.
    states: dict[tuple[int, tuple[int, ...]], float] = {(0, (0,) * (classes - 1)): 1.0}
    for p in ps:
        new: dict[tuple[int, tuple[int, ...]], float] = {}
        for (right, wrong), mass in states.items():
            to = (right + 1, wrong)
            new[to] = new.get(to, 0.0) + mass * p
            share = mass * (1 - p) / (classes - 1)
            for place, votes in enumerate(wrong):
                to = (right, tuple(sorted((*wrong[:place], votes + 1, *wrong[place + 1 :]))))
                new[to] = new.get(to, 0.0) + share
        states = new
    accuracy = 0.0
    for (right, wrong), mass in states.items():
        best = max(wrong)
        if right > best:
            accuracy += mass
        elif right == best:
            accuracy += mass / (1 + wrong.count(best))
    return accuracy


def weighted_accuracy(ps: Sequence[float], classes: int = 2) -> float:
    """Return the accuracy of the optimal weighted vote of independent voters.

    Weights are log((K-1) p / (1-p)); errors are uniform over the other K - 1 answers.

    Raises
    ------
    ValueError
        If there are more than four million paths to enumerate.

    References
    ----------
    .. [1] S. Nitzan and J. Paroush, International Economic Review 23(2), 289-297, 1982.
    """
    import numpy as np

    from crucible_ensemble.votes.weighted import log_odds_weight

    _check_many(ps, classes)
    if classes ** len(ps) > _MOST_PATHS:
        raise ValueError(f"`ps` must give at most {_MOST_PATHS} paths, got {classes ** len(ps)}")
    weights = [log_odds_weight(p, classes) for p in ps]
    answers = np.array(list(product(range(classes), repeat=len(ps))))  # (paths, voters); 0 is right
    chance = np.ones(len(answers))
    scores = np.zeros((len(answers), classes))
    for j, (p, weight) in enumerate(zip(ps, weights, strict=True)):
        chance *= np.where(answers[:, j] == 0, p, (1 - p) / (classes - 1))
        for k in range(classes):
            scores[:, k] += weight * (answers[:, j] == k)
    best = scores.max(axis=1, keepdims=True)
    lead = np.isclose(scores, best, rtol=1e-12, atol=1e-12)
    return float((chance * lead[:, 0] / lead.sum(axis=1)).sum())


@dataclass(frozen=True, slots=True)
class SequentialCost:
    """Mean number of calls of a stopping rule, and the accuracy it reaches."""

    calls: float
    accuracy: float


def expected_calls(rule: Any, p: float, n: int | None = None) -> SequentialCost:
    """Return the mean calls and accuracy of a stop rule with equal voters and two answers.

    Parameters
    ----------
    rule : Decided, Consensus, Posterior or Sprt
        Accuracies in the rule are not looked at: it is told p.
    p : float, in (0, 1)
    n : int, >= 1, optional
        Voters at most; None is unlimited, for `Sprt` with p > 0.5 alone.

    Notes
    -----
    Exact, by a walk over the counts of right and wrong; unlimited, by the gambler's ruin.
    """
    from crucible_ensemble.executions.stops import Sprt

    _check(p, 0.0, 1 if n is None else n)
    if n is None:
        if not isinstance(rule, Sprt) or not 0.5 < p < 1:
            raise ValueError("`n` must be given unless the rule is Sprt and p in (0.5, 1)")
        step = math.log(p / (1 - p))
        lead = math.ceil(rule.boundary / step - 1e-12)
        accuracy = 1 / (1 + ((1 - p) / p) ** lead)
        return SequentialCost(lead * (2 * accuracy - 1) / (2 * p - 1), accuracy)
    calls = accuracy = 0.0
    states = {(0, 0): 1.0}
    while states:
        new: dict[tuple[int, int], float] = {}
        for (right, wrong), mass in states.items():
            asked = right + wrong
            if asked == n or (asked and _stops(rule, p, right, wrong, n)):
                calls += mass * asked
                accuracy += mass * (0.5 if right == wrong else float(right > wrong))
                continue
            for to, chance in (((right + 1, wrong), p), ((right, wrong + 1), 1 - p)):
                new[to] = new.get(to, 0.0) + mass * chance
        states = new
    return SequentialCost(calls, accuracy)


def _stops(rule: Any, p: float, right: int, wrong: int, n: int) -> bool:
    from crucible_ensemble.executions.machine import Seat, Table
    from crucible_ensemble.prediction import Ballot
    from crucible_ensemble.votes.majority import Majority

    seats = tuple(Seat(place=i, member=str(i), sample=0, accuracy=p) for i in range(n))
    table = Table(seats=seats, vote=Majority())
    for place in range(right + wrong):
        key = "right" if place < right else "wrong"
        table.ballots[place] = Ballot(member=str(place), key=key, accuracy=p)
    return rule.reached(table) is not None


@dataclass(frozen=True, slots=True)
class BetaBinomialFit:
    """Mean `mu` and intra-class correlation `rho` of right answers per question."""

    mu: float
    rho: float
    log_likelihood: float


def fit_beta_binomial(counts: "npt.ArrayLike", n: int) -> BetaBinomialFit:
    """Fit a beta-binomial to numbers of right answers by maximum likelihood.

    Parameters
    ----------
    counts : array of shape (questions,)
        In [0, n].
    n : int, >= 2
        Voters.

    Raises
    ------
    ValueError
        If a count is out of range or all are equal: then rho is not defined.
    """
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit
    from scipy.stats import betabinom

    x = np.asarray(counts)
    if n < 2 or x.ndim != 1 or not len(x) or x.min() < 0 or x.max() > n:
        raise ValueError(f"`counts` must be in [0, {n}] and `n` >= 2")
    mean = float(x.mean()) / n
    if not 0 < mean < 1:
        raise ValueError(f"`counts` must hold right and wrong answers, got a mean of {mean}")
    values, times = np.unique(x, return_counts=True)

    def loss(theta: Any) -> float:
        mu, rho = expit(theta)
        mu, rho = np.clip(mu, 1e-9, 1 - 1e-9), np.clip(rho, 1e-9, 1 - 1e-9)
        return -float(times @ betabinom.logpmf(values, n, *_beta(float(mu), float(rho))))

    start = [math.log(mean / (1 - mean)), 0.0]
    options = {"xatol": 1e-9, "fatol": 1e-10, "maxiter": 4000}
    found = minimize(loss, start, method="Nelder-Mead", options=options)
    mu, rho = (float(v) for v in expit(found.x))
    return BetaBinomialFit(mu, rho, -float(found.fun))


def _binomial_majority(p: float, n: int) -> float:
    from scipy.stats import binom

    half = n // 2
    tie = 0.5 * float(binom.pmf(half, n, p)) if n % 2 == 0 else 0.0
    return float(binom.sf(half, n, p)) + tie


def _over_normal(share: Any, p: float, rho: float) -> float:
    """Return the mean of share(p(z)) over the shared normal difficulty z."""
    from scipy.integrate import quad
    from scipy.stats import norm

    z0, own = norm.ppf(p), math.sqrt(1 - rho)

    def integrand(z: float) -> float:
        q = float(norm.cdf((z0 + math.sqrt(rho) * z) / own))
        return float(share(q)) * float(norm.pdf(z))

    value, _ = quad(integrand, -12, 12, epsabs=1e-11, epsrel=1e-11, limit=200)
    return float(value)


def _beta(p: float, rho: float) -> tuple[float, float]:
    size = (1 - rho) / rho
    return p * size, (1 - p) * size


def _check(p: float, rho: float, n: int) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"`p` must be in [0, 1], got {p}")
    if not 0 <= rho <= 1:
        raise ValueError(f"`rho` must be in [0, 1], got {rho}")
    if n < 1:
        raise ValueError(f"`n` must be >= 1, got {n}")


def _check_many(ps: Sequence[float], classes: int) -> None:
    if not len(ps) or not all(0 <= p <= 1 for p in ps):
        raise ValueError(f"`ps` must be probabilities, got {list(ps)}")
    if classes < 2:
        raise ValueError(f"`classes` must be >= 2, got {classes}")
