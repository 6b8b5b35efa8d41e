"""Two systems on the same items."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench import clusters, effects, means, permutations, ranks, tables
from crucible_bench.arrays import Array, is_binary, item_means, pair
from crucible_bench.conclusion import Question, conclude, repeated
from crucible_bench.proportion_intervals import proportion_interval
from crucible_bench.results import Alternative, Comparison, Effect, Selection, TestResult
from crucible_bench.selection import Estimand, PairedTest, choose
from crucible_bench.verdicts import as_seed, check_question


def compare_paired(
    control: ArrayLike | Mapping[str, float],
    treatment: ArrayLike | Mapping[str, float],
    *,
    test: PairedTest = "default",
    estimand: Estimand = "mean",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
    sesoi: float | None = None,
    higher_is_better: bool = True,
    cluster: ArrayLike | Mapping[str, object] | None = None,
    ids: Sequence[str] | None = None,
    labels: tuple[str, str] = ("control", "treatment"),
    missing: Literal["raise", "drop"] = "raise",
    nan: Literal["raise", "omit"] = "raise",
    robustness: bool = True,
    n_resamples: int = 9_999,
    rng: int | np.random.Generator | None = None,
) -> Comparison:
    """Compare two systems that answered the same items.

    Parameters
    ----------
    control, treatment : (items,) array, (items, repeats) array, or mapping of item id to score
        The difference is treatment - control. Repeats are averaged within their item, NaN marks a
        missing one; they are never counted as independent observations.
    test : str
        "default" is McNemar's mid-p test for 0/1 scores and the paired t test otherwise, over
        clusters if they are named. "auto" replaces t by the sign-flip distribution where n is small
        or skewed. Or "paired_t", "wilcoxon", "permutation", "mcnemar_midp", "mcnemar_exact",
        "mcnemar_asymptotic".
    estimand : {"mean", "dominance"}
        Dominance compares signed ranks; `difference` is then the pseudo-median.
    alternative : {"two-sided", "greater", "less"}
        About treatment - control. The interval is two-sided throughout.
    confidence : float, in (0, 1)
    sesoi : float, > 0, optional
        The smallest difference that matters, in units of the score; gives a verdict.
    higher_is_better : bool
        The direction of the verdict.
    cluster : one label per item, optional
        Items that belong together: questions on one text, problems of one author, repeats in long
        form. A mapping of item id to label where scores are mappings.
    ids : sequence of str, optional
        One id per item; a repeated id raises unless clusters are named.
    missing : {"raise", "drop"}
        What to do with items that only one mapping has.
    nan : {"raise", "omit"}
        "omit" leaves out pairs with a NaN and counts them in `n_dropped`.
    robustness : bool
        Add other tests of the same question.
    n_resamples, rng
        For sign flips; `rng` is needed above the number that can be enumerated.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If the scores or an argument cannot be used.
    PseudoReplicationError
        If `ids` repeat.
    UnmatchedPairsError
        If mappings have different items and `missing` is "raise".

    Notes
    -----
    0/1 scores: McNemar's mid-p test [1]_ with Tango's score interval [2]_; the exact p-value and
    the paired t test stand beside it. Where mid-p and interval disagree about zero, a warning gives
    both numbers. Other scores: paired t over items, with d_z; Wilcoxon's test beside it. Clusters:
    t test with the CR2 variance and Satterthwaite's degrees of freedom [3]_, effect sizes without
    intervals, since those would assume independent items.

    References
    ----------
    .. [1] M. W. Fagerland, S. Lydersen, P. Laake, BMC Med Res Methodol 13:91, 2013.
    .. [2] T. Tango, Statistics in Medicine 17(8), 891-908, 1998.
    .. [3] R. M. Bell, D. F. McCaffrey, Survey Methodology 28(2), 169-181, 2002.

    Examples
    --------
    >>> a = [1] * 30 + [1] * 6 + [0] * 14 + [0] * 10
    >>> b = [1] * 30 + [0] * 6 + [1] * 14 + [0] * 10
    >>> print(compare_paired(a, b).apa())
    McNemar mid-p = .078, difference = 0.133, 95 % CI [-0.014, 0.278], n = 60 pairs
    """
    check_question(confidence, sesoi, alternative)
    a, b, groups, dropped = pair(
        control, treatment, ids=ids, cluster=cluster, missing=missing, nan=nan
    )
    x, y = item_means(a), item_means(b)
    binary = is_binary(x, y)
    selection = choose(
        test, estimand, (y - x,), paired=True, binary=binary, clustered=groups is not None
    )
    if a.ndim == 2:
        repeats = f"{a.shape[1]} repeats were averaged within each item"
        selection = replace(selection, reasons=(repeats, *selection.reasons))
    seed = as_seed(rng)
    question = Question(
        design="paired", x=x, y=y, groups=None if groups is None else (groups, groups),
        binary=binary, estimand=estimand, selection=selection, alternative=alternative,
        confidence=confidence, sesoi=sesoi, higher_is_better=higher_is_better, labels=labels,
        robustness=robustness,
    )  # fmt: skip
    d = y - x
    return conclude(
        question,
        lambda level: _run(selection.test, x, y, groups, alternative, level, n_resamples, seed),
        effects=lambda main: _effects(x, y, main, binary, confidence),
        beside=lambda: _beside(x, y, groups, selection, binary, alternative, n_resamples, seed),
        components=repeated(a, b, None) if groups is None else repeated(d, d, (groups, groups)),
        counts=_counts(x, y) if binary else {},
        n_dropped=dropped,
    )


def _run(
    test: str,
    x: Array,
    y: Array,
    groups: NDArray[Any] | None,
    alternative: Alternative,
    level: float,
    n_resamples: int,
    seed: int | None,
) -> TestResult:
    if test == "cluster_t":
        assert groups is not None  # the selection looked
        return clusters.cluster_t(y - x, groups, alternative=alternative, confidence=level)
    if test == "permutation":
        return permutations.paired_permutation(
            x, y, cluster=groups, alternative=alternative, n_resamples=n_resamples,
            confidence=level, rng=seed,
        )  # fmt: skip
    if test == "paired_t":
        return means.paired_t(x, y, alternative=alternative, confidence=level)
    if test == "wilcoxon":
        return ranks.wilcoxon(x, y, alternative=alternative, confidence=level)
    kinds: dict[str, Literal["mid-p", "exact", "asymptotic"]] = {
        "mcnemar_midp": "mid-p",
        "mcnemar_exact": "exact",
        "mcnemar_asymptotic": "asymptotic",
    }
    return _mcnemar(x, y, kinds[test], alternative, level)


def _mcnemar(
    x: Array,
    y: Array,
    kind: Literal["mid-p", "exact", "asymptotic"],
    alternative: Alternative,
    level: float,
) -> TestResult:
    b, c = int(((x == 1) & (y == 0)).sum()), int(((x == 0) & (y == 1)).sum())
    return tables.mcnemar(b, c, pairs=x.size, kind=kind, alternative=alternative, confidence=level)


def _effects(
    x: Array, y: Array, main: TestResult, binary: bool, confidence: float
) -> tuple[Effect, ...]:
    if binary:
        counts = _counts(x, y)
        b, c = int(counts["control_only"]), int(counts["treatment_only"])
        return (
            effects.risk_difference((c - b) / x.size, main.interval),
            effects.odds_ratio_paired(b, c, confidence=confidence),
            Effect(
                name="discordant_share",
                value=(b + c) / x.size,
                interval=proportion_interval(b + c, x.size, confidence=confidence),
            ),
        )
    found = (
        effects.d_z(y - x, confidence=confidence),
        effects.d_av(x, y, confidence=confidence),
        effects.matched_rank_biserial(y - x, confidence=confidence),
    )
    return found[::-1] if main.name == "wilcoxon" else found


def _beside(
    x: Array,
    y: Array,
    groups: NDArray[Any] | None,
    selection: Selection,
    binary: bool,
    alternative: Alternative,
    n_resamples: int,
    seed: int | None,
) -> tuple[TestResult, ...]:
    def flips(cluster: NDArray[Any] | None, most: int) -> TestResult:
        return permutations.paired_permutation(
            x, y, cluster=cluster, alternative=alternative, n_resamples=most, rng=seed
        )

    if groups is not None:
        count = np.unique(groups).size
        if (
            selection.test != "cluster_t"
            or count > 40
            or (2.0**count > n_resamples and seed is None)
        ):
            return ()
        return (replace(flips(groups, n_resamples), name="cluster_sign_flips"),)
    if binary:
        kind: Literal["mid-p", "exact"] = "mid-p" if selection.test == "mcnemar_exact" else "exact"
        other = _mcnemar(x, y, kind, alternative, 0.95)
        return other, means.paired_t(x, y, alternative=alternative)
    found = []
    if np.count_nonzero(y - x):
        found.append(ranks.signed_rank_test(y - x, alternative=alternative))
        if 2 ** min(x.size, 60) <= 100_000:
            found.append(flips(None, 100_000))
    used = {"permutation": "paired_permutation"}.get(selection.test, selection.test)
    return tuple(test for test in found if test.name != used)


def _counts(x: Array, y: Array) -> dict[str, float]:
    b, c = float(((x == 1) & (y == 0)).sum()), float(((x == 0) & (y == 1)).sum())
    return {
        "both": float(((x == 1) & (y == 1)).sum()),
        "control_only": b,
        "treatment_only": c,
        "neither": float(((x == 0) & (y == 0)).sum()),
        "discordant": b + c,
    }
