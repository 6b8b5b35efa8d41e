"""Pairs of latencies as arrays, raced at any delay, with quantiles of the weighted result."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crucible_hedging.distributions import Floats
from crucible_hedging.shadow import ShadowRecord

Bools = NDArray[np.bool_]
_SLACK = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Both copies of n requests, in log order."""

    primary: Floats
    backup: Floats
    primary_cut: Bools
    backup_cut: Bools
    primary_usd: Floats  # NaN: unknown
    backup_usd: Floats
    excluded: int

    @staticmethod
    def of(log: Iterable[ShadowRecord]) -> "Pairs":
        """Take the pairs in which both copies answered, or were cut short while waiting."""
        records = list(log)
        good = [r for r in records if r.primary_ok and r.backup_ok]

        def usd(prices: list[float | None]) -> Floats:
            return np.array([math.nan if u is None else u for u in prices], dtype=float)

        return Pairs(
            primary=np.array([r.primary_s for r in good], dtype=float),
            backup=np.array([r.backup_s for r in good], dtype=float),
            primary_cut=np.array([r.primary_censored for r in good], dtype=bool),
            backup_cut=np.array([r.backup_censored for r in good], dtype=bool),
            primary_usd=usd([r.primary_cost_usd for r in good]),
            backup_usd=usd([r.backup_cost_usd for r in good]),
            excluded=len(records) - len(good),
        )

    def __len__(self) -> int:
        return self.primary.size

    def part(self, start: int, stop: int) -> "Pairs":
        """Return some of them, without a note of what was excluded."""
        here = slice(start, stop)
        return Pairs(
            primary=self.primary[here],
            backup=self.backup[here],
            primary_cut=self.primary_cut[here],
            backup_cut=self.backup_cut[here],
            primary_usd=self.primary_usd[here],
            backup_usd=self.backup_usd[here],
            excluded=0,
        )

    def race(self, delay_s: float, probability: float) -> "Raced":
        """Race every pair at one delay."""
        fired = self.primary > delay_s
        answer = np.where(fired, delay_s + self.backup, np.inf)
        won = answer < self.primary
        took = np.minimum(self.primary, answer)
        exact = ((self.primary <= answer) & ~self.primary_cut) | (
            (answer <= self.primary) & ~self.backup_cut
        )
        q = np.where(fired, probability, 1.0)
        loser = np.where(won, took, np.where(fired, took - delay_s, 0.0))
        coin = fired & (0 < probability < 1)
        return Raced(
            fired=np.asarray(fired * probability, dtype=np.float64),
            won=np.asarray(won * probability, dtype=np.float64),
            mean=q * took + (1 - q) * self.primary,
            wasted=loser * probability,
            usd=self.primary_usd + np.where(fired, probability * self.backup_usd, 0.0),
            values=np.concatenate((took if probability > 0 else self.primary, self.primary[coin])),
            cut=np.concatenate(
                (~exact if probability > 0 else self.primary_cut, self.primary_cut[coin])
            ),
            weights=np.concatenate((np.where(coin, probability, 1.0), 1 - q[coin])),
            pair=np.concatenate((np.arange(len(self)), np.flatnonzero(coin))),
            whole=not coin.any(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Raced:
    """What came of every pair; with a coin, a pair that may be hedged is there twice."""

    fired: Floats
    won: Floats
    mean: Floats
    wasted: Floats
    usd: Floats
    values: Floats
    cut: Bools
    weights: Floats
    pair: NDArray[np.intp]
    whole: bool

    def quantiles(self, ps: Sequence[float], counts: Floats) -> tuple[Floats, Floats]:
        """Return lower and upper bounds of quantiles, equal where the data determine them.

        Parameters
        ----------
        ps : sequence of float, in (0, 1)
        counts : (draws, n) array
            How often each draw holds each pair.

        Returns
        -------
        (draws, len(ps)) arrays
            The quantiles with every value that was cut at its lower bound, and at infinity.

        Notes
        -----
        Type 7 of the values; with a coin, the smallest value whose cumulative weight reaches p.
        """
        low = self._at(self.values, ps, counts)
        if not self.cut.any():
            return low, low
        return low, self._at(np.where(self.cut, np.inf, self.values), ps, counts)

    def _at(self, values: Floats, ps: Sequence[float], counts: Floats) -> Floats:
        order = np.argsort(values, kind="stable")
        ordered, pair, weights = values[order], self.pair[order], self.weights[order]
        found = np.empty((len(counts), len(ps)))
        for i, draw in enumerate(counts):
            mass = np.cumsum(draw[pair] * weights)
            if self.whole:
                h = (mass[-1] - 1) * np.asarray(ps)
                below = np.floor(h + _SLACK)
                left = ordered[np.searchsorted(mass, below + 0.5)]
                right = ordered[np.searchsorted(mass, np.minimum(below + 1, mass[-1] - 1) + 0.5)]
                part = np.maximum(h - below, 0.0)
                with np.errstate(invalid="ignore"):
                    between = left + part * (right - left)
                found[i] = np.where((right == left) | (part < _SLACK), left, between)
            else:
                reach = np.asarray(ps) * mass[-1] * (1 - _SLACK)
                found[i] = ordered[np.searchsorted(mass, reach)]
        return found


def block_counts(n: int, *, block: int, draws: int, seed: int) -> Floats:
    """Return how often each of `draws` circular block bootstrap samples holds each of n items."""
    rng = np.random.default_rng(seed)
    blocks = -(-n // block)
    counts = np.empty((draws, n), dtype=np.float64)
    for i in range(draws):
        starts = rng.integers(n, size=blocks)
        items = ((starts[:, None] + np.arange(block)) % n).ravel()[:n]
        counts[i] = np.bincount(items, minlength=n)
    return counts
