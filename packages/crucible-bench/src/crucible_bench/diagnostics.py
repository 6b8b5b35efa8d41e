"""Checks of assumptions. They stand beside a result and never decide which test is used."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import Array, item_means, scores
from crucible_bench.description import skewness
from crucible_bench.results import Diagnostic, TestResult


def check_assumptions(
    control: ArrayLike, treatment: ArrayLike, *, paired: bool
) -> tuple[Diagnostic, ...]:
    """Check normality, spread, skewness, outliers, ties, and scores at floor and ceiling.

    Parameters
    ----------
    paired : bool
        Look at the differences, which is what a paired test is about.

    Notes
    -----
    A gate that picks the test from such checks raises the type-I error; this is for reading.
    """
    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    if paired and x.size != y.size:
        raise ValueError(f"`control` and `treatment` must be paired, got {x.size} and {y.size}")
    parts = {"differences": y - x} if paired else {"control": x, "treatment": y}
    found = []
    for name, part in parts.items():
        test = shapiro_wilk(part) if part.size >= 3 else None
        p = None if test is None else test.p_value
        found.append(
            Diagnostic(
                name=f"normality of {name}",
                statistic=None if test is None else test.statistic,
                p_value=p,
                finding="undecidable" if p is None else "ok" if p > 0.05 else "doubtful",
                note="Shapiro-Wilk; tells little for few scores and rejects trifles for many",
            )
        )
        extreme = outliers(part).size
        found.append(
            Diagnostic(
                name=f"outliers of {name}", statistic=float(extreme), p_value=None,
                finding="ok" if extreme == 0 else "doubtful",
                note="beyond 1.5 interquartile ranges; none is removed",
            )
        )  # fmt: skip
        ties = part.size - np.unique(part).size
        found.append(
            Diagnostic(
                name=f"ties of {name}", statistic=float(ties), p_value=None,
                finding="ok" if ties < part.size / 4 else "doubtful",
                note="scores that equal another one",
            )
        )  # fmt: skip
    return (*found, *quick_checks(x, y, paired=paired))


def quick_checks(x: Array, y: Array, *, paired: bool) -> tuple[Diagnostic, ...]:
    """Return the checks that cost nothing: skewness, spread, floor and ceiling."""
    found = []
    for name, part in (
        {"differences": y - x} if paired else {"control": x, "treatment": y}
    ).items():
        g1 = skewness(part)
        found.append(
            Diagnostic(
                name=f"skewness of {name}",
                statistic=g1,
                p_value=None,
                finding="undecidable" if g1 is None else "ok" if abs(g1) < 1 else "doubtful",
                note="t intervals of few, skewed scores cover too rarely",
            )
        )
    if not paired:
        v0, v1 = float(x.var(ddof=1)), float(y.var(ddof=1))
        ratio = max(v0, v1) / min(v0, v1) if min(v0, v1) > 0 else None
        found.append(
            Diagnostic(
                name="variance ratio",
                statistic=ratio,
                p_value=None,
                finding="undecidable" if ratio is None else "ok" if ratio < 4 else "doubtful",
                note="Welch's test does not assume equal variances; Student's does",
            )
        )
    both = np.concatenate([x, y])
    share = float(max((both == both.min()).mean(), (both == both.max()).mean()))
    found.append(
        Diagnostic(
            name="share at floor or ceiling",
            statistic=share,
            p_value=None,
            finding="ok" if share < 0.15 else "doubtful",
            note="items that are too easy or too hard cannot tell systems apart",
        )
    )
    return tuple(found)


def outliers(
    x: ArrayLike, *, method: Literal["iqr", "mad", "z"] = "iqr", threshold: float | None = None
) -> NDArray[np.intp]:
    """Return the indices of scores far from the others; nothing is removed.

    Parameters
    ----------
    method : {"iqr", "mad", "z"}
        Beyond 1.5 interquartile ranges of the quartiles, 3.5 scaled median absolute deviations of
        the median, or 3 standard deviations of the mean; `threshold` replaces these numbers.
    """
    values = scores("x", x)
    if values.ndim != 1:
        raise ValueError("`x` must have one dimension")
    if threshold is not None and not threshold > 0:
        raise ValueError(f"`threshold` must be > 0, got {threshold}")
    if method == "iqr":
        low, high = np.percentile(values, [25, 75])
        reach = (1.5 if threshold is None else threshold) * (high - low)
        far = (values < low - reach) | (values > high + reach)
    elif method == "mad":
        distance = np.abs(values - np.median(values))
        # 1.4826 makes the median absolute deviation of a normal sample its SD.
        scale = 1.482602218505602 * float(np.median(distance))
        far = distance > (3.5 if threshold is None else threshold) * scale
    elif method == "z":
        distance = np.abs(values - values.mean())
        far = distance > (3.0 if threshold is None else threshold) * values.std(ddof=1)
    else:
        raise ValueError(f'`method` must be "iqr", "mad" or "z", got {method!r}')
    return np.flatnonzero(far)


def shapiro_wilk(x: ArrayLike) -> TestResult:
    """Test whether scores could be normal; 3 <= n <= 5,000, beyond which p is None.

    References
    ----------
    .. [1] S. S. Shapiro, M. B. Wilk, Biometrika 52(3-4), 591-611, 1965.
    """
    from scipy import stats

    values = item_means(scores("x", x, minimum=3))
    w = p = None
    notes: tuple[str, ...] = ()
    if values.size > 5_000:
        notes = (f"n = {values.size} > 5,000: the p-value is not known",)
    elif not float(np.ptp(values)) > 0:
        notes = ("no variation",)
    else:
        result = stats.shapiro(values)
        w, p = float(result.statistic), float(result.pvalue)
    return TestResult(
        name="shapiro_wilk", statistic_name="W", statistic=w, df=(), p_value=p,
        alternative="two-sided", method="asymptotic", n=values.size, notes=notes,
    )  # fmt: skip


def ks_two_sample(control: ArrayLike, treatment: ArrayLike) -> TestResult:
    """Test whether two independent samples have one distribution (Kolmogorov and Smirnov).

    Notes
    -----
    Exact up to 10,000 scores per sample, else asymptotic, as scipy has it. It looks at every kind
    of difference and so has little power against a shift.
    """
    from scipy import stats

    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    exact = max(x.size, y.size) <= 10_000
    result = stats.ks_2samp(x, y, method="exact" if exact else "asymp")
    return TestResult(
        name="ks_two_sample", statistic_name="D", statistic=float(result.statistic), df=(),
        p_value=float(result.pvalue), alternative="two-sided",
        method="exact" if exact else "asymptotic", n=x.size + y.size,
    )  # fmt: skip
