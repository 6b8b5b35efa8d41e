"""What a statistic is under exchanged labels and flipped signs, many arrangements at a time."""

import itertools
from collections.abc import Callable
from typing import Literal

import numpy as np

from crucible_bench.arrays import Array

Statistic = Callable[..., Array]
Named = Literal["mean_difference", "studentized", "median_difference"]
BLOCK = 4 * 2**20  # numbers held at once


def studentized(control: Array, treatment: Array, axis: int = -1) -> Array:
    """Return Welch's t; 0 where nothing differs, infinite where means differ without variance."""
    difference = treatment.mean(axis=axis) - control.mean(axis=axis)
    squared = (
        treatment.var(axis=axis, ddof=1) / treatment.shape[axis]
        + control.var(axis=axis, ddof=1) / control.shape[axis]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / np.sqrt(squared)
    found: Array = np.where(np.isnan(t), 0.0, t)
    return found


def two_sample(statistic: Named | Statistic) -> Statistic:
    """Return the function of control, treatment and `axis` that a name stands for."""
    if callable(statistic):
        return statistic
    if statistic == "studentized":
        return studentized
    known: dict[str, Statistic] = {"mean_difference": np.mean, "median_difference": np.median}
    middle = known.get(statistic)
    if middle is None:
        raise ValueError(f"`statistic` is not known: {statistic!r}")

    def difference(x: Array, y: Array, axis: int = -1) -> Array:
        gap: Array = middle(y, axis=axis) - middle(x, axis=axis)
        return gap

    return difference


def all_splits(pooled: Array, n0: int, compute: Statistic) -> Array:
    """Return a statistic of every way to choose the first group's n0 of the pooled scores."""
    chosen = np.array(list(itertools.combinations(range(pooled.size), n0)))
    mask = np.zeros((len(chosen), pooled.size), dtype=bool)
    np.put_along_axis(mask, chosen, True, axis=1)
    rows = np.broadcast_to(pooled, mask.shape)
    first, second = rows[mask].reshape(len(mask), -1), rows[~mask].reshape(len(mask), -1)
    return np.asarray(compute(first, second, axis=-1))


def shuffled(
    pooled: Array, n0: int, compute: Statistic, n_resamples: int, generator: np.random.Generator
) -> Array:
    """Return a statistic of two groups under random exchanges of their labels."""
    found = []
    rows = max(1, BLOCK // pooled.size)
    for start in range(0, n_resamples, rows):
        block = np.tile(pooled, (min(rows, n_resamples - start), 1))
        generator.permuted(block, axis=1, out=block)
        found.append(np.asarray(compute(block[:, :n0], block[:, n0:], axis=-1)))
    return np.concatenate(found)


def all_sums(parts: Array) -> Array:
    """Return the sum under each of the 2^n choices of signs."""
    sums = np.zeros(1)
    for part in parts:
        sums = np.concatenate([sums + part, sums - part])
    return sums


def signed_sums(parts: Array, n_resamples: int, generator: np.random.Generator) -> Array:
    """Return sums under random signs; a table of 256 entries adds up eight parts at once."""
    words = -(-parts.size // 64)
    padded = np.zeros(words * 64)
    padded[: parts.size] = parts
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    table = (padded.reshape(-1, 8) @ (1 - 2 * bits).T.astype(float)).ravel()  # (bytes * 256,)
    offsets = np.arange(words * 8, dtype=np.int32) * 256
    rows = max(1, BLOCK // 4 // (words * 8))
    found = []
    for start in range(0, n_resamples, rows):
        size = (min(rows, n_resamples - start), words)
        raw = generator.integers(2**64 - 1, size=size, dtype=np.uint64, endpoint=True)
        found.append(table.take(raw.view(np.uint8) + offsets).sum(axis=1))
    return np.concatenate(found)


def subset_sums(
    pooled: Array, chosen: int, n_resamples: int, generator: np.random.Generator
) -> Array:
    """Return sums of uniformly random subsets of a given size.

    Random bytes choose each item with probability 1/2 and a table adds up eight at once; then
    random items are added or taken away until the size is right. Given its size, a subset of fair
    coins is uniform, and stays so when uniformly random members leave or join.
    """
    n = pooled.size
    words = -(-n // 64)
    padded = np.zeros(words * 64)
    padded[:n] = pooled
    bits = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(float)
    table = (padded.reshape(-1, 8) @ bits.T).ravel()
    real = np.zeros(words * 64)
    real[:n] = 1.0
    sizes_of = (real.reshape(-1, 8) @ bits.T).ravel()
    offsets = np.arange(words * 8, dtype=np.int32) * 256
    rows = max(1, BLOCK // 4 // (words * 8))
    found = []
    for start in range(0, n_resamples, rows):
        size = (min(rows, n_resamples - start), words)
        raw = generator.integers(2**64 - 1, size=size, dtype=np.uint64, endpoint=True)
        mask = raw.view(np.uint8)
        at = mask + offsets
        sums, excess = table.take(at).sum(axis=1), sizes_of.take(at).sum(axis=1) - chosen
        left = np.flatnonzero(excess)
        while left.size:
            item = generator.integers(n, size=left.size)
            byte, bit = item >> 3, (1 << (item & 7)).astype(np.uint8)
            inside = (mask[left, byte] & bit) > 0
            flips = inside == (excess[left] > 0)
            who, item, sign = left[flips], item[flips], np.where(inside[flips], -1.0, 1.0)
            mask[who, byte[flips]] ^= bit[flips]
            sums[who] += sign * pooled[item]
            excess[who] += sign
            left = left[excess[left] != 0]
        found.append(sums)
    return np.concatenate(found)


def paired_t(sums: Array, d: Array) -> Array:
    """Return the t statistic of each choice of signs; the sum of squares is that of the data."""
    n = d.size
    variance = (float(d @ d) - sums**2 / n) / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = sums / np.sqrt(n * np.where(variance > 1e-14 * float(d @ d), variance, 0.0))
    found: Array = np.where(np.isnan(t), 0.0, t)
    return found
