"""Tests on ranks: two groups, pairs, and several groups."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, item_means, scores
from crucible_bench.dominance import matched_rank_biserial, prob_superiority, rank_biserial
from crucible_bench.exact_ranks import (
    difference_at,
    rank_sum_counts,
    shift_ranks,
    shift_signed,
    signed_rank_counts,
)
from crucible_bench.results import Alternative, Effect, Interval, TestResult

LIMIT = 100_000  # arrangements that the conditional distribution may have
Exactness = Literal["auto", "exact", "asymptotic"]


def midranks(x: Array) -> Array:
    """Return ranks from 1, ties sharing their mean rank."""
    order = np.argsort(x, kind="stable")
    ordered = x[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, x.size])
    ranks = np.empty(x.size)
    ranks[order] = np.repeat(starts + (sizes + 1) / 2, sizes)
    return ranks


def tie_sum(x: Array) -> float:
    """Return the sum of t^3 - t over groups of ties."""
    sizes = np.unique(x, return_counts=True)[1].astype(float)
    return float((sizes**3 - sizes).sum())


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
    _check_method(method)
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
        return _nothing("mann_whitney", "U", n0 + n1, alternative, "no variation")
    few = n0 * n1 <= 2_500 if ties == 0 else n0 + n1 < 400 and math.comb(n0 + n1, n1) <= LIMIT
    exact = method == "exact" or (method == "auto" and few)
    floor = None
    if exact:
        counts = rank_sum_counts(ranks, n1, tied=ties > 0)
        p, floor = _exact(counts, u if ties == 0 else 2 * u, alternative)
    else:
        p = _normal(u - n0 * n1 / 2, sd, alternative)
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
    _check_method(method)
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
        return _nothing("wilcoxon", "W", differences.size, alternative, "no variation")
    if zeros == "drop":
        ranks = midranks(np.abs(moved))
    else:
        ranks = midranks(np.abs(differences))[differences != 0]
    w = float(ranks[moved > 0].sum())
    untied = np.unique(ranks).size == n
    exact = method == "exact" or (method == "auto" and (n <= 50 if untied else n <= 16))
    floor = None
    if exact:
        p, floor = _exact(signed_rank_counts(ranks), 2 * w, alternative)
    else:
        sd = math.sqrt(float((ranks**2).sum()) / 4)
        p = _normal(w - float(ranks.sum()) / 2, sd, alternative)
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
    from crucible_bench.means import t_p_value

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


def kruskal_wallis(groups: Mapping[str, ArrayLike] | Sequence[ArrayLike]) -> TestResult:
    """Test whether several independent groups have one distribution, by ranks, ties corrected.

    References
    ----------
    .. [1] W. H. Kruskal, W. A. Wallis, JASA 47(260), 583-621, 1952.
    """
    from scipy import special

    from crucible_bench.anova import arms

    samples = arms(groups)
    pooled = np.concatenate(samples)
    n = pooled.size
    ranks = midranks(pooled)
    ties = tie_sum(pooled)
    correction = 1 - ties / (n**3 - n)
    if correction == 0:
        return _nothing("kruskal_wallis", "H", n, "two-sided", "no variation")
    ends = np.cumsum([s.size for s in samples])[:-1]
    sums = sum(float(part.sum()) ** 2 / part.size for part in np.split(ranks, ends))
    h = (12 / (n * (n + 1)) * sums - 3 * (n + 1)) / correction
    df = len(samples) - 1
    return TestResult(
        name="kruskal_wallis",
        statistic_name="H",
        statistic=h,
        df=(float(df),),
        p_value=float(special.chdtrc(df, h)),
        alternative="two-sided",
        method="asymptotic",
        n=n,
        effects=(Effect(name="rank_epsilon_squared", value=h / (n - 1)),),
    )


def friedman(groups: Mapping[str, ArrayLike] | Sequence[ArrayLike]) -> TestResult:
    """Test whether several conditions on the same items differ, by ranks within items.

    Notes
    -----
    Ties corrected. The notes give Iman and Davenport's F [2]_, which keeps its level better.

    References
    ----------
    .. [1] M. Friedman, JASA 32(200), 675-701, 1937.
    .. [2] R. L. Iman, J. M. Davenport, Communications in Statistics A9(6), 571-595, 1980.
    """
    from scipy import special

    from crucible_bench.anova import blocks

    table = blocks(groups)
    n, k = table.shape
    ranks = np.stack([midranks(row) for row in table])
    ties = sum(tie_sum(row) for row in table)
    spread = n * k * (k + 1) * (1 - ties / (n * k * (k * k - 1)))
    if spread <= 0:
        return _nothing("friedman", "chi2", n, "two-sided", "no variation")
    centred = ranks.sum(axis=0) - n * (k + 1) / 2
    chi2 = 12 * float(centred @ centred) / spread
    w = chi2 / (n * (k - 1))
    notes: tuple[str, ...] = ()
    if w < 1:
        f = (n - 1) * chi2 / (n * (k - 1) - chi2)
        p = float(special.fdtrc(k - 1, (k - 1) * (n - 1), f))
        notes = (f"Iman-Davenport F({k - 1}, {(k - 1) * (n - 1)}) = {f:.6f}, p = {p:.4g}",)
    return TestResult(
        name="friedman",
        statistic_name="chi2",
        statistic=chi2,
        df=(float(k - 1),),
        p_value=float(special.chdtrc(k - 1, chi2)),
        alternative="two-sided",
        method="asymptotic",
        n=n,
        effects=(Effect(name="kendalls_w", value=w),),
        notes=notes,
    )


def dunn(
    groups: Mapping[str, ArrayLike],
    *,
    correction: Literal[
        "bonferroni", "holm", "hochberg", "benjamini_hochberg", "benjamini_yekutieli", "none"
    ] = "holm",
) -> "dict[tuple[str, str], tuple[TestResult, float]]":
    """Compare every two of several independent groups by the ranks of all.

    Returns
    -------
    dict of (control, treatment) to (test with its raw p-value, corrected p-value)

    References
    ----------
    .. [1] O. J. Dunn, Technometrics 6(3), 241-252, 1964.
    """
    from scipy import special

    from crucible_bench.anova import arms
    from crucible_bench.corrections import correct

    names, samples = tuple(groups), arms(groups)
    pooled = np.concatenate(samples)
    n = pooled.size
    ranks = midranks(pooled)
    ends = np.cumsum([s.size for s in samples])[:-1]
    means = [float(part.mean()) for part in np.split(ranks, ends)]
    variance = n * (n + 1) / 12 - tie_sum(pooled) / (12 * (n - 1))
    if variance <= 0:
        raise ValueError("`groups` must hold different scores, got only ties")
    tests: dict[tuple[str, str], TestResult] = {}
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            se = math.sqrt(variance * (1 / samples[i].size + 1 / samples[j].size))
            z = (means[j] - means[i]) / se
            tests[names[i], names[j]] = TestResult(
                name="dunn", statistic_name="z", statistic=z, df=(),
                p_value=float(2 * special.ndtr(-abs(z))), alternative="two-sided",
                method="asymptotic", n=samples[i].size + samples[j].size,
                estimate=means[j] - means[i],
            )  # fmt: skip
    raw = [float(t.p_value or 0.0) for t in tests.values()]
    adjusted = correct(raw, method=correction, family="pairs of groups").adjusted
    return {key: (test, p) for (key, test), p in zip(tests.items(), adjusted, strict=True)}


def _check_method(method: str) -> None:
    if method not in ("auto", "exact", "asymptotic"):
        raise ValueError(f'`method` must be "auto", "exact" or "asymptotic", got {method!r}')


def _exact(counts: Array, statistic: float, alternative: Alternative) -> tuple[float, float]:
    """Return the p-value and the smallest possible one, from counts of 0, 1, 2 ..."""
    total = float(counts.sum())
    at = round(statistic)
    less = float(counts[: at + 1].sum()) / total
    greater = float(counts[at:].sum()) / total
    used = np.flatnonzero(counts)
    ends = float(min(counts[used[0]], counts[used[-1]])) / total
    if alternative == "greater":
        return greater, float(counts[used[-1]]) / total
    if alternative == "less":
        return less, float(counts[used[0]]) / total
    return min(1.0, 2 * min(less, greater)), min(1.0, 2 * ends)


def _normal(distance: float, sd: float, alternative: Alternative) -> float:
    from scipy import special

    if alternative == "greater":
        return float(special.ndtr(-(distance - 0.5) / sd))
    if alternative == "less":
        return float(special.ndtr((distance + 0.5) / sd))
    return min(1.0, float(2 * special.ndtr(-(abs(distance) - 0.5) / sd)))


def _hodges_lehmann(x: Array, y: Array) -> float:
    total = x.size * y.size
    middle = [difference_at(x, y, k) for k in {(total - 1) // 2, total // 2}]
    return sum(middle) / len(middle)


def _nothing(
    name: str, statistic_name: str, n: int, alternative: Alternative, note: str
) -> TestResult:
    return TestResult(
        name=name, statistic_name=statistic_name, statistic=None, df=(), p_value=None,
        alternative=alternative, method="asymptotic", n=n, notes=(note,),
    )  # fmt: skip
