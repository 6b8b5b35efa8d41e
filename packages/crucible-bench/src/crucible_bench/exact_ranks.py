"""Exact null distributions of rank sums, and order statistics of pairwise differences."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from crucible_bench.arrays import Array

Exactness = Literal["auto", "exact", "asymptotic"]
_PAIRS = 2_000_000  # above it, differences are counted instead of listed


def rank_sum_counts(ranks: Array, chosen: int, *, tied: bool) -> Array:
    """Count the ways to choose `chosen` of the ranks, by U (untied) or by 2 U (tied).

    Notes
    -----
    Untied: the Gaussian binomial coefficient, whose low powers depend on low powers alone, so that
    small tails are exact. Tied: the subset sums of doubled midranks.
    """
    n = ranks.size
    if not tied:
        other = n - chosen
        size = chosen * other + 1
        counts = np.zeros(size)
        counts[0] = 1.0
        for i in range(1, min(chosen, other) + 1):
            factor = max(chosen, other) + i
            if factor < size:
                counts[factor:] -= counts[:-factor].copy()
            rows = -(-size // i)
            padded = np.zeros(rows * i)
            padded[:size] = counts
            counts = padded.reshape(rows, i).cumsum(axis=0).ravel()[:size]
        half = (size + 1) // 2  # symmetric, and only the lower half is free of cancellation
        counts[size - half :] = counts[:half][::-1]
        return counts
    doubled = np.round(2 * ranks).astype(int)
    largest = int(np.sort(doubled)[-chosen:].sum())
    ways = np.zeros((chosen + 1, largest + 1))
    ways[0, 0] = 1.0
    for rank in doubled:
        ways[1:, rank:] += ways[:-1, : largest + 1 - rank].copy()
    counts = ways[chosen, chosen * (chosen + 1) :]
    return np.asarray(counts)


def signed_rank_counts(ranks: Array) -> Array:
    """Count the signs of ranks (midranks allowed) by twice the sum of the positive ones."""
    doubled = np.round(2 * ranks).astype(int)
    counts = np.zeros(int(doubled.sum()) + 1)
    counts[0] = 1.0
    for rank in doubled:
        counts[rank:] += counts[: counts.size - rank].copy()
    return counts


def shift_ranks(
    x: Array, y: Array, *, confidence: float, exact: bool, sd: float
) -> tuple[float | None, float | None]:
    """Return the shifts that Mann and Whitney's test does not reject; None where n gives none."""
    total = x.size * y.size
    if exact:
        counts = rank_sum_counts(np.arange(1.0, x.size + y.size + 1), y.size, tied=False)
        first = _first(counts, (1 - confidence) / 2)
    else:
        first = _first_normal(total / 2, sd, confidence)
    if first < 1:
        return None, None
    return difference_at(x, y, first - 1), difference_at(x, y, total - first)


def shift_signed(
    differences: Array, *, confidence: float
) -> tuple[float, float | None, float | None]:
    """Return the pseudo-median and the limits of its interval, from means of two differences."""
    n = differences.size
    total = n * (n + 1) // 2
    ordered = np.sort(differences)

    def at_most(value: float) -> int:
        pairs = int(np.searchsorted(ordered, 2 * value - ordered, side="right").sum())
        return (pairs + int(np.searchsorted(ordered, value, side="right"))) // 2

    if total <= _PAIRS:
        i, j = np.triu_indices(n)
        means = np.sort((ordered[i] + ordered[j]) / 2)

        def pick(k: int) -> float:
            return float(means[k])
    else:

        def pick(k: int) -> float:
            return _bisect(at_most, k, float(ordered[0]), float(ordered[-1]))

    centre = (pick((total - 1) // 2) + pick(total // 2)) / 2
    if n <= 50:
        counts = signed_rank_counts(np.arange(1.0, n + 1))[::2]
        first = _first(counts, (1 - confidence) / 2)
    else:
        first = _first_normal(total / 2, math.sqrt(n * (n + 1) * (2 * n + 1) / 24), confidence)
    if first < 1:
        return centre, None, None
    return centre, pick(first - 1), pick(total - first)


def difference_at(x: Array, y: Array, k: int) -> float:
    """Return the k-th smallest (from 0) of all differences y - x."""
    if x.size * y.size <= _PAIRS:
        return float(np.partition((y[:, None] - x[None, :]).ravel(), k)[k])
    ordered = np.sort(x)

    def at_most(value: float) -> int:
        return int((ordered.size - np.searchsorted(ordered, y - value, side="left")).sum())

    return _bisect(at_most, k, float(y.min() - x.max()), float(y.max() - x.min()))


def _bisect(at_most: Callable[[float], int], k: int, low: float, high: float) -> float:
    """Return the smallest value that more than k differences do not exceed."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if at_most(middle) > k:
            high = middle
        else:
            low = middle
    return high


def _first(counts: Array, tail: float) -> int:
    """Return the smallest value whose lower tail is at least `tail`."""
    return int(np.searchsorted(np.cumsum(counts) / counts.sum(), tail, side="left"))


def _first_normal(mean: float, sd: float, confidence: float) -> int:
    from scipy import special

    return math.floor(mean - float(special.ndtri((1 + confidence) / 2)) * sd + 0.5)


def check_method(method: str) -> None:
    """Raise `ValueError` unless the method is known."""
    if method not in ("auto", "exact", "asymptotic"):
        raise ValueError(f'`method` must be "auto", "exact" or "asymptotic", got {method!r}')
