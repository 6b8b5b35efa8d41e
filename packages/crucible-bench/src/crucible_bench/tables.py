"""Tests on counts of independent groups; those on paired counts can be had from here as well."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import Array
from crucible_bench.explained import cramers_v
from crucible_bench.p_values import normal_p
from crucible_bench.paired_counts import cochran_q as cochran_q
from crucible_bench.paired_counts import mcnemar as mcnemar
from crucible_bench.paired_counts import paired_table as paired_table
from crucible_bench.proportion_intervals import miettinen_nurminen
from crucible_bench.rates import check_counts
from crucible_bench.results import Alternative, TestResult


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
    from crucible_bench.proportion_intervals import agresti_caffo, newcombe, score_z

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
    from crucible_bench.proportion_intervals import proportion_interval

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
