"""Tests on counts: paired and independent proportions."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import Array
from crucible_bench.explained import cramers_v
from crucible_bench.intervals import miettinen_nurminen, tango
from crucible_bench.rates import check_counts
from crucible_bench.results import Alternative, Comparison, Effect, TestResult


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


def two_proportions(
    control: tuple[int, int],
    treatment: tuple[int, int],
    *,
    interval: Literal["score", "newcombe", "agresti_caffo"] = "score",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test a difference of two independent proportions by the score test.

    Parameters
    ----------
    control, treatment : (successes, trials)
    interval : {"score", "newcombe", "agresti_caffo"}
        Of the difference. Only "score" always agrees with the test about zero.

    Notes
    -----
    Pooled variance times N / (N - 1) [1]_, so that the test and Miettinen and Nurminen's interval
    always agree about zero.

    References
    ----------
    .. [1] I. Campbell, Statistics in Medicine 26(19), 3661-3675, 2007.
    """
    from crucible_bench.intervals import agresti_caffo, newcombe, score_z

    check_counts("control", control)
    check_counts("treatment", treatment)
    (x0, n0), (x1, n1) = control, treatment
    inverted = {"score": miettinen_nurminen, "newcombe": newcombe, "agresti_caffo": agresti_caffo}
    if interval not in inverted:
        raise ValueError(f"`interval` must be one of {', '.join(inverted)}, got {interval!r}")
    z = score_z(x0, n0, x1, n1, 0.0)
    return TestResult(
        name="two_proportions",
        statistic_name="z",
        statistic=z,
        df=(),
        p_value=normal_p(z, alternative),
        alternative=alternative,
        method="asymptotic",
        n=n0 + n1,
        estimate=x1 / n1 - x0 / n0,
        interval=inverted[interval](control, treatment, confidence=confidence),
    )


def normal_p(z: float, alternative: Alternative) -> float:
    """Return the p-value of a normal statistic."""
    from scipy import special

    if alternative == "two-sided":
        return float(2 * special.ndtr(-abs(z)))
    return float(special.ndtr(-z if alternative == "greater" else z))


def fisher_exact(
    control: tuple[int, int],
    treatment: tuple[int, int],
    *,
    mid_p: bool = False,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test two independent proportions exactly, given both margins.

    Parameters
    ----------
    control, treatment : (successes, trials)
    mid_p : bool
        Count the observed table half: closer to the nominal level; the exact test stays below it.

    Notes
    -----
    Two-sided, it adds the tables at most as probable as the observed one. The interval of the
    difference is Miettinen and Nurminen's.

    References
    ----------
    .. [1] R. A. Fisher, JRSS 98(1), 39-82, 1935.
    """
    from scipy import special

    check_counts("control", control)
    check_counts("treatment", treatment)
    (x0, n0), (x1, n1) = control, treatment
    total, successes = n0 + n1, x0 + x1
    k = np.arange(max(0, successes - n0), min(n1, successes) + 1)

    def log_choose(n: int, r: "int | NDArray[np.int64]") -> Array:
        logs: Array = special.gammaln(n + 1) - special.gammaln(r + 1) - special.gammaln(n - r + 1)
        return logs

    mass = np.exp(log_choose(n1, k) + log_choose(n0, successes - k) - log_choose(total, successes))
    mass /= mass.sum()
    here = float(mass[k == x1][0])
    if alternative == "greater":
        tail = float(mass[k >= x1].sum())
    elif alternative == "less":
        tail = float(mass[k <= x1].sum())
    else:
        tail = float(mass[mass <= here * (1 + 1e-7)].sum())
    return TestResult(
        name="fisher_mid_p" if mid_p else "fisher_exact",
        statistic_name="successes of treatment",
        statistic=float(x1),
        df=(),
        p_value=min(1.0, tail - (0.5 * here if mid_p else 0.0)),
        alternative=alternative,
        method="mid-p" if mid_p else "exact",
        n=total,
        estimate=x1 / n1 - x0 / n0,
        interval=miettinen_nurminen(control, treatment, confidence=confidence),
    )


def chi_square(
    table: ArrayLike,
    *,
    statistic: Literal["pearson", "g"] = "pearson",
    yates: bool = False,
    confidence: float = 0.95,
) -> TestResult:
    """Test whether rows and columns of a table of counts are independent.

    Parameters
    ----------
    table : (rows, columns) array of counts
    statistic : {"pearson", "g"}
        Pearson's chi-square or the likelihood ratio G.
    yates : bool
        Continuity correction; of 2 x 2 tables only.

    Notes
    -----
    The effect is Cramer's V of Pearson's statistic. Expected counts below 5 are noted.
    """
    from scipy import special

    counts = np.asarray(table, dtype=float)
    if counts.ndim != 2 or min(counts.shape) < 2 or (counts < 0).any():
        raise ValueError("`table` must be at least 2 x 2 counts >= 0")
    if yates and counts.shape != (2, 2):
        raise ValueError(f"`yates` must be False unless the table is 2 x 2, got {counts.shape}")
    n = counts.sum()
    if (counts.sum(axis=0) == 0).any() or (counts.sum(axis=1) == 0).any():
        raise ValueError("`table` must have a count in every row and column")
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    pearson = float(((counts - expected) ** 2 / expected).sum())
    observed = counts
    if yates:
        gap = expected - counts
        observed = counts + np.minimum(0.5, np.abs(gap)) * np.sign(gap)
    if statistic == "pearson":
        value = float(((observed - expected) ** 2 / expected).sum())
    elif statistic == "g":
        value = float(2 * special.xlogy(observed, observed / expected).sum())
    else:
        raise ValueError(f'`statistic` must be "pearson" or "g", got {statistic!r}')
    df = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    least = float(expected.min())
    return TestResult(
        name="chi_square",
        statistic_name="chi2" if statistic == "pearson" else "G",
        statistic=value,
        df=(float(df),),
        p_value=float(special.chdtrc(df, value)),
        alternative="two-sided",
        method="asymptotic",
        n=int(n),
        effects=(cramers_v(pearson, int(n), counts.shape, confidence=confidence),),
        notes=() if least >= 5 else (f"the smallest expected count is {least:.2f}, below 5",),
    )


def cochran_q(groups: Mapping[str, ArrayLike] | Sequence[ArrayLike]) -> TestResult:
    """Test whether several conditions have one success rate on the same items.

    Notes
    -----
    Items that all conditions got right, or all wrong, say nothing. Of two conditions it is
    McNemar's asymptotic test. The effect is W = Q / (n (k - 1)).

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
        return TestResult(
            name="cochran_q", statistic_name="Q", statistic=None, df=(float(k - 1),), p_value=1.0,
            alternative="two-sided", method="asymptotic", n=n,
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
        effects=(Effect(name="w", value=q / (n * (k - 1))),),
    )


def one_proportion(
    successes: int,
    trials: int,
    *,
    null: float | None = None,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Estimate a success rate (Wilson) and, given `null`, test it exactly.

    Parameters
    ----------
    null : float, in (0, 1), optional
        Without it there is no test, and p is None.
    """
    from crucible_bench.intervals import proportion_interval

    interval = proportion_interval(successes, trials, confidence=confidence)
    p = None
    if null is not None:
        from scipy.stats import binomtest

        if not 0 < null < 1:
            raise ValueError(f"`null` must be in (0, 1), got {null}")
        p = float(binomtest(successes, trials, null, alternative=alternative).pvalue)
    return TestResult(
        name="one_proportion",
        statistic_name="successes",
        statistic=float(successes),
        df=(),
        p_value=p,
        alternative=alternative,
        method="exact",
        n=trials,
        estimate=successes / trials,
        interval=interval,
        notes=() if null is not None else ("no null value was given: no test",),
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
