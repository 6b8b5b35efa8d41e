"""Corrections for several p-values of one family."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

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
    m = p.size
    order = np.argsort(p, kind="stable")
    ranks = np.arange(1, m + 1)
    if method == "none":
        adjusted = p.copy()
    elif method == "bonferroni":
        adjusted = p * m
    else:
        adjusted = np.empty(m)
        ordered = p[order]
        if method == "holm":
            adjusted[order] = np.maximum.accumulate(ordered * (m - ranks + 1))
        else:
            factor = {
                "hochberg": m - ranks + 1.0,
                "benjamini_hochberg": m / ranks,
                "benjamini_yekutieli": m / ranks * (1 / ranks).sum(),
            }[method]
            adjusted[order] = np.minimum.accumulate((ordered * factor)[::-1])[::-1]
    adjusted = np.maximum(np.minimum(adjusted, 1.0), p)
    return Correction(
        method=method,
        alpha=alpha,
        family=family,
        p_values=tuple(p.tolist()),
        adjusted=tuple(adjusted.tolist()),
        rejected=tuple((adjusted <= alpha + 1e-12).tolist()),
    )
