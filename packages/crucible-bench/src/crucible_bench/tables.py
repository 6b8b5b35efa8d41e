"""Tests on counts: paired and independent proportions."""

import math
from typing import Literal

from crucible_bench.intervals import miettinen_nurminen, tango
from crucible_bench.results import Alternative, TestResult


def mcnemar(
    control_only: int,
    treatment_only: int,
    *,
    pairs: int,
    kind: Literal["mid-p", "exact"] = "mid-p",
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
    kind : {"mid-p", "exact"}
        The mid-p test rejects close to its nominal rate, the exact one far below it.

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
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test a difference of two independent proportions by the score test.

    Parameters
    ----------
    control, treatment : (successes, trials)

    Notes
    -----
    Pooled variance times N / (N - 1) [1]_, so that the test and Miettinen and Nurminen's interval
    always agree about zero.

    References
    ----------
    .. [1] I. Campbell, Statistics in Medicine 26(19), 3661-3675, 2007.
    """
    from scipy import special

    from crucible_bench.intervals import _score_z

    (x0, n0), (x1, n1) = control, treatment
    for name, (x, n) in (("control", control), ("treatment", treatment)):
        if n < 1 or not 0 <= x <= n:
            raise ValueError(f"`{name}` must be (successes, trials), got ({x}, {n})")
    z = _score_z(x0, n0, x1, n1, 0.0)
    tails = {
        "two-sided": 2 * special.ndtr(-abs(z)),
        "greater": special.ndtr(-z),
        "less": special.ndtr(z),
    }
    return TestResult(
        name="two_proportions",
        statistic_name="z",
        statistic=z,
        df=(),
        p_value=float(tails[alternative]),
        alternative=alternative,
        method="asymptotic",
        n=n0 + n1,
        estimate=x1 / n1 - x0 / n0,
        interval=miettinen_nurminen(control, treatment, confidence=confidence),
    )
