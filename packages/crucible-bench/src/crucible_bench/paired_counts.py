"""Tests on counts of the same items: two conditions or several."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.p_values import normal_p
from crucible_bench.proportion_intervals import tango
from crucible_bench.rank_effects import kendalls_w
from crucible_bench.results import Alternative, Comparison, TestResult, undefined


def mcnemar(
    control_only: int,
    treatment_only: int,
    *,
    pairs: int,
    kind: Literal["mid-p", "exact", "asymptotic"] = "mid-p",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test a difference of paired proportions from the discordant pairs.

    Parameters
    ----------
    control_only, treatment_only : int, >= 0
        Pairs that only the one or only the other arm got right.
    pairs : int
        All pairs; the difference is (treatment_only - control_only) / pairs.
    kind : {"mid-p", "exact", "asymptotic"}
        The mid-p test rejects close to its nominal rate, the exact one far below it; the asymptotic
        one compares (c - b) / sqrt(b + c) with a normal distribution and needs many pairs.

    Notes
    -----
    Given the number of discordant pairs, treatment_only is Binomial(m, 1/2) under the null. The
    interval is Tango's. Without discordant pairs p is 1.

    References
    ----------
    .. [1] M. W. Fagerland, S. Lydersen, P. Laake, BMC Med Res Methodol 13:91, 2013, eq. 3-5.

    Examples
    --------
    >>> round(mcnemar(6, 14, pairs=60).p_value, 4)
    0.0784
    """
    from scipy import special

    b, c, m = control_only, treatment_only, control_only + treatment_only
    interval = tango(b, c, pairs, confidence=confidence)

    def below(k: int) -> float:
        """Return P(X <= k) for X ~ Binomial(m, 1/2)."""
        return 0.0 if k < 0 else float(special.bdtr(k, m, 0.5))

    def at(k: int) -> float:
        return math.exp(special.gammaln(m + 1) - special.gammaln(k + 1) - special.gammaln(m - k + 1)
                        - m * math.log(2))  # fmt: skip

    if kind not in ("mid-p", "exact", "asymptotic"):
        raise ValueError(f'`kind` must be "mid-p", "exact" or "asymptotic", got {kind!r}')
    if kind == "asymptotic":
        z = (c - b) / math.sqrt(m) if m else 0.0
        return TestResult(
            name="mcnemar_asymptotic", statistic_name="z", statistic=z, df=(),
            p_value=1.0 if m == 0 else normal_p(z, alternative), alternative=alternative,
            method="asymptotic", n=pairs, estimate=(c - b) / pairs, interval=interval,
        )  # fmt: skip
    half = 0.5 if kind == "mid-p" else 0.0
    greater = below(b) - half * at(b)  # P(X >= c) = P(X <= b) by symmetry
    less = below(c) - half * at(c)
    if m == 0:
        p = 1.0
    elif alternative == "greater":
        p = greater
    elif alternative == "less":
        p = less
    else:
        p = 1.0 if b == c and kind == "exact" else min(1.0, 2 * min(greater, less))
    return TestResult(
        name="mcnemar_midp" if kind == "mid-p" else "mcnemar_exact",
        statistic_name="discordant pairs in favour of treatment",
        statistic=float(c),
        df=(),
        p_value=min(1.0, p),
        alternative=alternative,
        method="mid-p" if kind == "mid-p" else "exact",
        n=pairs,
        estimate=(c - b) / pairs,
        interval=interval,
        min_p=None if m == 0 else (1 if half else 2) * 0.5**m,
    )


def cochran_q(
    groups: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    *,
    confidence: float = 0.95,
    n_resamples: int = 2_000,
    rng: int | np.random.Generator | None = None,
) -> TestResult:
    """Test whether several conditions have one success rate on the same items.

    Parameters
    ----------
    groups : conditions on the same items in the same order, 0 and 1
    confidence, n_resamples, rng
        Of the bootstrap interval of the effect size, which exists where `rng` is given; see
        `effects.kendalls_w`.

    Notes
    -----
    Items that all conditions got right, or all wrong, say nothing. Of two conditions it is
    McNemar's asymptotic test. The effect is Kendall's W = Q / (n (k - 1)).

    References
    ----------
    .. [1] W. G. Cochran, Biometrika 37(3-4), 256-266, 1950.
    """
    from scipy import special

    from crucible_bench.anova import blocks

    table = blocks(groups)
    if not np.isin(table, (0.0, 1.0)).all():
        raise ValueError("`groups` must hold only 0 and 1")
    n, k = table.shape
    columns, rows = table.sum(axis=0), table.sum(axis=1)
    below = k * float(rows.sum()) - float(rows @ rows)
    if below == 0:
        return undefined(
            "cochran_q", "Q", df=(float(k - 1),), p_value=1.0, n=n,
            notes=("no item tells the conditions apart",),
        )  # fmt: skip
    q = (k - 1) * (k * float(columns @ columns) - float(columns.sum()) ** 2) / below
    return TestResult(
        name="cochran_q",
        statistic_name="Q",
        statistic=q,
        df=(float(k - 1),),
        p_value=float(special.chdtrc(k - 1, q)),
        alternative="two-sided",
        method="asymptotic",
        n=n,
        effects=(kendalls_w(groups, confidence=confidence, n_resamples=n_resamples, rng=rng),),
    )


def paired_table(
    both: int,
    control_only: int,
    treatment_only: int,
    neither: int,
    *,
    test: Literal["default", "mcnemar_midp", "mcnemar_exact", "mcnemar_asymptotic"] = "default",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
    sesoi: float | None = None,
    higher_is_better: bool = True,
    labels: tuple[str, str] = ("control", "treatment"),
) -> Comparison:
    """Compare paired 0/1 scores given as four counts; see `compare_paired`.

    Examples
    --------
    >>> print(paired_table(306, 209, 152, 652).apa())
    McNemar mid-p = .003, difference = -0.043, 95 % CI [-0.071, -0.015], n = 1319 pairs
    """
    from crucible_bench.paired import compare_paired

    sizes = (both, control_only, treatment_only, neither)
    if min(sizes) < 0:
        raise ValueError(f"the four counts must be >= 0, got {sizes}")
    return compare_paired(
        np.repeat([1.0, 1.0, 0.0, 0.0], sizes),
        np.repeat([1.0, 0.0, 1.0, 0.0], sizes),
        test=test,
        alternative=alternative,
        confidence=confidence,
        sesoi=sesoi,
        higher_is_better=higher_is_better,
        labels=labels,
    )
