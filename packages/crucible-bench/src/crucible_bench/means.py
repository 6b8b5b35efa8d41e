"""t tests for one mean, two independent means and paired means."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import item_means, scores
from crucible_bench.intervals import t_interval
from crucible_bench.p_values import t_p_value
from crucible_bench.results import Alternative, TestResult, undefined


def one_sample_t(
    x: ArrayLike,
    *,
    mean: float = 0.0,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test whether a mean over items differs from `mean`.

    Parameters
    ----------
    x : (items,) or (items, repeats) array
        Repeats are averaged within items.

    Notes
    -----
    Without any variation p and interval are None, with a note.
    """
    items = item_means(scores("x", x))
    n = items.size
    estimate = float(items.mean())
    se = float(items.std(ddof=1)) / math.sqrt(n)
    return _t_test("one_sample_t", estimate, mean, se, n - 1, n, alternative, confidence)


def welch_t(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test a difference of two independent means without assuming equal variances.

    References
    ----------
    .. [1] B. L. Welch, Biometrika 34(1-2), 28-35, 1947.
    """
    a = item_means(scores("control", control))
    b = item_means(scores("treatment", treatment))
    va, vb = float(a.var(ddof=1)) / a.size, float(b.var(ddof=1)) / b.size
    total = va + vb
    df = (
        total**2 / (va**2 / (a.size - 1) + vb**2 / (b.size - 1))
        if total > 0
        else float(a.size + b.size - 2)
    )
    estimate = float(b.mean() - a.mean())
    return _t_test(
        "welch_t", estimate, 0.0, math.sqrt(total), df, a.size + b.size, alternative, confidence
    )


def student_t(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test a difference of two independent means, variances taken as equal.

    Notes
    -----
    Unequal variances with unequal n make it reject too often or too rarely; `welch_t` does not.
    """
    a = item_means(scores("control", control))
    b = item_means(scores("treatment", treatment))
    df = a.size + b.size - 2
    pooled = ((a.size - 1) * float(a.var(ddof=1)) + (b.size - 1) * float(b.var(ddof=1))) / df
    se = math.sqrt(pooled * (1 / a.size + 1 / b.size))
    estimate = float(b.mean() - a.mean())
    return _t_test("student_t", estimate, 0.0, se, df, a.size + b.size, alternative, confidence)


def yuen_t(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    trim: float = 0.2,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test a difference of two independent trimmed means.

    Parameters
    ----------
    trim : float, in [0, 0.5)
        Share left out at each end.

    References
    ----------
    .. [1] K. K. Yuen, Biometrika 61(1), 165-170, 1974.
    """
    if not 0 <= trim < 0.5:
        raise ValueError(f"`trim` must be in [0, 0.5), got {trim}")
    parts = []
    for name, data in (("control", control), ("treatment", treatment)):
        ordered = np.sort(item_means(scores(name, data)))
        n = ordered.size
        cut = int(trim * n)
        kept = n - 2 * cut
        if kept < 2:
            raise ValueError(f"`{name}` must keep at least 2 scores after trimming, got {kept}")
        winsorised = np.clip(ordered, ordered[cut], ordered[n - cut - 1])
        squared = float(winsorised.var(ddof=1)) * (n - 1) / (kept * (kept - 1))
        parts.append((float(ordered[cut : n - cut].mean()), squared, kept, n))
    (m0, v0, k0, n0), (m1, v1, k1, n1) = parts
    df = (
        (v0 + v1) ** 2 / (v0**2 / (k0 - 1) + v1**2 / (k1 - 1))
        if v0 + v1 > 0
        else float(k0 + k1 - 2)
    )
    return _t_test("yuen_t", m1 - m0, 0.0, math.sqrt(v0 + v1), df, n0 + n1, alternative, confidence)


def paired_t(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test a mean difference over pairs (one-sample t on the differences)."""
    a = item_means(scores("control", control))
    b = item_means(scores("treatment", treatment))
    if a.size != b.size:
        raise ValueError(f"`control` and `treatment` must be paired, got {a.size} and {b.size}")
    d = b - a
    se = float(d.std(ddof=1)) / math.sqrt(d.size)
    return _t_test(
        "paired_t", float(d.mean()), 0.0, se, d.size - 1, d.size, alternative, confidence
    )


def linear_contrast(
    groups: Sequence[ArrayLike],
    weights: Sequence[float],
    *,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test a weighted sum of the means of independent groups, variances unequal.

    Parameters
    ----------
    groups : one (items,) or (items, repeats) array per group, each with at least 2 items
    weights : one number per group
        They usually sum to zero: (-1, 1) is the second mean minus the first.

    Raises
    ------
    ValueError
        If weights and groups differ in number, or all weights are zero.

    References
    ----------
    .. [1] B. L. Welch, Biometrika 34, 28-35, 1947 (degrees of freedom).
    """
    if len(groups) != len(weights):
        raise ValueError(f"`weights` must be one per group ({len(groups)}), got {len(weights)}")
    if not any(weights):
        raise ValueError("`weights` must not all be zero")
    arms = [item_means(scores(f"groups[{n}]", group)) for n, group in enumerate(groups)]
    estimate = math.fsum(w * float(arm.mean()) for w, arm in zip(weights, arms, strict=True))
    parts = [
        (w * w * float(arm.var(ddof=1)) / arm.size, arm.size - 1)
        for w, arm in zip(weights, arms, strict=True)
    ]
    variance = math.fsum(v for v, _ in parts)
    # Without any variation there is no t, whatever its degrees of freedom.
    df = variance**2 / math.fsum(v * v / k for v, k in parts) if variance else 1.0
    n = sum(arm.size for arm in arms)
    return _t_test(
        "linear_contrast", estimate, 0.0, math.sqrt(variance), df, n, alternative, confidence
    )


def _t_test(
    name: str,
    estimate: float,
    null: float,
    se: float,
    df: float,
    n: int,
    alternative: Alternative,
    confidence: float,
) -> TestResult:
    # Rounding leaves a spread of about 1e-17 in constant data; it is no variation.
    if not se > 1e-14 * max(1.0, abs(estimate)) or not np.isfinite(se):
        note = "no variation" if math.isclose(estimate, null) else "differences without variation"
        return undefined(
            name, "t", df=(df,), alternative=alternative, n=n, estimate=estimate, notes=(note,)
        )
    t = (estimate - null) / se
    return TestResult(
        name=name,
        statistic_name="t",
        statistic=t,
        df=(df,),
        p_value=t_p_value(t, df, alternative),
        alternative=alternative,
        method="exact",
        n=n,
        estimate=estimate,
        interval=t_interval(estimate, se, df, confidence=confidence, method=name),
    )
