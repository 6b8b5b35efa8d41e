"""Bootstrap distributions of a type 7 quantile without resampling item by item."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crucible_bench.arrays import Array

_BLOCK_BYTES = 32 * 2**20


def independent(x: Array, q: float, size: int, rng: np.random.Generator) -> Array:
    """Return quantiles of `size` resamples of x.

    The k-th smallest of n uniforms is Beta(k, n - k + 1); given it, the next is the smallest of
    n - k uniforms above. Index floor(n U) of the sorted x is that order statistic of a resample.
    """
    ordered, n = np.sort(x), x.size
    k, fraction = _rank(n, q)
    lower = rng.beta(k, n - k + 1, size=size)
    values: Array = ordered[_index(lower, n)]
    if k < n and fraction > 0:
        upper = 1 - (1 - lower) * rng.random(size) ** (1 / (n - k))
        values = values + fraction * (ordered[_index(upper, n)] - values)
    return values


def paired(
    a: Array, b: Array, q: float, size: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return both arms' quantiles of `size` resamples of the items.

    Only items that can reach the quantile in either arm are counted: how often they are drawn is
    binomial, and which of them uniform. The chance that a resample needs another item is < 1e-15.
    """
    if q > 50:  # the tail is always the lower one: P99 of x is minus P1 of -x
        low, high = paired(-a, -b, 100 - q, size, rng)
        return -low, -high
    n = a.size
    k, fraction = _rank(n, q)
    reach = min(n, k + 1 + math.ceil(9 * math.sqrt(k + 1)) + 60)
    orders = [np.argsort(x, kind="stable") for x in (a, b)]
    tail = np.union1d(orders[0][:reach], orders[1][:reach])
    sorted_tails = [np.argsort(x[tail], kind="stable") for x in (a, b)]
    results: tuple[list[Array], list[Array]] = ([], [])
    for rows in _rows(size, 8 * 3 * tail.size):
        drawn = rng.binomial(n, tail.size / n, size=rows)
        row = np.repeat(np.arange(rows), drawn)
        picks = row * tail.size + rng.integers(tail.size, size=row.size)
        counts = np.bincount(picks, minlength=rows * tail.size).reshape(rows, tail.size)
        for x, order, found in zip((a, b), sorted_tails, results, strict=True):
            ranks = np.full(rows, k)
            found.append(_weighted(x[tail][order], counts[:, order], ranks, fraction))
    return np.concatenate(results[0]), np.concatenate(results[1])


def clustered(
    arms: Sequence[tuple[Array, Array]], q: float, size: int, rng: np.random.Generator
) -> tuple[Any, ...]:
    """Return each arm's quantiles, resampling clusters that all arms share.

    `arms` holds observations and cluster numbers. A resample's total varies with its clusters.
    """
    n_clusters = 1 + int(max(group.max() for _, group in arms))
    widest = max(x.size for x, _ in arms)
    orders = [np.argsort(x, kind="stable") for x, _ in arms]
    results: list[list[Array]] = [[] for _ in arms]
    for rows in _rows(size, 8 * 3 * (widest + n_clusters)):
        counts = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=rows)
        for (x, group), order, found in zip(arms, orders, results, strict=True):
            weights = counts[:, group.astype(np.int64)[order]]
            places = (weights.sum(axis=1) - 1) * q / 100
            ranks = np.floor(places).astype(np.int64) + 1
            found.append(_weighted(x[order], weights, ranks, places - np.floor(places)))
    return tuple(np.concatenate(found) for found in results)


def blocks(
    arms: Sequence[Array], q: float, size: int, length: int, rng: np.random.Generator
) -> tuple[Any, ...]:
    """Return each arm's quantiles, resampling moving blocks of neighbours that all arms share."""
    n = arms[0].size
    many = math.ceil(n / length)
    results: list[list[Array]] = [[] for _ in arms]
    for rows in _rows(size, 8 * 3 * n):
        starts = rng.integers(n - length + 1, size=(rows, many))
        picks = (starts[:, :, None] + np.arange(length)).reshape(rows, -1)[:, :n]
        for x, found in zip(arms, results, strict=True):
            found.append(np.percentile(x[picks], q, axis=1))
    return tuple(np.concatenate(found) for found in results)


def _rank(n: int, q: float) -> tuple[int, float]:
    """Return the 1-based rank of the lower order statistic of type 7, and the way to the next."""
    place = (n - 1) * q / 100
    return math.floor(place) + 1, place - math.floor(place)


def _index(uniform: Array, n: int) -> NDArray[np.int64]:
    return np.minimum((uniform * n).astype(np.int64), n - 1)


def _weighted(
    ordered: Array, counts: NDArray[np.int64], ranks: NDArray[np.int64], fraction: float | Array
) -> Array:
    """Return the order statistics at `ranks`, moved by `fraction` towards the next, row by row."""
    running = np.cumsum(counts, axis=1)
    # A resample of clusters may be so small that the rank is its last.
    last = running[:, -1]
    lower: Array = ordered[(running >= ranks[:, None]).argmax(axis=1)]
    upper: Array = ordered[(running >= np.minimum(ranks + 1, last)[:, None]).argmax(axis=1)]
    return lower + fraction * (upper - lower)


def _rows(size: int, row_bytes: int) -> list[int]:
    """Return block sizes that hold at most 32 MB each and sum to `size`."""
    rows = max(1, min(size, _BLOCK_BYTES // row_bytes))
    return [min(rows, size - start) for start in range(0, size, rows)]
