"""Which of several groups differ: simultaneous comparisons of means."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.anova import arms
from crucible_bench.arrays import Array, check_confidence
from crucible_bench.results import Interval, TestResult, undefined

Pairs = dict[tuple[str, str], TestResult]


def tukey_hsd(groups: Mapping[str, ArrayLike], *, confidence: float = 0.95) -> Pairs:
    """Compare every two of several independent means, variances taken as equal.

    Returns
    -------
    dict of (control, treatment) to TestResult
        p-values and intervals hold for all pairs together.

    References
    ----------
    .. [1] J. W. Tukey, The Problem of Multiple Comparisons, 1953; C. Y. Kramer, Biometrics 12(3),
       1956, for unequal n.
    """
    names, samples, k = _named(groups, confidence)
    n = sum(a.size for a in samples)
    within = sum(float(((a - a.mean()) ** 2).sum()) for a in samples) / (n - k)
    return _range("tukey_hsd", names, samples, confidence, lambda i, j: (
        math.sqrt(within * (1 / samples[i].size + 1 / samples[j].size)), float(n - k)))  # fmt: skip


def games_howell(groups: Mapping[str, ArrayLike], *, confidence: float = 0.95) -> Pairs:
    """Compare every two of several independent means, whatever the variances.

    References
    ----------
    .. [1] P. A. Games, J. F. Howell, Journal of Educational Statistics 1(2), 113-125, 1976.
    """
    names, samples, _ = _named(groups, confidence)
    parts = [float(a.var(ddof=1)) / a.size for a in samples]

    def spread(i: int, j: int) -> tuple[float, float]:
        v, w = parts[i], parts[j]
        weight = v**2 / (samples[i].size - 1) + w**2 / (samples[j].size - 1)
        df = (v + w) ** 2 / weight if weight > 0 else math.nan
        return math.sqrt(v + w), df

    return _range("games_howell", names, samples, confidence, spread)


def dunnett(groups: Mapping[str, ArrayLike], *, control: str, confidence: float = 0.95) -> Pairs:
    """Compare several independent means with that of one control, variances taken as equal.

    Notes
    -----
    p and interval hold for all comparisons together. The multivariate t probability is a double
    integral (the correlations have product form), by Gauss quadrature; no random numbers.

    References
    ----------
    .. [1] C. W. Dunnett, JASA 50(272), 1096-1121, 1955.
    """
    from scipy import optimize

    names, samples, k = _named(groups, confidence)
    if control not in names:
        raise ValueError(f"`control` must be one of {', '.join(names)}, got {control!r}")
    base = samples[names.index(control)]
    n = sum(a.size for a in samples)
    df = n - k
    within = sum(float(((a - a.mean()) ** 2).sum()) for a in samples) / df
    others = [(name, a) for name, a in zip(names, samples, strict=True) if name != control]
    loads = np.array([math.sqrt(a.size / (a.size + base.size)) for _, a in others])
    if not within > 0:
        return {
            (control, name): _flat("dunnett", "t", float(a.mean() - base.mean()), base, a)
            for name, a in others
        }

    def above(t: float) -> float:
        return 1 - _inside(t, loads, df)

    critical = float(optimize.brentq(lambda t: above(t) - (1 - confidence), 0.1, 50.0, xtol=1e-10))
    found: Pairs = {}
    for name, a in others:
        se = math.sqrt(within * (1 / a.size + 1 / base.size))
        estimate = float(a.mean() - base.mean())
        found[control, name] = _pair(
            "dunnett", "t", estimate, estimate / se, float(df), above(abs(estimate) / se),
            critical * se, a.size + base.size, confidence,
        )  # fmt: skip
    return found


def _inside(t: float, loads: Array, df: int) -> float:
    """Return P(all |T_i| <= t), T_i = (b_i Z_0 + sqrt(1 - b_i^2) Z_i) / S."""
    from scipy import special

    # Z_0 and the spread S, which is the chi quantile of another normal V, over 8.5 SDs each.
    nodes, weights = np.polynomial.legendre.leggauss(120)
    z = 8.5 * nodes
    density = weights * 8.5 * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    s = np.sqrt(special.chdtri(df, special.ndtr(-z)) / df)
    product = np.ones((s.size, z.size))
    for b in loads:
        root = math.sqrt(1 - b * b)
        product *= special.ndtr((t * s[:, None] - b * z) / root) - special.ndtr(
            (-t * s[:, None] - b * z) / root
        )
    return float(density @ product @ density)


def _named(
    groups: Mapping[str, ArrayLike], confidence: float
) -> tuple[tuple[str, ...], list[Array], int]:
    check_confidence(confidence)
    samples = arms(groups)
    return tuple(groups), samples, len(samples)


def _range(
    name: Literal["tukey_hsd", "games_howell"],
    names: tuple[str, ...],
    samples: list[Array],
    confidence: float,
    spread: Callable[[int, int], tuple[float, float]],
) -> Pairs:
    from scipy.stats import studentized_range

    k = len(names)
    critical: dict[float, float] = {}
    found: Pairs = {}
    for i in range(k):
        for j in range(i + 1, k):
            estimate = float(samples[j].mean() - samples[i].mean())
            se, df = spread(i, j)
            if not se > 0:
                found[names[i], names[j]] = _flat(name, "q", estimate, samples[i], samples[j])
                continue
            if df not in critical:
                critical[df] = float(studentized_range.ppf(confidence, k, df))
            q = abs(estimate) / se * math.sqrt(2)
            found[names[i], names[j]] = _pair(
                name, "q", estimate, q, df, float(studentized_range.sf(q, k, df)),
                critical[df] / math.sqrt(2) * se, samples[i].size + samples[j].size, confidence,
            )  # fmt: skip
    return found


def _flat(name: str, statistic_name: str, estimate: float, x: Array, y: Array) -> TestResult:
    note = "no variation" if estimate == 0 else "differences without variation"
    return undefined(name, statistic_name, n=x.size + y.size, estimate=estimate, notes=(note,))


def _pair(
    name: str,
    statistic_name: str,
    estimate: float,
    statistic: float,
    df: float,
    p: float,
    half: float,
    n: int,
    confidence: float,
) -> TestResult:
    return TestResult(
        name=name, statistic_name=statistic_name, statistic=statistic, df=(df,),
        p_value=min(1.0, max(0.0, p)), alternative="two-sided", method="asymptotic", n=n,
        estimate=estimate,
        interval=Interval(low=estimate - half, high=estimate + half, level=confidence, method=name),
    )  # fmt: skip
