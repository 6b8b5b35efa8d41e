"""Permutation tests of paired differences: their signs, or those of whole clusters."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrangements import check, generator, interval, result
from crucible_bench.arrays import Array, item_means, scores
from crucible_bench.clusters import codes
from crucible_bench.permutation_draws import (
    BLOCK,
    Named,
    Statistic,
    all_sums,
    paired_t,
    signed_sums,
)
from crucible_bench.results import Alternative, TestResult
from crucible_bench.spans import note, span


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
    check(n_resamples, alternative, confidence)
    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    if x.size != y.size:
        raise ValueError(f"`control` and `treatment` must be paired, got {x.size} and {y.size}")
    d = y - x
    with span("permutation_test", n_control=x.size, n_treatment=y.size, n_resamples=n_resamples
              ) as current:  # fmt: skip
        test = _flipped(d, cluster, statistic, alternative, n_resamples, confidence, rng)
        note(current, test=test.name, estimate=test.estimate, p_value=test.p_value)
    return test


def _flipped(
    d: Array,
    cluster: ArrayLike | None,
    statistic: Named | Statistic,
    alternative: Alternative,
    n_resamples: int,
    confidence: float,
    rng: int | np.random.Generator | None,
) -> TestResult:
    estimate = float(d.mean())
    if statistic in ("mean_difference", "studentized"):
        parts = d if cluster is None else _sums_of(d, cluster)
        ways = 2.0 ** min(parts.size, 1_000)
        exact = ways <= n_resamples
        sums = all_sums(parts) if exact else signed_sums(parts, n_resamples, generator(rng, ways))
        test = result(
            "paired_permutation", float(parts.sum()), sums, alternative, d.size, estimate,
            exact=exact,
        )  # fmt: skip
        if cluster is not None:
            return test
        t = paired_t(sums, d)
        se = float(d.std(ddof=1)) / math.sqrt(d.size)
        return replace(test, interval=interval(estimate, se, t, confidence))
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
        chance = generator(rng, 2.0 ** min(n_groups, 1_000))
        found = []
        rows = max(1, BLOCK // d.size)
        for start in range(0, n_resamples, rows):
            size = (min(rows, n_resamples - start), n_groups)
            flips = 1 - 2 * chance.integers(2, size=size)
            found.append(np.asarray(compute(d * flips[:, groups], axis=-1)))
        drawn = np.concatenate(found)
    return result("paired_permutation", observed, drawn, alternative, d.size, estimate, exact=exact)


def _sums_of(d: Array, cluster: ArrayLike) -> Array:
    sums: Array = np.bincount(codes("cluster", cluster, d.size), weights=d).astype(float)
    return sums
