"""Simulated worlds whose truth is known, to see what a study would find in them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crucible_harness.studies.ballots import Ballots, Floats, chance_right

if TYPE_CHECKING:
    from crucible_hedging.distributions import Distribution
    from crucible_hedging.shadow import ShadowRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCoin:
    """Voters that answer an item together with a probability, else each alone.

    The model of `crucible_ensemble.SimulatedModel`: on a shared item all voters use one draw and
    one wrong answer, so equal voters' errors correlate by `correlation`.

    Attributes
    ----------
    accuracies : tuple of float, in (0, 1)
    correlation : float, in [0, 1]
    classes : int, >= 2
        Possible answers; wrong ones are equally likely.
    """

    accuracies: tuple[float, ...]
    correlation: float = 0.0
    classes: int = 4

    def draw(self, items: int, rng: np.random.Generator) -> Ballots:
        """Return ballots on new items."""
        shape = items, len(self.accuracies)
        shared = rng.random((items, 1)) < self.correlation
        u = np.where(shared, rng.random((items, 1)), rng.random(shape))
        one = rng.integers(1, self.classes, size=(items, 1))
        wrong = np.where(shared, one, rng.integers(1, self.classes, size=shape))
        answers = np.where(u < np.asarray(self.accuracies), 0, wrong).astype(np.int64)
        return _ballots(answers)

    def vote(self) -> float:
        """Return the accuracy of a count over all voters, ties at their expectation."""
        from crucible_ensemble.theory import plurality_accuracy

        ranked, m = sorted(self.accuracies, reverse=True), len(self.accuracies)
        edges = [*ranked, 0.0]
        together = sum(  # k + 1 voters are right where the common draw lies between two accuracies
            (edges[k] - edges[k + 1]) * (1.0 if 2 * (k + 1) > m else 0.5 if 2 * (k + 1) == m else 0)
            for k in range(m)
        )
        alone = plurality_accuracy(self.accuracies, self.classes)
        return (1 - self.correlation) * alone + self.correlation * together


@dataclass(frozen=True, slots=True, kw_only=True)
class BetaVoters:
    """Equal voters whose chance of being right is a Beta draw for each item; two answers.

    Attributes
    ----------
    voters : int, >= 2
    mu, rho : float, in (0, 1)
        Accuracy, and correlation of right and wrong between two voters.
    price_usd : float, > 0
        Mean price of an answer. Prices are lognormal with a log SD of 1, times what makes an item
        hard: one that half of the voters get right costs twice as much as one that 3 of 4 do.
    """

    voters: int = 5
    mu: float = 0.6
    rho: float = 0.2
    price_usd: float = 0.001

    def draw(self, items: int, rng: np.random.Generator) -> Ballots:
        """Return ballots on new items."""
        total, shape = 1 / self.rho - 1, (items, self.voters)
        p = rng.beta(self.mu * total, (1 - self.mu) * total, size=(items, 1))
        answers = (rng.random(shape) >= p).astype(np.int64)
        hardness = (1 - p) / (1 - self.mu)
        usd = self.price_usd * hardness * np.exp(rng.standard_normal(shape) - 0.5)
        return _ballots(answers, cost_usd=usd)

    def vote(self, voters: int) -> float:
        """Return the accuracy of a majority of some of them."""
        from crucible_ensemble.theory import majority_accuracy

        return majority_accuracy(self.mu, voters, self.rho, model="beta_binomial")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confident:
    """Voters whose chance of being right varies by item, and who state it, distorted.

    Voter m is right on an item with probability 1/K + (1 - 1/K) Beta(a_m, b_m), independently of
    the others, and states that probability with its logit multiplied by `sharpness` and moved by
    `boast`. Wrong answers are equally likely.

    Attributes
    ----------
    shapes : tuple of (a, b)
    classes : int, >= 2
    sharpness, boast : float
    informative : bool
        False: states the same about another item, which says nothing about this one.
    """

    shapes: tuple[tuple[float, float], ...] = ((6.0, 1.6), (6.0, 1.6), (2.0, 2.0))
    classes: int = 4
    sharpness: float = 1.5
    boast: float = 1.0
    informative: bool = True

    def draw(self, items: int, rng: np.random.Generator) -> tuple[Ballots, Floats]:
        """Return ballots on new items, and the true probability of each answer's being right."""
        k = self.classes
        columns = [1 / k + (1 - 1 / k) * rng.beta(a, b, size=items) for a, b in self.shapes]
        p = np.clip(np.stack(columns, axis=1), 1e-9, 1 - 1e-9)
        answers = np.where(rng.random(p.shape) < p, 0, rng.integers(1, k, size=p.shape))
        told = p if self.informative else rng.permuted(p, axis=0)
        stated = 1 / (1 + np.exp(-(self.sharpness * np.log(told / (1 - told)) + self.boast)))
        return _ballots(answers.astype(np.int64), stated), p

    def gain(self, *, weakest_shift: float = 0.0, items: int, rng: np.random.Generator) -> float:
        """Return what log-odds of the true probabilities gain over counting, on many items.

        Parameters
        ----------
        weakest_shift : float
            Logits that the voter of least accuracy overstates itself by.
        items : int
            Drawn for the mean; its standard error is at most 1/sqrt(items).
        """
        ballots, p = self.draw(items, rng)
        if not self.informative:
            p = np.broadcast_to(p.mean(axis=0), p.shape)
        z = np.log(p / (1 - p))
        means = [a / (a + b) for a, b in self.shapes]
        z = z + weakest_shift * (np.arange(len(means)) == int(np.argmin(means)))
        safe = np.clip(1 / (1 + np.exp(-z)), 1e-3, 1 - 1e-3)
        weights = np.log((self.classes - 1) * safe / (1 - safe))
        weighed = chance_right(ballots.answers, support=weights)
        return float((weighed - chance_right(ballots.answers)).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCalls:
    """Latencies of calls and their copies, each series correlated in time.

    Attributes
    ----------
    dist : Distribution
        Of one call, at any moment.
    persistence : float, in [0, 1)
        Correlation of the normal scores of one call and the next.
    copies : float, in [0, 1]
        Correlation of the normal scores of a call and its copy; 1 makes hedging useless.
    """

    dist: "Distribution"
    persistence: float = 0.3
    copies: float = 0.0

    def draw(self, pairs: int, rng: np.random.Generator) -> "list[ShadowRecord]":
        """Return a paired log."""
        from scipy.signal import lfilter
        from scipy.special import ndtr

        from crucible_hedging.shadow import ShadowRecord

        z = rng.standard_normal((2, pairs))
        if self.copies:
            z[1] = self.copies * z[0] + math.sqrt(1 - self.copies**2) * z[1]
        z[:, 1:] *= math.sqrt(1 - self.persistence**2)
        seconds = np.asarray(self.dist.ppf(ndtr(lfilter([1.0], [1.0, -self.persistence], z))))
        return [
            ShadowRecord(primary_s=p, backup_s=b)
            for p, b in zip(seconds[0].tolist(), seconds[1].tolist(), strict=True)
        ]

    def reduction(self, *, delay_s: float, probability: float, percentile: float) -> float:
        """Return the true reduction of a percentile, of independent copies."""
        from crucible_hedging.simulate import hedged_quantile

        reached = hedged_quantile(
            self.dist, delays=[delay_s], percentile=percentile, probability=probability
        )
        return 1 - reached / float(self.dist.ppf(percentile / 100))


def drawn(chances: Floats, rng: np.random.Generator) -> Floats:
    """Return 0 or 1 with given chances: ties that are drawn."""
    return (rng.random(chances.shape) < chances).astype(np.float64)


def _ballots(
    answers: "np.ndarray[tuple[int, int], np.dtype[np.int64]]",
    stated: Floats | None = None,
    cost_usd: Floats | None = None,
) -> Ballots:
    shape: Sequence[int] = answers.shape
    return Ballots(
        voters=tuple(f"voter {m + 1}" for m in range(shape[1])),
        answers=answers,
        confidence=np.full(shape, np.nan) if stated is None else stated,
        cost_usd=np.full(shape, 0.001) if cost_usd is None else cost_usd,
    )
