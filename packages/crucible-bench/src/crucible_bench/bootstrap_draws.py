"""Bootstrap distributions of a statistic, many resamples at a time."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crucible_bench.arrays import Array

Statistic = Callable[..., Array]
_BLOCK_BYTES = 4 * 2**20  # of the order of a cache: larger blocks take half as long again
_FEW = 8  # distinct values up to which their counts are drawn instead of items


def _rows(n: int) -> int:
    """Return how many resamples make a block; it depends on n alone, and so do the draws."""
    return max(1, _BLOCK_BYTES // (12 * n))


def plain(
    arrays: list[Array],
    paired: bool,
    block_length: int | None,
    compute: Statistic,
    n_resamples: int,
    generator: np.random.Generator,
) -> Array:
    """Return the statistic of resampled items, pairs (`paired`) or blocks of neighbours."""
    rows = _rows(sum(a.size for a in arrays))
    draws = []
    for start in range(0, n_resamples, rows):
        size = min(rows, n_resamples - start)
        drawn = arrays[:1] if paired else arrays
        picks = [_picks(a.size, size, block_length, generator) for a in drawn]
        resampled = [a.take(picks[0 if paired else i]) for i, a in enumerate(arrays)]
        draws.append(np.asarray(compute(*resampled, axis=-1), dtype=float))
    return np.concatenate(draws)


def _picks(
    n: int, size: int, block_length: int | None, generator: np.random.Generator
) -> NDArray[np.int32]:
    if block_length is None:
        return generator.integers(n, size=(size, n), dtype=np.int32)
    count = -(-n // block_length)
    starts = generator.integers(n - block_length + 1, size=(size, count), dtype=np.int32)
    steps = np.arange(block_length, dtype=np.int32)
    return (starts[:, :, None] + steps).reshape(size, -1)[:, :n]


def means(
    arrays: list[Array], n_resamples: int, generator: np.random.Generator, *, pivots: bool
) -> tuple[Array, Array]:
    """Return resampled means (or differences, second - first) and their pivots, if wanted.

    Notes
    -----
    Scores with few distinct values, such as 0 and 1 or paired differences of them, are drawn as
    multinomial counts of the values: the distribution of resampling, without it.
    """
    centre, squared = np.zeros(n_resamples), np.zeros(n_resamples)
    signs = (1.0,) if len(arrays) == 1 else (-1.0, 1.0)
    for sign, x in zip(signs, arrays, strict=True):
        mean = float(x.mean())
        average, variance = _moments(x - mean, n_resamples, generator, squares=pivots)
        centre += sign * (average + mean)
        squared += variance / (x.size - 1)
    if not pivots:
        return centre, squared
    estimate = sum(s * float(x.mean()) for s, x in zip(signs, arrays, strict=True))
    # A resample of equal scores has no spread; its pivot is as far out as there is.
    with np.errstate(divide="ignore", invalid="ignore"):
        pivot = (centre - estimate) / np.sqrt(squared)
    pivot[np.isnan(pivot)] = 0.0
    finite = pivot[np.isfinite(pivot)]
    widest = float(np.abs(finite).max()) if finite.size else 0.0
    return centre, np.clip(pivot, -widest, widest)


def _moments(
    x: Array, n_resamples: int, generator: np.random.Generator, *, squares: bool
) -> tuple[Array, Array]:
    """Return mean and variance (over n) of each resample of centred scores."""
    values, counts = np.unique(x, return_counts=True)
    if values.size <= _FEW and values.size < x.size:
        drawn = generator.multinomial(x.size, counts / x.size, size=n_resamples) / x.size
        average = drawn @ values
        return average, np.maximum(drawn @ values**2 - average**2, 0.0)
    average, variance = np.empty(n_resamples), np.zeros(n_resamples)
    rows = _rows(x.size)
    for start in range(0, n_resamples, rows):
        size = min(rows, n_resamples - start)
        drawn = x.take(_picks(x.size, size, None, generator))
        at = slice(start, start + size)
        average[at] = drawn.mean(axis=1)
        if squares:
            moment = np.einsum("ij,ij->i", drawn, drawn) / x.size
            variance[at] = np.maximum(moment - average[at] ** 2, 0.0)
    return average, variance


def standard_error(arrays: list[Array]) -> float:
    """Return the standard error of a mean or of a difference of means."""
    return float(np.sqrt(sum(float(a.var(ddof=1)) / a.size for a in arrays)))


def clustered(
    arrays: list[Array],
    groups: NDArray[np.intp],
    named: str | None,
    compute: Statistic,
    n_resamples: int,
    generator: np.random.Generator,
) -> Array:
    """Return the statistic of resampled clusters; a mean needs only their sums and sizes."""
    c = int(groups.max()) + 1
    if named == "mean" and len(arrays) == 1:
        sums, sizes = np.bincount(groups, arrays[0]), np.bincount(groups).astype(float)
        rows = _rows(c)
        found = []
        for start in range(0, n_resamples, rows):
            picks = _picks(c, min(rows, n_resamples - start), None, generator)
            found.append(sums[picks].sum(axis=1) / sizes[picks].sum(axis=1))
        return np.concatenate(found)
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    drawn = np.empty(n_resamples)
    for i in range(n_resamples):
        rows_of = np.concatenate([members[g] for g in generator.integers(c, size=c)])
        drawn[i] = float(np.asarray(compute(*(a[rows_of] for a in arrays), axis=-1)))
    return drawn
