"""Permutation tests: the labels of two groups are exchanged; for pairs, their signs are flipped."""

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrangements import check, generator, result
from crucible_bench.arrays import Array, item_means, scores
from crucible_bench.clusters import codes, separate
from crucible_bench.permutation_draws import (
    Named,
    Statistic,
    all_splits,
    shuffled,
    subset_sums,
    two_sample,
)
from crucible_bench.results import Alternative, TestResult
from crucible_bench.sign_flips import paired_permutation as paired_permutation
from crucible_bench.spans import note, span


def permutation_test(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    paired: bool = False,
    cluster: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    statistic: Named | Statistic = "mean_difference",
    alternative: Alternative = "two-sided",
    n_resamples: int = 9_999,
    confidence: float = 0.95,
    rng: int | np.random.Generator | None = None,
) -> TestResult:
    """Test a difference by exchanging labels, or the signs of paired differences.

    Parameters
    ----------
    paired : bool
        Flip signs of treatment - control per item instead of exchanging labels.
    cluster : labels, or a pair of them for independent arms
        Whole clusters are flipped or exchanged.
    statistic : {"mean_difference", "studentized", "median_difference"} or callable
        "studentized" [1]_ holds its level when variances differ. A callable takes control and
        treatment (paired: the differences) and `axis=`, and returns larger numbers for a better
        treatment; it is compared by its absolute value when two-sided.
    n_resamples : int, >= 1
        With no more arrangements than this all are enumerated and p is exact.
    rng : int or numpy.random.Generator
        Needed above that limit.

    Raises
    ------
    ValueError
        If an argument is out of range, or `rng` is missing.

    Notes
    -----
    Sampled: p = (1 + #{as extreme}) / (1 + n_resamples). Comparisons allow 1e-12 of rounding.
    "studentized" gives an interval: difference +- permutation quantile of abs(t) times its standard
    error; so do paired means without clusters.

    References
    ----------
    .. [1] A. Janssen, Statistics & Probability Letters 36(1), 9-21, 1997.
    .. [2] B. Phipson, G. K. Smyth, Statistical Applications in Genetics 9(1):39, 2010.

    Examples
    --------
    >>> test = permutation_test([0.89, 0.87, 0.90, 0.88, 0.91], [0.96, 0.97, 0.94, 0.95, 0.98])
    >>> round(test.p_value * 252)  # 2 of the 252 ways to choose 5 of 10
    2
    """
    if paired:
        if isinstance(cluster, tuple):
            raise ValueError("`cluster` must be one sequence of labels when paired")
        return paired_permutation(
            control,
            treatment,
            cluster=cluster,
            statistic=statistic,
            alternative=alternative,
            n_resamples=n_resamples,
            confidence=confidence,
            rng=rng,
        )
    check(n_resamples, alternative, confidence)
    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    with span("permutation_test", n_control=x.size, n_treatment=y.size, n_resamples=n_resamples
              ) as current:  # fmt: skip
        if cluster is None:
            test = _exchanged(x, y, statistic, alternative, n_resamples, confidence, rng)
        elif isinstance(cluster, tuple):
            test = _clustered(x, y, cluster, statistic, alternative, n_resamples, rng)
        else:
            raise ValueError("`cluster` must be a pair of label sequences, one for each arm")
        note(current, test=test.name, estimate=test.estimate, p_value=test.p_value)
    return test


def _exchanged(
    x: Array,
    y: Array,
    statistic: Named | Statistic,
    alternative: Alternative,
    n_resamples: int,
    confidence: float,
    rng: int | np.random.Generator | None,
) -> TestResult:
    pooled = np.concatenate([x, y])
    compute = two_sample(statistic)
    observed = float(np.asarray(compute(x, y, axis=-1)))
    estimate = float(y.mean() - x.mean())
    se = None
    if statistic == "studentized":
        se = math.sqrt(float(x.var(ddof=1)) / x.size + float(y.var(ddof=1)) / y.size)
    ways = math.comb(pooled.size, x.size) if pooled.size < 400 else math.inf
    if ways <= n_resamples:
        drawn = all_splits(pooled, x.size, compute)
        return result(
            "permutation", observed, drawn, alternative, pooled.size, estimate,
            exact=True, level=confidence, se=se,
        )  # fmt: skip
    chance = generator(rng, ways)
    if statistic == "mean_difference" and bool(np.isin(pooled, (0.0, 1.0)).all()):
        ones = int(pooled.sum())
        won = chance.hypergeometric(ones, pooled.size - ones, y.size, size=n_resamples)
        drawn = won / y.size - (ones - won) / x.size
    elif statistic == "mean_difference":
        sums = subset_sums(pooled, y.size, n_resamples, chance)
        drawn = sums / y.size - (pooled.sum() - sums) / x.size
    else:
        drawn = shuffled(pooled, x.size, compute, n_resamples, chance)
    return result(
        "permutation", observed, drawn, alternative, pooled.size, estimate, exact=False,
        level=confidence, se=se,
    )  # fmt: skip


def _clustered(
    x: Array,
    y: Array,
    cluster: tuple[ArrayLike, ArrayLike],
    statistic: Named | Statistic,
    alternative: Alternative,
    n_resamples: int,
    rng: int | np.random.Generator | None,
) -> TestResult:
    if statistic != "mean_difference":
        raise ValueError(
            '`statistic` must be "mean_difference" with independent clusters, got '
            f"{statistic if isinstance(statistic, str) else 'a callable'!r}"
        )
    separate(*cluster)
    g0, g1 = codes("cluster[0]", cluster[0], x.size), codes("cluster[1]", cluster[1], y.size)
    sums = np.concatenate([np.bincount(g0, x), np.bincount(g1, y)])
    sizes = np.concatenate([np.bincount(g0), np.bincount(g1)]).astype(float)
    n0, c = int(g0.max()) + 1, sums.size
    ways = math.comb(c, n0) if c < 400 else math.inf
    exact = ways <= n_resamples
    if exact:
        first = np.array(list(itertools.combinations(range(c), n0)))
    else:
        chance = generator(rng, ways)
        order = np.tile(np.arange(c), (n_resamples, 1))
        first = chance.permuted(order, axis=1)[:, :n0]
    s0, w0 = sums[first].sum(axis=1), sizes[first].sum(axis=1)
    drawn = (sums.sum() - s0) / (sizes.sum() - w0) - s0 / w0
    observed = float(y.mean() - x.mean())
    n = x.size + y.size
    return result("permutation", observed, drawn, alternative, n, observed, exact=exact)
