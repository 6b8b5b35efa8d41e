"""Two groups of different items, or of users: an A/B test."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench import effects, means, tables
from crucible_bench.arrays import Array, check_confidence, is_binary, item_means, scores
from crucible_bench.errors import PseudoReplicationError
from crucible_bench.results import Alternative, Comparison, Effect, TestResult
from crucible_bench.verdicts import decide, describe_arm


def compare(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    test: Literal["default", "welch_t", "two_proportions"] = "default",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
    sesoi: float | None = None,
    higher_is_better: bool = True,
    ids: tuple[Sequence[str], Sequence[str]] | None = None,
    labels: tuple[str, str] = ("control", "treatment"),
    nan: Literal["raise", "omit"] = "raise",
) -> Comparison:
    """Compare two independent groups.

    Parameters
    ----------
    control, treatment : (n,) array or (n, repeats) array
        The difference is treatment - control; repeats are averaged within their item.
    test : {"default", "welch_t", "two_proportions"}
        The default is Welch's t, whatever the variances, and for 0/1 scores the score test.
    alternative, confidence, sesoi, higher_is_better, labels, nan
        As for `compare_paired`.
    ids : pair of sequences of str, optional
        Items of each arm; an item in both arms raises, since the design is then paired.

    Raises
    ------
    ValueError
        If the scores or an argument cannot be used.
    PseudoReplicationError
        If an id repeats, or stands in both arms.

    Notes
    -----
    No test of assumptions decides which test is used: such gates raise the type-I error.

    References
    ----------
    .. [1] B. L. Welch, Biometrika 34(1-2), 28-35, 1947.
    .. [2] I. Campbell, Statistics in Medicine 26(19), 3661-3675, 2007.
    .. [3] O. Miettinen, M. Nurminen, Statistics in Medicine 4(2), 213-226, 1985.

    Examples
    --------
    >>> result = compare([0.89, 0.87, 0.90, 0.88, 0.91], [0.96, 0.97, 0.94, 0.95, 0.98])
    >>> print(result.apa())
    t(8) = 7.00, p < .001, d = 4.43, difference = 0.070, 95 % CI [0.047, 0.093], n = 5 and 5
    """
    check_confidence(confidence)
    if sesoi is not None and not sesoi > 0:
        raise ValueError(f"`sesoi` must be > 0, got {sesoi}")
    if test not in ("default", "welch_t", "two_proportions"):
        raise ValueError(f"`test` is not a test of independent groups: {test!r}")
    _check_ids(ids)
    x = item_means(scores("control", control, nan=nan))
    y = item_means(scores("treatment", treatment, nan=nan))
    missing = int(np.isnan(x).sum()), int(np.isnan(y).sum())
    x, y = scores("control", x[~np.isnan(x)]), scores("treatment", y[~np.isnan(y)])
    binary = is_binary(x, y)
    if test == "two_proportions" and not binary:
        raise ValueError("`test` 'two_proportions' needs scores of 0 and 1")
    chosen = test if test != "default" else "two_proportions" if binary else "welch_t"

    def run(level: float) -> TestResult:
        if chosen == "welch_t":
            return means.welch_t(x, y, alternative=alternative, confidence=level)
        return tables.two_proportions(
            (int(x.sum()), x.size),
            (int(y.sum()), y.size),
            alternative=alternative,
            confidence=level,
        )

    main = run(confidence)
    if chosen == "welch_t":
        effect = effects.cohens_d(x, y, confidence=confidence)
        sizes: tuple[Effect, ...] = (effect, effects.hedges_g(x, y, confidence=confidence))
    else:
        effect = effects.risk_difference(float(y.mean() - x.mean()), main.interval)
        sizes = (effect,)
    verdict = None
    if sesoi is not None and main.interval is not None:
        wide = run(1 - 2 * (1 - confidence)).interval
        assert wide is not None  # the same data gave an interval a moment ago
        verdict = decide(main.interval, wide, sesoi=sesoi, higher_is_better=higher_is_better)
    why = "scores are 0 or 1" if binary else "scores are not only 0 and 1"
    return Comparison(
        design="independent",
        outcome="binary" if binary else "continuous",
        control=describe_arm(labels[0], x, n_missing=missing[0]),
        treatment=describe_arm(labels[1], y, n_missing=missing[1]),
        difference=float(y.mean() - x.mean()),
        confidence_interval=main.interval,
        test=chosen,
        statistic_name=main.statistic_name,
        statistic=main.statistic,
        df=main.df,
        p_value=main.p_value,
        alternative=alternative,
        alpha=1 - confidence,
        effect_size=effect,
        effect_sizes={e.name: e for e in sizes},
        reasons=(f"independent groups and {why}: {chosen}",),
        robustness=_mann_whitney(x, y, alternative),
        verdict=verdict,
        warnings=main.notes,
    )


def _check_ids(ids: tuple[Sequence[str], Sequence[str]] | None) -> None:
    if ids is None:
        return
    for arm in ids:
        repeated = tuple(sorted({i for i in arm if list(arm).count(i) > 1}))
        if repeated:
            raise PseudoReplicationError(repeated, "put repeats into one row (items x repeats)")
    shared = tuple(sorted(set(ids[0]) & set(ids[1])))
    if shared:
        raise PseudoReplicationError(shared, "they are in both arms: use compare_paired")


def _mann_whitney(x: Array, y: Array, alternative: Alternative) -> tuple[TestResult, ...]:
    from scipy.stats import mannwhitneyu

    result = mannwhitneyu(y, x, alternative=alternative)
    return (
        TestResult(
            name="mann_whitney",
            statistic_name="U",
            statistic=float(result.statistic),
            df=(),
            p_value=float(result.pvalue),
            alternative=alternative,
            method="asymptotic",
            n=x.size + y.size,
        ),
    )
