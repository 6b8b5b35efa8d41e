"""Corrections for several p-values of one family."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crucible_bench.arrays import Array
from crucible_bench.results import Correction

Method = Literal[
    "bonferroni", "holm", "hochberg", "benjamini_hochberg", "benjamini_yekutieli", "none"
]
METHODS = ("bonferroni", "holm", "hochberg", "benjamini_hochberg", "benjamini_yekutieli", "none")


def correct(
    p_values: Sequence[float], *, method: Method = "holm", alpha: float = 0.05, family: str
) -> Correction:
    """Correct the p-values of one family.

    Parameters
    ----------
    p_values : floats in [0, 1], at least one
    method : str
        "holm" and "hochberg" keep the family-wise error rate (the second for independent tests),
        "benjamini_hochberg" the false discovery rate, "benjamini_yekutieli" under any dependence.
    alpha : float, in (0, 1)
    family : str
        What the p-values have in common; printed with the result.

    Raises
    ------
    ValueError
        If a p-value is missing or out of range, or `method` is unknown.

    References
    ----------
    .. [1] S. Holm, Scand J Statist 6(2), 65-70, 1979.
    .. [2] Y. Benjamini, Y. Hochberg, JRSS B 57(1), 289-300, 1995.

    Examples
    --------
    >>> [round(p, 2) for p in correct([0.01, 0.04, 0.03], family="main").adjusted]
    [0.03, 0.06, 0.06]
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {method!r}")
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` must be in (0, 1), got {alpha}")
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1 or p.size == 0:
        raise ValueError("`p_values` must hold at least one number")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"`p_values` must be in [0, 1], got {p[~((p >= 0) & (p <= 1))][0]}")
    adjusted = adjust(p, method=method)
    return Correction(
        method=method,
        alpha=alpha,
        family=family,
        p_values=tuple(p.tolist()),
        adjusted=tuple(adjusted.tolist()),
        rejected=tuple((adjusted <= alpha + 1e-12).tolist()),
    )


def adjust(p: Array, *, method: Method) -> Array:
    """Return corrected p-values of checked ones, as an array; `correct` is for everything else.

    Works in place on few buffers: of a million, fresh memory would cost as much as sorting.
    """
    m = p.size
    if method == "none":
        return p.copy()
    if method == "bonferroni":
        scaled = p * m
    else:
        order, scaled = _ascending(p)
        ranks = np.arange(1.0, m + 1)
        if method in ("holm", "hochberg"):
            scaled *= np.subtract(m + 1, ranks, out=ranks)
        else:
            scaled *= m * (1 / ranks).sum() if method == "benjamini_yekutieli" else m
            scaled /= ranks
        if method == "holm":
            np.maximum.accumulate(scaled, out=scaled)
        else:
            np.minimum.accumulate(scaled[::-1], out=scaled[::-1])
        ranks[order] = scaled  # back in the order of p, into memory that has served
        scaled = ranks
    np.minimum(scaled, 1.0, out=scaled)
    return np.maximum(scaled, p, out=scaled)


def _ascending(p: Array) -> tuple[NDArray[np.intp], Array]:
    """Return the order of p-values and the ordered ones.

    Equal ones stand in any order: their results are equal. A million are sorted in half of
    argsort's time: the index goes into the lowest bits of the number, which is sorted as an integer
    (numbers >= 0 and their bits have one order); what those bits would have told apart is nearly
    sorted then, and a merge sort puts it right.
    """
    if p.size < 10_000:
        order = np.argsort(p)
        return order, p[order]
    low = np.uint64((1 << (p.size - 1).bit_length()) - 1)
    packed = (p + 0.0).view(np.uint64)  # + 0.0 takes the sign from -0.0
    packed &= ~low
    packed |= np.arange(p.size, dtype=np.uint64)
    packed.sort()
    packed &= low
    order = packed.view(np.int64).astype(np.intp, copy=False)
    ordered = p.take(order)
    if (ordered[1:] < ordered[:-1]).any():
        order = order[np.argsort(ordered, kind="stable")]
        ordered = p.take(order)
    return order, ordered
