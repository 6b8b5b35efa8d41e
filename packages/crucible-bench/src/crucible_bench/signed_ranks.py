"""Wilcoxon's test on the ranks of paired differences."""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, item_means, scores
from crucible_bench.dominance import matched_rank_biserial
from crucible_bench.exact_ranks import (
    Exactness,
    check_method,
    shift_signed,
    signed_rank_counts,
)
from crucible_bench.midranks import midranks
from crucible_bench.p_values import continuous_p, counted_p
from crucible_bench.results import Alternative, Interval, TestResult, undefined


def wilcoxon(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    zeros: Literal["drop", "pratt"] = "drop",
    method: Exactness = "auto",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test whether paired differences are symmetric about zero (signed ranks).

    Parameters
    ----------
    zeros : {"drop", "pratt"}
        Leave zero differences out before ranking, or after it [1]_.
    method : {"auto", "exact", "asymptotic"}
        "auto" is exact without ties up to 50 pairs, exact given the ties while 2^n <= 100,000, and
        else normal with corrections for ties and continuity.

    Notes
    -----
    The statistic is W+, the rank sum of positive differences. The estimate is the pseudo-median,
    the median of all means of two differences; its interval inverts the test.

    References
    ----------
    .. [1] J. W. Pratt, JASA 54(287), 655-667, 1959.
    .. [2] M. Hollander, D. A. Wolfe, Nonparametric Statistical Methods, 3rd ed., 2014, section 3.
    """
    check_confidence(confidence)
    check_method(method)
    if zeros not in ("drop", "pratt"):
        raise ValueError(f'`zeros` must be "drop" or "pratt", got {zeros!r}')
    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    if x.size != y.size:
        raise ValueError(f"`control` and `treatment` must be paired, got {x.size} and {y.size}")
    differences = y - x
    test = signed_rank_test(differences, zeros=zeros, method=method, alternative=alternative)
    if test.p_value is None:
        return test
    kept = differences[differences != 0] if zeros == "drop" else differences
    centre, low, high = shift_signed(kept, confidence=confidence)
    return replace(
        test,
        estimate=centre,
        interval=Interval(low=low, high=high, level=confidence, method="hodges_lehmann"),
        effects=(matched_rank_biserial(differences, confidence=confidence),),
    )


def signed_rank_test(
    differences: Array,
    *,
    zeros: Literal["drop", "pratt"] = "drop",
    method: Exactness = "auto",
    alternative: Alternative = "two-sided",
) -> TestResult:
    """Return Wilcoxon's test without its interval, which costs more than the test."""
    moved = differences[differences != 0]
    n, left_out = moved.size, differences.size - moved.size
    if n == 0:
        return undefined(
            "wilcoxon", "W", n=differences.size, alternative=alternative, notes=("no variation",)
        )
    if zeros == "drop":
        ranks = midranks(np.abs(moved))
    else:
        ranks = midranks(np.abs(differences))[differences != 0]
    w = float(ranks[moved > 0].sum())
    untied = np.unique(ranks).size == n
    exact = method == "exact" or (method == "auto" and (n <= 50 if untied else n <= 16))
    floor = None
    if exact:
        p, floor = counted_p(signed_rank_counts(ranks), 2 * w, alternative)
    else:
        sd = math.sqrt(float((ranks**2).sum()) / 4)
        p = continuous_p(w - float(ranks.sum()) / 2, sd, alternative)
    return TestResult(
        name="wilcoxon",
        statistic_name="W",
        statistic=w,
        df=(),
        p_value=p,
        alternative=alternative,
        method="exact" if exact else "asymptotic",
        n=differences.size,
        min_p=floor,
        notes=(f"{left_out} zero differences were left out",) if left_out else (),
    )
