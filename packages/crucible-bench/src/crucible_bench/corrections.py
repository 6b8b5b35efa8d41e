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
    """Return corrected p-values of checked ones, as an array; `correct` is for everything else."""
    m = p.size
    order, ordered = _ascending(p)
    ranks = np.arange(1, m + 1)
    if method == "none":
        adjusted = p.copy()
    elif method == "bonferroni":
        adjusted = p * m
    else:
        adjusted = np.empty(m)
        if method == "holm":
            adjusted[order] = np.maximum.accumulate(ordered * (m - ranks + 1))
        else:
            factor = {
                "hochberg": m - ranks + 1.0,
                "benjamini_hochberg": m / ranks,
                "benjamini_yekutieli": m / ranks * (1 / ranks).sum(),
            }[method]
            adjusted[order] = np.minimum.accumulate((ordered * factor)[::-1])[::-1]
    np.minimum(adjusted, 1.0, out=adjusted)
    return np.maximum(adjusted, p, out=adjusted)


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
    keys = (p + 0.0).view(np.uint64)  # + 0.0 takes the sign from -0.0
    packed = (keys & ~low) | np.arange(p.size, dtype=np.uint64)
    packed.sort()
    order = (packed & low).astype(np.intp)
    ordered = p[order]
    if (ordered[1:] < ordered[:-1]).any():
        order = order[np.argsort(ordered, kind="stable")]
        ordered = p[order]
    return order, ordered
