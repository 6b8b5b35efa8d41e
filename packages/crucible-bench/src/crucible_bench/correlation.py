"""Correlations with tests and intervals."""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import check_confidence, item_means, scores
from crucible_bench.effects import r_band
from crucible_bench.results import Alternative, Effect, Interval, TestResult


def correlation(
    x: ArrayLike,
    y: ArrayLike,
    *,
    method: Literal["pearson", "spearman", "kendall"] = "pearson",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test and estimate the correlation of two scores on the same items.

    Parameters
    ----------
    method : {"pearson", "spearman", "kendall"}
        Linear, of ranks, or tau-b.

    Notes
    -----
    p-values are scipy's. Intervals are normal on Fisher's z scale with variance 1 / (n - 3),
    (1 + r^2 / 2) / (n - 3) and 0.437 / (n - 4) [1]_; there is none for so few items, or where the
    correlation is perfect. Without variation nothing is defined.

    References
    ----------
    .. [1] D. G. Bonett, T. A. Wright, Psychometrika 65(1), 23-28, 2000.

    Examples
    --------
    >>> round(correlation([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5]).estimate, 4)
    0.8286
    """
    from scipy import special, stats

    check_confidence(confidence)
    a = item_means(scores("x", x, minimum=3))
    b = item_means(scores("y", y, minimum=3))
    if a.size != b.size:
        raise ValueError(f"`x` and `y` must be paired, got {a.size} and {b.size}")
    functions = {
        "pearson": stats.pearsonr,
        "spearman": stats.spearmanr,
        "kendall": stats.kendalltau,
    }
    if method not in functions:
        raise ValueError(f"`method` must be one of {', '.join(functions)}, got {method!r}")
    n = a.size
    blank = TestResult(
        name=method, statistic_name="tau" if method == "kendall" else "r", statistic=None, df=(),
        p_value=None, alternative=alternative, method="asymptotic", n=n,
    )  # fmt: skip
    if not (np.ptp(a) > 0 and np.ptp(b) > 0):
        return replace(blank, notes=("no variation",))
    found = functions[method](a, b, alternative=alternative)
    r = float(found.statistic)
    variance = {
        "pearson": 1 / (n - 3) if n > 3 else None,
        "spearman": (1 + r * r / 2) / (n - 3) if n > 3 else None,
        "kendall": 0.437 / (n - 4) if n > 4 else None,
    }[method]
    interval: Interval | None = None
    notes: tuple[str, ...] = ()
    if variance is None or abs(r) > 1 - 1e-12:
        notes = ("no interval: too few items, or a perfect correlation",)
    else:
        half = float(special.ndtri((1 + confidence) / 2)) * math.sqrt(variance)
        low, high = (math.tanh(math.atanh(r) + sign * half) for sign in (-1, 1))
        interval = Interval(low=low, high=high, level=confidence, method="Bonett-Wright")
    return replace(
        blank,
        statistic=r,
        estimate=r,
        p_value=float(found.pvalue),
        interval=interval,
        effects=(Effect(name=method, value=r, interval=interval, magnitude=r_band(r)),),
        notes=notes,
    )
