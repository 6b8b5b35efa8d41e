"""Permutation tests: labels of two groups, signs of paired differences, whole clusters."""

import itertools
import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, item_means, scores
from crucible_bench.clusters import codes, separate
from crucible_bench.permutation_draws import (
    BLOCK,
    Named,
    Statistic,
    all_splits,
    all_sums,
    paired_t,
    shuffled,
    signed_sums,
    subset_sums,
    two_sample,
)
from crucible_bench.results import Alternative, Interval, TestResult
from crucible_bench.spans import span

_TOLERANCE = 1e-12


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
    _check(n_resamples, alternative, confidence)
    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    pooled = np.concatenate([x, y])
    with span("permutation_test", n_control=x.size, n_treatment=y.size, n_resamples=n_resamples):
        if cluster is not None:
            if not isinstance(cluster, tuple):
                raise ValueError("`cluster` must be a pair of label sequences, one for each arm")
            return _clustered(x, y, cluster, statistic, alternative, n_resamples, rng)
        compute = two_sample(statistic)
        observed = float(np.asarray(compute(x, y, axis=-1)))
        estimate = float(y.mean() - x.mean())
        se = None
        if statistic == "studentized":
            se = math.sqrt(float(x.var(ddof=1)) / x.size + float(y.var(ddof=1)) / y.size)
        ways = math.comb(pooled.size, x.size) if pooled.size < 400 else math.inf
        if ways <= n_resamples:
            drawn = all_splits(pooled, x.size, compute)
            return _result(
                "permutation", observed, drawn, alternative, pooled.size, estimate,
                exact=True, level=confidence, se=se,
            )  # fmt: skip
        generator = _generator(rng, ways)
        if statistic == "mean_difference" and bool(np.isin(pooled, (0.0, 1.0)).all()):
            ones = int(pooled.sum())
            won = generator.hypergeometric(ones, pooled.size - ones, y.size, size=n_resamples)
            drawn = won / y.size - (ones - won) / x.size
        elif statistic == "mean_difference":
            sums = subset_sums(pooled, y.size, n_resamples, generator)
            drawn = sums / y.size - (pooled.sum() - sums) / x.size
        else:
            drawn = shuffled(pooled, x.size, compute, n_resamples, generator)
        return _result(
            "permutation", observed, drawn, alternative, pooled.size, estimate, exact=False,
            level=confidence, se=se,
        )  # fmt: skip


def paired_permutation(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    statistic: Named | Statistic = "mean_difference",
    alternative: Alternative = "two-sided",
    n_resamples: int = 9_999,
    confidence: float = 0.95,
    rng: int | np.random.Generator | None = None,
) -> TestResult:
    """Test paired differences by flipping their signs, of whole clusters if named.

    Notes
    -----
    The mean and the studentised mean give one p: the sum of squares does not change with signs.
    Signs come as random bytes; a table of the 256 sums of eight differences adds them up.
    """
    _check(n_resamples, alternative, confidence)
    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    if x.size != y.size:
        raise ValueError(f"`control` and `treatment` must be paired, got {x.size} and {y.size}")
    d = y - x
    estimate = float(d.mean())
    with span("permutation_test", n_control=x.size, n_treatment=y.size, n_resamples=n_resamples):
        if statistic in ("mean_difference", "studentized"):
            parts = d if cluster is None else _sums_of(d, cluster)
            ways = 2.0 ** min(parts.size, 1_000)
            exact = ways <= n_resamples
            sums = (
                all_sums(parts) if exact else signed_sums(parts, n_resamples, _generator(rng, ways))
            )
            test = _result(
                "paired_permutation", float(parts.sum()), sums, alternative, d.size, estimate,
                exact=exact,
            )  # fmt: skip
            if cluster is not None:
                return test
            t = paired_t(sums, d)
            se = float(d.std(ddof=1)) / math.sqrt(d.size)
            return replace(test, interval=_interval(estimate, se, t, confidence))
        groups = np.arange(d.size) if cluster is None else codes("cluster", cluster, d.size)
        if isinstance(statistic, str) and statistic != "median_difference":
            raise ValueError(f"`statistic` is not known: {statistic!r}")
        compute: Statistic = np.median if isinstance(statistic, str) else statistic
        n_groups = int(groups.max()) + 1
        observed = float(np.asarray(compute(d, axis=-1)))
        exact = 2.0 ** min(n_groups, 1_000) <= n_resamples
        if exact:
            bits = np.arange(2**n_groups)[:, None] >> np.arange(n_groups) & 1
            drawn = np.asarray(compute(d * (1 - 2 * bits)[:, groups], axis=-1))
        else:
            generator = _generator(rng, 2.0 ** min(n_groups, 1_000))
            found = []
            rows = max(1, BLOCK // d.size)
            for start in range(0, n_resamples, rows):
                size = (min(rows, n_resamples - start), n_groups)
                flips = 1 - 2 * generator.integers(2, size=size)
                found.append(np.asarray(compute(d * flips[:, groups], axis=-1)))
            drawn = np.concatenate(found)
        return _result(
            "paired_permutation", observed, drawn, alternative, d.size, estimate, exact=exact
        )


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
        generator = _generator(rng, ways)
        order = np.tile(np.arange(c), (n_resamples, 1))
        first = generator.permuted(order, axis=1)[:, :n0]
    s0, w0 = sums[first].sum(axis=1), sizes[first].sum(axis=1)
    drawn = (sums.sum() - s0) / (sizes.sum() - w0) - s0 / w0
    observed = float(y.mean() - x.mean())
    n = x.size + y.size
    return _result("permutation", observed, drawn, alternative, n, observed, exact=exact)


def _sums_of(d: Array, cluster: ArrayLike) -> Array:
    sums: Array = np.bincount(codes("cluster", cluster, d.size), weights=d).astype(float)
    return sums


def _result(
    name: str,
    observed: float,
    drawn: Array,
    alternative: Alternative,
    n: int,
    estimate: float,
    *,
    exact: bool,
    level: float = 0.95,
    se: float | None = None,
) -> TestResult:
    finite = np.abs(drawn[np.isfinite(drawn)])
    slack = _TOLERANCE * float(finite.max()) if finite.size else 0.0
    if alternative == "two-sided":
        extreme = np.abs(drawn) >= abs(observed) - slack
        top = float(np.abs(drawn).max())
        floor = int((np.abs(drawn) >= top - slack).sum())
    else:
        sign = 1.0 if alternative == "greater" else -1.0
        extreme = sign * drawn >= sign * observed - slack
        floor = int((sign * drawn >= float((sign * drawn).max()) - slack).sum())
    count, size = int(extreme.sum()), drawn.size
    return TestResult(
        name=name,
        statistic_name="statistic",
        statistic=observed if math.isfinite(observed) else None,
        df=(),
        p_value=count / size if exact else (1 + count) / (1 + size),
        alternative=alternative,
        method="exact" if exact else "permutation",
        n=n,
        estimate=estimate,
        interval=None if se is None else _interval(estimate, se, drawn, level),
        min_p=floor / size if exact else 1 / (1 + size),
        notes=() if math.isfinite(observed) else ("the observed statistic is infinite",),
    )


def _interval(estimate: float, se: float, drawn: Array, level: float) -> Interval | None:
    """Return estimate +- the permutation quantile of abs(t) times se; None where it is infinite."""
    critical = float(np.quantile(np.abs(drawn), level, method="inverted_cdf"))
    if not math.isfinite(critical) or se == 0:
        return None
    half = critical * se
    return Interval(low=estimate - half, high=estimate + half, level=level, method="permutation t")


def _generator(rng: int | np.random.Generator | None, ways: float) -> np.random.Generator:
    if rng is None:
        raise ValueError(
            f"`rng` is required: {ways:.3g} arrangements are more than `n_resamples`, so they are "
            "sampled"
        )
    return np.random.default_rng(rng)


def _check(n_resamples: int, alternative: Alternative, confidence: float) -> None:
    check_confidence(confidence)
    if n_resamples < 1:
        raise ValueError(f"`n_resamples` must be >= 1, got {n_resamples}")
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(
            f'`alternative` must be "two-sided", "greater" or "less", got {alternative!r}'
        )
