"""Posterior of a difference of two proportions, by quadrature instead of simulation."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from crucible_bench.arrays import Array, check_confidence
from crucible_bench.results import Interval, Record

_POINTS = 1_001


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior(Record):
    """What the data say about treatment - control, given the prior.

    `probability_better` is P(treatment > control); `probability_in_rope` is P(|difference| < rope),
    None where no region of practical equivalence was named. `interval` is equal-tailed.
    """

    design: Literal["independent", "paired"]
    mean: float
    interval: Interval
    probability_better: float
    rope: float | None
    probability_in_rope: float | None
    prior: float


def compare_proportions(
    control: tuple[int, int],
    treatment: tuple[int, int],
    *,
    prior: float = 0.5,
    rope: float | None = None,
    confidence: float = 0.95,
) -> Posterior:
    """Compute the posterior of a difference of independent proportions.

    Parameters
    ----------
    control, treatment : (successes, trials)
    prior : float, > 0
        Both proportions are Beta(prior, prior) before the data: 1/2 is Jeffreys', 1 uniform.
    rope : float, > 0
        Half-width of the region of practical equivalence.

    Notes
    -----
    P(T - C <= d) is an integral of one Beta density against the other's distribution function,
    taken by the trapezoidal rule on the logit scale, where the integrand decays exponentially.

    Examples
    --------
    >>> round(compare_proportions((48, 80), (56, 70)).probability_better, 6)
    0.996274
    """
    from scipy import special

    _check(prior, rope, confidence)
    for name, (x, n) in (("control", control), ("treatment", treatment)):
        if n < 1 or not 0 <= x <= n:
            raise ValueError(f"`{name}` must be (successes, trials), got ({x}, {n})")
    (x0, n0), (x1, n1) = control, treatment
    a0, b0 = x0 + prior, n0 - x0 + prior
    a1, b1 = x1 + prior, n1 - x1 + prior
    share, weight = _nodes(a1, b1)

    def below(difference: float) -> float:
        """Return P(T - C <= difference)."""
        return float(weight @ special.betaincc(a0, b0, np.clip(share - difference, 0, 1)))

    mean = a1 / (a1 + b1) - a0 / (a0 + b0)
    return _posterior("independent", below, mean, prior, rope, confidence)


def compare_paired_counts(
    control_only: int,
    treatment_only: int,
    *,
    pairs: int,
    prior: float = 0.5,
    rope: float | None = None,
    confidence: float = 0.95,
) -> Posterior:
    """Compute the posterior of a difference of paired proportions.

    Parameters
    ----------
    control_only, treatment_only : int, >= 0
        Pairs that only the one or only the other arm got right.
    pairs : int, >= control_only + treatment_only, >= 1
    prior : float, > 0
        The four cells of the table are Dirichlet(prior, prior, prior, prior) before the data.

    Notes
    -----
    discordance ~ Beta(b + c + 2a, rest + 2a) and, independent of it, the share of discordant pairs
    that treatment wins ~ Beta(c + a, b + a); the difference is discordance * (2 share - 1).

    Examples
    --------
    >>> result = compare_paired_counts(209, 152, pairs=1319, rope=0.02)
    >>> round(result.interval.low, 3), round(result.interval.high, 3)
    (-0.071, -0.015)
    """
    from scipy import special

    _check(prior, rope, confidence)
    b, c, rest = control_only, treatment_only, pairs - control_only - treatment_only
    if pairs < 1 or b < 0 or c < 0 or rest < 0:
        raise ValueError(
            f"`pairs` must be >= 1 and >= the discordant pairs, got {pairs} with {b} + {c}"
        )
    discordance, weight = _nodes(b + c + 2 * prior, rest + 2 * prior)

    def below(difference: float) -> float:
        share = np.clip((difference / discordance + 1) / 2, 0, 1)
        return float(weight @ special.betainc(c + prior, b + prior, share))

    mean = (c - b) / (pairs + 4 * prior)
    return _posterior("paired", below, mean, prior, rope, confidence)


def _nodes(a: float, b: float) -> tuple[Array, Array]:
    """Return points of (0, 1) and weights of Beta(a, b) at them, summing to 1."""
    from scipy import special

    # All but 1e-18 of the mass; on the logit scale the density is proportional to t^a (1 - t)^b.
    ends = [
        math.log(max(float(special.betaincinv(x, y, 1e-18)), 1e-290)) for x, y in ((a, b), (b, a))
    ]
    logit = np.linspace(
        ends[0] - math.log1p(-min(math.exp(ends[0]), 0.5)),
        -(ends[1] - math.log1p(-min(math.exp(ends[1]), 0.5))),
        _POINTS,
    )
    log_density = a * special.log_expit(logit) + b * special.log_expit(-logit)
    weight = np.exp(log_density - log_density.max())
    nodes: Array = special.expit(logit)
    return nodes, weight / weight.sum()


def _posterior(
    design: Literal["independent", "paired"],
    below: Callable[[float], float],
    mean: float,
    prior: float,
    rope: float | None,
    confidence: float,
) -> Posterior:
    from scipy import optimize

    def at(probability: float) -> float:
        return float(optimize.brentq(lambda d: below(d) - probability, -1.0, 1.0, xtol=1e-13))

    tail = (1 - confidence) / 2
    return Posterior(
        design=design,
        mean=mean,
        interval=Interval(
            low=at(tail), high=at(1 - tail), level=confidence, method="equal-tailed posterior"
        ),
        probability_better=1 - below(0.0),
        rope=rope,
        probability_in_rope=None if rope is None else below(rope) - below(-rope),
        prior=prior,
    )


def _check(prior: float, rope: float | None, confidence: float) -> None:
    check_confidence(confidence)
    if not 0 < prior < math.inf:
        raise ValueError(f"`prior` must be > 0, got {prior}")
    if rope is not None and not 0 < rope < 1:
        raise ValueError(f"`rope` must be in (0, 1), got {rope}")
