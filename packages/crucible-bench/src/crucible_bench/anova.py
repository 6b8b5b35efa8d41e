"""Several groups: analyses of variance, and the comparisons that go with them."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, item_means, scores
from crucible_bench.effects import (
    epsilon_squared,
    eta_squared,
    generalized_eta_squared,
    omega_squared,
    partial_eta_squared,
)
from crucible_bench.results import Effect, TestResult, undefined

Groups = Mapping[str, ArrayLike] | Sequence[ArrayLike]


def arms(groups: Groups) -> list[Array]:
    """Return independent groups as checked arrays of items, at least two."""
    named = groups.items() if isinstance(groups, Mapping) else enumerate(groups)
    found = [item_means(scores(f"groups[{name!r}]", data)) for name, data in named]
    if len(found) < 2:
        raise ValueError(f"`groups` must hold at least 2 groups, got {len(found)}")
    return found


def blocks(groups: Groups) -> Array:
    """Return (items, conditions); every condition has the same items in the same order."""
    found = arms(groups)
    sizes = [a.size for a in found]
    if len(set(sizes)) > 1:
        raise ValueError(f"`groups` must have the same items, got {sizes} scores")
    return np.stack(found, axis=1)


def one_way_anova(groups: Groups, *, confidence: float = 0.95) -> TestResult:
    """Test whether several independent means are equal, variances taken as equal.

    Notes
    -----
    Scores are centred at their grand mean before squares are summed, which keeps the digits of
    NIST's certified values.
    """
    samples = arms(groups)
    n, k = sum(a.size for a in samples), len(samples)
    # Centre twice: the first mean of large constants is itself rounded.
    origin = float(np.concatenate(samples).mean())
    samples = [a - origin for a in samples]
    grand = math.fsum(v for a in samples for v in a.tolist()) / n
    means = [math.fsum(a.tolist()) / a.size for a in samples]
    between = math.fsum(a.size * (m - grand) ** 2 for a, m in zip(samples, means, strict=True))
    within = math.fsum(
        v for a, m in zip(samples, means, strict=True) for v in ((a - m) ** 2).tolist()
    )
    df = (float(k - 1), float(n - k))
    if not within > 1e-28 * n * (origin**2 + 1):
        return _flat("one_way_anova", df, n)
    f = (between / df[0]) / (within / df[1])
    return _f_test(
        "one_way_anova", f, df, n,
        (
            omega_squared(f, df, confidence=confidence),
            eta_squared(f, df, confidence=confidence),
            epsilon_squared(f, df, confidence=confidence),
        ),
    )  # fmt: skip


def welch_anova(groups: Groups, *, confidence: float = 0.95) -> TestResult:
    """Test whether several independent means are equal, whatever the variances.

    Notes
    -----
    Effects are those of the classical F, which they are defined by.

    References
    ----------
    .. [1] B. L. Welch, Biometrika 38(3-4), 330-336, 1951.
    """
    samples = arms(groups)
    k, n = len(samples), sum(a.size for a in samples)
    variances = np.array([a.var(ddof=1) for a in samples])
    if (variances <= 0).any():
        return _flat("welch_anova", (float(k - 1),), n)
    sizes = np.array([a.size for a in samples], dtype=float)
    means = np.array([a.mean() for a in samples])
    weights = sizes / variances
    total = weights.sum()
    centre = float(weights @ means / total)
    spread = float(((1 - weights / total) ** 2 / (sizes - 1)).sum())
    f = float((weights * (means - centre) ** 2).sum() / (k - 1)) / (
        1 + 2 * (k - 2) / (k * k - 1) * spread
    )
    classical = one_way_anova(samples, confidence=confidence)
    return _f_test(
        "welch_anova", f, (float(k - 1), (k * k - 1) / (3 * spread)), n, classical.effects
    )


def rm_anova(groups: Groups, *, confidence: float = 0.95) -> TestResult:
    """Test whether several conditions on the same items have one mean.

    Notes
    -----
    `p_value` is always corrected by Greenhouse and Geisser's epsilon; `df` are uncorrected. The
    notes give both epsilons, Huynh and Feldt's p, and Mauchly's test.

    References
    ----------
    .. [1] S. W. Greenhouse, S. Geisser, Psychometrika 24(2), 95-112, 1959.
    .. [2] H. Huynh, L. S. Feldt, Journal of Educational Statistics 1(1), 69-82, 1976.
    """
    from scipy import special

    table = blocks(groups)
    table = table - table.mean()
    n, k = table.shape
    effect = n * float((table.mean(axis=0) ** 2).sum())
    subjects = k * float((table.mean(axis=1) ** 2).sum())
    residual = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True)
    error = float((residual**2).sum())
    df = (float(k - 1), float((k - 1) * (n - 1)))
    if not error > 1e-28 * n * k:
        return _flat("rm_anova", df, n)
    f = (effect / df[0]) / (error / df[1])
    gg, hf, w, mauchly = _sphericity(table)

    def p(epsilon: float) -> float:
        return float(special.fdtrc(df[0] * epsilon, df[1] * epsilon, f))

    notes = [
        f"Greenhouse-Geisser epsilon = {gg:.6f}; Huynh-Feldt epsilon = {hf:.6f}, p = {p(hf):.6g}"
    ]
    if w is not None and mauchly is not None:
        notes.append(f"Mauchly W = {w:.6f}, p = {mauchly:.6g}; uncorrected p = {p(1.0):.6g}")
    return TestResult(
        name="rm_anova",
        statistic_name="F",
        statistic=f,
        df=df,
        p_value=p(gg),
        alternative="two-sided",
        method="asymptotic",
        n=n,
        effects=(
            partial_eta_squared(f, df, confidence=confidence),
            generalized_eta_squared(effect, error, subjects, df, confidence=confidence),
        ),
        notes=tuple(notes),
    )


def levene(groups: Groups, *, center: Literal["median", "mean"] = "median") -> TestResult:
    """Test whether several variances are equal (Brown-Forsythe by default).

    References
    ----------
    .. [1] M. B. Brown, A. B. Forsythe, JASA 69(346), 364-367, 1974.
    """
    if center not in ("median", "mean"):
        raise ValueError(f'`center` must be "median" or "mean", got {center!r}')
    middle = np.median if center == "median" else np.mean
    test = one_way_anova([np.abs(a - middle(a)) for a in arms(groups)])
    return TestResult(
        name="levene", statistic_name="W", statistic=test.statistic, df=test.df,
        p_value=test.p_value, alternative="two-sided", method="asymptotic", n=test.n,
        notes=test.notes,
    )  # fmt: skip


def _sphericity(table: Array) -> tuple[float, float, float | None, float | None]:
    """Return both epsilons, and Mauchly's W with its p (None for two conditions)."""
    from scipy import special

    n, k = table.shape
    covariance = np.cov(table, rowvar=False)
    centred = (
        covariance
        - covariance.mean(axis=0)
        - covariance.mean(axis=1, keepdims=True)
        + covariance.mean()
    )
    values = np.sort(np.linalg.eigvalsh(centred))[1:]
    d = k - 1
    gg = float(values.sum()) ** 2 / (d * float((values**2).sum()))
    gg = min(1.0, max(1 / d, gg))
    hf = min(1.0, (n * d * gg - 2) / (d * (n - 1 - d * gg))) if n - 1 > d * gg else 1.0
    if k == 2 or n <= k or values[0] <= 1e-12 * values[-1]:
        return gg, hf, None, None
    w = math.exp(float(np.log(values).sum()) - d * math.log(float(values.mean())))
    # Box's second-order chi-square approximation, as R's mauchly.test has it.
    rho = 1 - (2 * d * d + d + 2) / (6 * d * (n - 1))
    w2 = (
        (d + 2)
        * (d - 1)
        * (d - 2)
        * (2 * d**3 + 6 * d * d + 3 * k + 2)
        / (288 * ((n - 1) * d * rho) ** 2)
    )
    z = -(n - 1) * rho * math.log(w)
    f = d * (d + 1) / 2 - 1
    first, second = float(special.chdtrc(f, z)), float(special.chdtrc(f + 4, z))
    return gg, hf, w, first + w2 * (second - first)


def _f_test(
    name: str, f: float, df: tuple[float, float], n: int, effects: tuple[Effect, ...]
) -> TestResult:
    from scipy import special

    return TestResult(
        name=name,
        statistic_name="F",
        statistic=f,
        df=df,
        p_value=float(special.fdtrc(df[0], df[1], f)),
        alternative="two-sided",
        method="asymptotic",
        n=n,
        effects=effects,
    )


def _flat(name: str, df: tuple[float, ...], n: int) -> TestResult:
    return undefined(name, "F", df=df, n=n, notes=("no variation within a group",))
