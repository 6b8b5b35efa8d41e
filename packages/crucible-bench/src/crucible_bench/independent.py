"""Two groups of different items, or of users: an A/B test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench import clusters, effects, means, permutations, ranks, tables
from crucible_bench.arms import two_arms
from crucible_bench.arrays import Array, is_binary
from crucible_bench.conclusion import Question, conclude, repeated
from crucible_bench.results import Alternative, Comparison, Effect, Interval, TestResult
from crucible_bench.selection import Estimand, IndependentTest, choose
from crucible_bench.verdicts import as_seed, check_question


def compare(
    control: ArrayLike | Mapping[str, float],
    treatment: ArrayLike | Mapping[str, float],
    *,
    test: IndependentTest = "default",
    estimand: Estimand = "mean",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
    sesoi: float | None = None,
    higher_is_better: bool = True,
    cluster: tuple[ArrayLike, ArrayLike] | None = None,
    ids: tuple[Sequence[str], Sequence[str]] | None = None,
    labels: tuple[str, str] = ("control", "treatment"),
    nan: Literal["raise", "omit"] = "raise",
    robustness: bool = True,
    n_resamples: int = 9_999,
    rng: int | np.random.Generator | None = None,
) -> Comparison:
    """Compare two independent groups.

    Parameters
    ----------
    control, treatment : (n,) array, (n, repeats) array, or mapping of item id to score
        The difference is treatment - control; repeats are averaged within their item. The keys of
        mappings are `ids`.
    test : str
        "default" is Welch's t, whatever the variances, and for 0/1 scores the score test. "auto"
        replaces t by the permutation distribution where n is small or skewed. Or "welch_t",
        "student_t", "yuen_t", "mann_whitney", "brunner_munzel", "permutation" (of the studentised
        difference), "two_proportions", "fisher_exact".
    estimand : {"mean", "dominance"}
        Dominance is P(treatment > control) + P(equal) / 2; `difference` is then that minus 1/2.
    cluster : pair of label sequences, optional
        Scores that belong together, such as users of one account. A cluster lies in one arm.
        Mappings of item id to label where scores are mappings.
    ids : pair of sequences of str, optional
        Items of each arm; an item in both arms raises, since the design is then paired.
    robustness : bool
        Add other tests of the same question.
    n_resamples, rng
        For permutations; `rng` is needed above the number that can be enumerated.
    alternative, confidence, sesoi, higher_is_better, labels, nan
        As for `compare_paired`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If the scores or an argument cannot be used.
    PseudoReplicationError
        If an id repeats without clusters, or an id or a cluster stands in both arms.

    Notes
    -----
    No test of assumptions decides which test is used: such gates raise the type-I error.
    `difference` is of what the test is about: means, trimmed means (Yuen), the Hodges-Lehmann shift
    (Mann-Whitney).

    References
    ----------
    .. [1] B. L. Welch, Biometrika 34(1-2), 28-35, 1947.
    .. [2] I. Campbell, Statistics in Medicine 26(19), 3661-3675, 2007.
    .. [3] O. Miettinen, M. Nurminen, Statistics in Medicine 4(2), 213-226, 1985.
    .. [4] J. E. Pustejovsky, E. Tipton, JBES 36(4), 672-683, 2018 (CR2).

    Examples
    --------
    >>> result = compare([0.89, 0.87, 0.90, 0.88, 0.91], [0.96, 0.97, 0.94, 0.95, 0.98])
    >>> print(result.apa())
    t(8) = 7.00, p < .001, d = 4.43, 95% CI [1.93, 6.86]
    """
    check_question(confidence, sesoi, alternative)
    arms = two_arms(control, treatment, cluster=cluster, ids=ids, nan=nan)
    x, y, groups = arms.x, arms.y, arms.groups
    binary = is_binary(x, y)
    selection = choose(
        test, estimand, (x, y), paired=False, binary=binary, clustered=groups is not None
    )
    seed = as_seed(rng)
    question = Question(
        design="independent", x=x, y=y, groups=groups, binary=binary, estimand=estimand,
        selection=selection, alternative=alternative, confidence=confidence, sesoi=sesoi,
        higher_is_better=higher_is_better, labels=labels, robustness=robustness,
    )  # fmt: skip
    return conclude(
        question,
        lambda level: _run(
            selection.test, x, y, groups, estimand, alternative, level, n_resamples, seed
        ),
        effects=lambda main: _effects(x, y, main, binary, estimand, confidence),
        beside=lambda: _beside(
            x, y, groups, selection.test, binary, alternative, n_resamples, seed
        ),
        components=repeated(*arms.raw, groups),
        counts=_counts(x, y) if binary else {},
        n_missing=arms.n_missing,
    )


def _run(
    test: str,
    x: Array,
    y: Array,
    groups: tuple[Array, Array] | None,
    estimand: Estimand,
    alternative: Alternative,
    level: float,
    n_resamples: int,
    seed: int | None,
) -> TestResult:
    counts = (int(x.sum()), x.size), (int(y.sum()), y.size)
    if test == "cluster_t":
        assert groups is not None  # the selection looked
        return clusters.cluster_welch(
            x, y, cluster=groups, alternative=alternative, confidence=level
        )
    if test == "permutation":
        return permutations.permutation_test(
            x, y, cluster=groups, alternative=alternative, n_resamples=n_resamples,
            statistic="mean_difference" if groups is not None else "studentized",
            confidence=level, rng=seed,
        )  # fmt: skip
    if test == "two_proportions":
        return tables.two_proportions(*counts, alternative=alternative, confidence=level)
    if test == "fisher_exact":
        return tables.fisher_exact(*counts, alternative=alternative, confidence=level)
    functions = {
        "welch_t": means.welch_t,
        "student_t": means.student_t,
        "yuen_t": means.yuen_t,
        "mann_whitney": ranks.mann_whitney,
        "brunner_munzel": ranks.brunner_munzel,
    }
    found = functions[test](x, y, alternative=alternative, confidence=level)
    if estimand == "dominance" or test == "brunner_munzel":
        return _beyond_chance(found)
    return found


def _beyond_chance(test: TestResult) -> TestResult:
    """Restate a rank test as P(T > C) + P(equal) / 2 - 1/2, the difference of dominance."""
    found = next((e for e in test.effects if e.name == "prob_superiority"), None)
    if found is None or found.value is None:
        return test
    interval = found.interval
    if interval is not None and interval.low is not None and interval.high is not None:
        interval = Interval(
            low=interval.low - 0.5, high=interval.high - 0.5, level=interval.level,
            method=interval.method,
        )  # fmt: skip
    return replace(test, estimate=found.value - 0.5, interval=interval)


def _effects(
    x: Array, y: Array, main: TestResult, binary: bool, estimand: Estimand, confidence: float
) -> tuple[Effect, ...]:
    if estimand == "dominance" or main.name in ("mann_whitney", "brunner_munzel"):
        return (
            effects.prob_superiority(x, y, confidence=confidence),
            effects.rank_biserial(x, y, confidence=confidence),
        )
    if binary:
        counts = (int(x.sum()), x.size), (int(y.sum()), y.size)
        difference = float(y.mean() - x.mean())
        return (
            effects.risk_difference(difference, main.interval),
            effects.risk_ratio(*counts, confidence=confidence),
            effects.odds_ratio(*counts, confidence=confidence),
            effects.cohens_h(*counts, confidence=confidence),
        )
    return (
        effects.cohens_d(x, y, confidence=confidence),
        effects.hedges_g(x, y, confidence=confidence),
        effects.cohens_d(x, y, standardizer="control", confidence=confidence),
        effects.prob_superiority(x, y, confidence=confidence),
    )


def _beside(
    x: Array,
    y: Array,
    groups: tuple[Array, Array] | None,
    used: str,
    binary: bool,
    alternative: Alternative,
    n_resamples: int,
    seed: int | None,
) -> tuple[TestResult, ...]:
    if groups is not None:
        if used != "cluster_t" or not _enumerable(groups, n_resamples, seed):
            return ()
        test = permutations.permutation_test(
            x, y, cluster=groups, alternative=alternative, n_resamples=n_resamples, rng=seed
        )
        return (replace(test, name="cluster_permutation"),)
    if binary:
        counts = (int(x.sum()), x.size), (int(y.sum()), y.size)
        found = [tables.fisher_exact(*counts, alternative=alternative)]
    else:
        found = [ranks.u_test(x, y, method="auto", alternative=alternative)]
        if min(x.size, y.size) >= 5:
            found.append(means.yuen_t(x, y, alternative=alternative))
    return tuple(test for test in found if test.name != used)


def _enumerable(groups: tuple[Array, Array], n_resamples: int, seed: int | None) -> bool:
    """Say whether cluster labels can be exchanged: few clusters, all ways listed or a seed."""
    counts = [np.unique(g).size for g in groups]
    if sum(counts) > 40:
        return False
    return seed is not None or math.comb(sum(counts), counts[0]) <= n_resamples


def _counts(x: Array, y: Array) -> dict[str, float]:
    return {"control_successes": float(x.sum()), "treatment_successes": float(y.sum())}
