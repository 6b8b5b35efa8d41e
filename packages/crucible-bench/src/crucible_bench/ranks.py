"""Tests on ranks of two independent groups; from here all other tests on ranks can be had too."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, item_means, scores
from crucible_bench.dominance import prob_superiority, rank_biserial
from crucible_bench.exact_ranks import (
    Exactness,
    check_method,
    difference_at,
    rank_sum_counts,
    shift_ranks,
)
from crucible_bench.midranks import midranks, tie_sum
from crucible_bench.p_values import continuous_p, counted_p, t_p_value
from crucible_bench.rank_groups import dunn as dunn
from crucible_bench.rank_groups import friedman as friedman
from crucible_bench.rank_groups import kruskal_wallis as kruskal_wallis
from crucible_bench.results import Alternative, Interval, TestResult, undefined
from crucible_bench.signed_ranks import signed_rank_test as signed_rank_test
from crucible_bench.signed_ranks import wilcoxon as wilcoxon

LIMIT = 100_000  # arrangements that the conditional distribution may have


def mann_whitney(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    method: Exactness = "auto",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test whether treatment's scores tend to be larger than control's.

    Parameters
    ----------
    method : {"auto", "exact", "asymptotic"}
        "auto" is exact without ties while n0 * n1 <= 2,500, exact given the ties while there are at
        most 100,000 arrangements, and else normal with corrections for ties and continuity.

    Notes
    -----
    The statistic is U of treatment. The estimate is Hodges and Lehmann's shift, the median of all
    differences; its interval inverts the test. It is an interval of a shift if the distributions
    have one shape. An exact two-sided p is twice the smaller tail.

    References
    ----------
    .. [1] M. Hollander, D. A. Wolfe, Nonparametric Statistical Methods, 3rd ed., 2014, section 4.
    """
    check_confidence(confidence)
    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    check_method(method)
    test = u_test(x, y, method=method, alternative=alternative)
    if test.p_value is None:
        return test
    pooled = np.concatenate([x, y])
    ties = tie_sum(pooled)
    low, high = shift_ranks(
        x,
        y,
        confidence=confidence,
        exact=test.method == "exact" and ties == 0,
        sd=_u_sd(x.size, y.size, ties),
    )
    return replace(
        test,
        estimate=_hodges_lehmann(x, y),
        interval=Interval(low=low, high=high, level=confidence, method="hodges_lehmann"),
        effects=(
            rank_biserial(x, y, confidence=confidence),
            prob_superiority(x, y, confidence=confidence),
        ),
    )


def u_test(x: Array, y: Array, *, method: Exactness, alternative: Alternative) -> TestResult:
    """Return Mann and Whitney's test without its interval, which costs more than the test."""
    n0, n1 = x.size, y.size
    pooled = np.concatenate([x, y])
    ranks = midranks(pooled)
    u = float(ranks[n0:].sum()) - n1 * (n1 + 1) / 2
    ties = tie_sum(pooled)
    sd = _u_sd(n0, n1, ties)
    if sd == 0:
        return undefined(
            "mann_whitney", "U", n=n0 + n1, alternative=alternative, notes=("no variation",)
        )
    few = n0 * n1 <= 2_500 if ties == 0 else n0 + n1 < 400 and math.comb(n0 + n1, n1) <= LIMIT
    exact = method == "exact" or (method == "auto" and few)
    floor = None
    if exact:
        counts = rank_sum_counts(ranks, n1, tied=ties > 0)
        p, floor = counted_p(counts, u if ties == 0 else 2 * u, alternative)
    else:
        p = continuous_p(u - n0 * n1 / 2, sd, alternative)
    return TestResult(
        name="mann_whitney",
        statistic_name="U",
        statistic=u,
        df=(),
        p_value=p,
        alternative=alternative,
        method="exact" if exact else "asymptotic",
        n=n0 + n1,
        min_p=floor,
    )


def _u_sd(n0: int, n1: int, ties: float) -> float:
    n = n0 + n1
    return math.sqrt(max(0.0, n0 * n1 / 12 * (n + 1 - ties / (n * (n - 1)))))


def brunner_munzel(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test whether P(treatment > control) + P(equal) / 2 differs from 1/2.

    Notes
    -----
    Unlike Mann and Whitney's test it allows unequal variances. Where the groups do not overlap
    there is no variance: p is None with a note, and the interval is Wilson's.

    References
    ----------
    .. [1] E. Brunner, U. Munzel, Biometrical Journal 42(1), 17-25, 2000.
    """
    from crucible_bench.dominance import placements

    check_confidence(confidence)
    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    effect = prob_superiority(x, y, confidence=confidence)
    estimate, se, df = placements(x, y)
    known = se > 0
    t = (estimate - 0.5) / se if known else None
    return TestResult(
        name="brunner_munzel",
        statistic_name="t",
        statistic=t,
        df=(df,) if known else (),
        p_value=None if t is None else t_p_value(t, df, alternative),
        alternative=alternative,
        method="asymptotic",
        n=x.size + y.size,
        estimate=estimate,
        interval=effect.interval,
        effects=(effect, rank_biserial(x, y, confidence=confidence)),
        notes=() if known else ("the groups do not overlap: the statistic has no variance",),
    )


def _hodges_lehmann(x: Array, y: Array) -> float:
    total = x.size * y.size
    middle = [difference_at(x, y, k) for k in {(total - 1) // 2, total // 2}]
    return sum(middle) / len(middle)
