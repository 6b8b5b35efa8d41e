"""How much each item moves a statistic, in linear time; BCa's acceleration needs it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crucible_bench.arrays import Array

_EXACT = 5_000  # larger samples leave out blocks of items
_BLOCKS = 100
_CELLS = 4 * 2**20


def influences(
    named: str | None,
    compute: Callable[..., Array],
    arrays: list[Array],
    paired: bool,
    groups: NDArray[np.intp] | None,
) -> list[Array]:
    """Return (n - 1) (mean of the leave-one-out values - value), one array per resampled unit.

    Notes
    -----
    Closed form for means and, from ranks, for medians. Any other statistic leaves out one item, and
    above 5,000 items one of 100 blocks of neighbours.
    """
    if groups is not None:
        c = int(groups.max()) + 1
        left = [
            float(np.asarray(compute(*(a[groups != g] for a in arrays), axis=-1))) for g in range(c)
        ]
        return [_centred(np.array(left))]
    if named == "mean":
        signs = (1.0,) if len(arrays) == 1 else (-1.0, 1.0)
        return [s * (a - a.mean()) for s, a in zip(signs, arrays, strict=True)]
    if named == "median" and len(arrays) == 1:
        return [_centred(_without_one_median(arrays[0]))]
    if paired or len(arrays) == 1:
        return [
            _left_out(lambda keep: compute(*(a[keep] for a in arrays), axis=-1), arrays[0].size)
        ]
    found = []
    for i, a in enumerate(arrays):

        def one(keep: NDArray[np.intp], i: int = i, a: Array = a) -> Array:
            others = [np.broadcast_to(b, (len(keep), b.size)) for b in arrays]
            others[i] = a[keep]
            return compute(*others, axis=-1)

        found.append(_left_out(one, a.size))
    return found


def _left_out(compute: Callable[[NDArray[np.intp]], Array], n: int) -> Array:
    size = 1 if n <= _EXACT else n // _BLOCKS
    starts = np.arange(0, size * (n // size), size)
    rest = np.arange(n - size)
    values = []
    for part in np.array_split(starts, max(1, starts.size * n // _CELLS)):
        keep = rest + size * (rest >= part[:, None])
        values.append(np.asarray(compute(keep), dtype=float))
    return _centred(np.concatenate(values))


def _without_one_median(x: Array) -> Array:
    """Return the median without each item; only the side on which the item lies matters."""
    ordered, n = np.sort(x), x.size
    ranks = np.empty(n, dtype=int)
    ranks[np.argsort(x, kind="stable")] = np.arange(n)
    if n % 2 == 0:  # n - 1 is odd: one of the two middle values remains the middle
        found = np.where(ranks < n // 2, ordered[n // 2], ordered[n // 2 - 1])
    else:
        m = n // 2
        # Without an item below the middle: mean of m and m + 1; above: m - 1 and m; the middle
        # itself: its two neighbours.
        below, above = ordered[m] + ordered[min(m + 1, n - 1)], ordered[max(m - 1, 0)] + ordered[m]
        around = ordered[max(m - 1, 0)] + ordered[min(m + 1, n - 1)]
        found = np.where(ranks < m, below, np.where(ranks > m, above, around)) / 2
    return np.asarray(found)


def _centred(left_out: Array) -> Array:
    influence: Array = (left_out.size - 1) * (left_out.mean() - left_out)
    return influence
