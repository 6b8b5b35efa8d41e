"""Tests on ranks of several groups, independent or on the same items."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.midranks import midranks, tie_sum
from crucible_bench.rank_effects import kendalls_w, rank_epsilon_squared
from crucible_bench.results import TestResult, undefined


def kruskal_wallis(
    groups: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    *,
    confidence: float = 0.95,
    n_resamples: int = 2_000,
    rng: int | np.random.Generator | None = None,
) -> TestResult:
    """Test whether several independent groups have one distribution, by ranks, ties corrected.

    Parameters
    ----------
    groups : groups, each (items,) or (items, repeats)
    confidence, n_resamples, rng
        Of the bootstrap interval of the effect size, which exists where `rng` is given; see
        `effects.rank_epsilon_squared`.

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
        return undefined("kruskal_wallis", "H", n=n, notes=("no variation",))
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
        effects=(
            rank_epsilon_squared(samples, confidence=confidence, n_resamples=n_resamples, rng=rng),
        ),
    )


def friedman(
    groups: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    *,
    confidence: float = 0.95,
    n_resamples: int = 2_000,
    rng: int | np.random.Generator | None = None,
) -> TestResult:
    """Test whether several conditions on the same items differ, by ranks within items.

    Parameters
    ----------
    groups : conditions on the same items in the same order
    confidence, n_resamples, rng
        Of the bootstrap interval of the effect size, which exists where `rng` is given; see
        `effects.kendalls_w`.

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
        return undefined("friedman", "chi2", n=n, notes=("no variation",))
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
        effects=(kendalls_w(groups, confidence=confidence, n_resamples=n_resamples, rng=rng),),
        notes=notes,
    )


def dunn(
    groups: Mapping[str, ArrayLike],
    *,
    correction: Literal[
        "bonferroni", "holm", "hochberg", "benjamini_hochberg", "benjamini_yekutieli", "none"
    ] = "holm",
) -> dict[tuple[str, str], tuple[TestResult, float | None]]:
    """Compare every two of several independent groups by the ranks of all.

    Returns
    -------
    dict of (control, treatment) to (test with its raw p-value, corrected p-value)
        None where all scores are equal.

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
    tests: dict[tuple[str, str], TestResult] = {}
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            if variance <= 0:
                tests[names[i], names[j]] = undefined(
                    "dunn", "z", n=samples[i].size + samples[j].size, notes=("no variation",)
                )
                continue
            se = math.sqrt(variance * (1 / samples[i].size + 1 / samples[j].size))
            z = (means[j] - means[i]) / se
            tests[names[i], names[j]] = TestResult(
                name="dunn", statistic_name="z", statistic=z, df=(),
                p_value=float(2 * special.ndtr(-abs(z))), alternative="two-sided",
                method="asymptotic", n=samples[i].size + samples[j].size,
                estimate=means[j] - means[i],
            )  # fmt: skip
    raw = [t.p_value for t in tests.values() if t.p_value is not None]
    if not raw:
        return {key: (test, None) for key, test in tests.items()}
    adjusted = correct(raw, method=correction, family="pairs of groups").adjusted
    return {key: (test, p) for (key, test), p in zip(tests.items(), adjusted, strict=True)}
