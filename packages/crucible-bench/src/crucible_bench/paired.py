"""Two systems on the same items."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench import effects, means, tables
from crucible_bench.arrays import Array, check_confidence, is_binary, item_means, pair
from crucible_bench.results import Alternative, Comparison, Effect, TestResult
from crucible_bench.verdicts import decide, describe_arm, paired_icc

Test = Literal["default", "paired_t", "mcnemar_midp", "mcnemar_exact"]


def compare_paired(
    control: ArrayLike | Mapping[str, float],
    treatment: ArrayLike | Mapping[str, float],
    *,
    test: Test = "default",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
    sesoi: float | None = None,
    higher_is_better: bool = True,
    ids: Sequence[str] | None = None,
    labels: tuple[str, str] = ("control", "treatment"),
    missing: Literal["raise", "drop"] = "raise",
    nan: Literal["raise", "omit"] = "raise",
) -> Comparison:
    """Compare two systems that answered the same items.

    Parameters
    ----------
    control, treatment : (items,) array, (items, repeats) array, or mapping of item id to score
        The difference is treatment - control. Repeats are averaged within their item, NaN marks a
        missing one; they are never counted as independent observations.
    test : {"default", "paired_t", "mcnemar_midp", "mcnemar_exact"}
        The default is McNemar's mid-p test for 0/1 scores and the paired t test otherwise.
    alternative : {"two-sided", "greater", "less"}
        About treatment - control. The interval is two-sided throughout.
    confidence : float, in (0, 1)
    sesoi : float, > 0, optional
        The smallest difference that matters, in units of the score; gives a verdict.
    higher_is_better : bool
        The direction of the verdict.
    ids : sequence of str, optional
        One id per item; a repeated id raises.
    missing : {"raise", "drop"}
        What to do with items that only one mapping has.
    nan : {"raise", "omit"}

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
    both numbers. Other scores: paired t over items, with d_z; Wilcoxon's test beside it.

    References
    ----------
    .. [1] M. W. Fagerland, S. Lydersen, P. Laake, BMC Med Res Methodol 13:91, 2013.
    .. [2] T. Tango, Statistics in Medicine 17(8), 891-908, 1998.

    Examples
    --------
    >>> a = [1] * 30 + [1] * 6 + [0] * 14 + [0] * 10
    >>> b = [1] * 30 + [0] * 6 + [1] * 14 + [0] * 10
    >>> print(compare_paired(a, b).apa())
    McNemar mid-p = .078, difference = 0.133, 95 % CI [-0.015, 0.277], n = 60 pairs
    """
    check_confidence(confidence)
    if sesoi is not None and not sesoi > 0:
        raise ValueError(f"`sesoi` must be > 0, got {sesoi}")
    a, b, dropped = pair(control, treatment, ids=ids, missing=missing, nan=nan)
    icc = paired_icc(a, b)
    x, y = item_means(a), item_means(b)
    binary = is_binary(x, y)
    if test not in ("default", "paired_t", "mcnemar_midp", "mcnemar_exact"):
        raise ValueError(f"`test` is not a paired test: {test!r}")
    if test.startswith("mcnemar") and not binary:
        raise ValueError(f"`test` {test!r} needs scores of 0 and 1")
    chosen = test if test != "default" else "mcnemar_midp" if binary else "paired_t"
    reasons = (f"{chosen} was asked for",) if test != "default" else _reasons(a, binary)
    main, effect, others, robustness, counts = _run(x, y, chosen, alternative, confidence)
    warnings = list(_warnings(main, 1 - confidence))
    verdict = None
    if sesoi is not None and main.interval is not None:
        wide = _run(x, y, chosen, alternative, 1 - 2 * (1 - confidence))[0].interval
        assert wide is not None  # the same data gave an interval a moment ago
        verdict = decide(main.interval, wide, sesoi=sesoi, higher_is_better=higher_is_better)
    return Comparison(
        design="paired",
        outcome="binary" if binary else "continuous",
        control=describe_arm(labels[0], x),
        treatment=describe_arm(labels[1], y),
        difference=float((y - x).mean()),
        confidence_interval=main.interval,
        test=chosen,
        statistic_name=main.statistic_name,
        statistic=main.statistic,
        df=main.df,
        p_value=main.p_value,
        alternative=alternative,
        alpha=1 - confidence,
        effect_size=effect,
        effect_sizes={e.name: e for e in (effect, *others)},
        reasons=reasons,
        robustness=robustness,
        verdict=verdict,
        n_pairs=x.size,
        n_dropped=dropped,
        icc=icc,
        warnings=tuple(warnings),
        metadata=counts,
    )


def _reasons(a: Array, binary: bool) -> tuple[str, ...]:
    kind = "scores are 0 or 1" if binary else "scores are not only 0 and 1"
    test = "McNemar's mid-p test with Tango's interval" if binary else "the paired t test"
    repeats = () if a.ndim == 1 else (f"{a.shape[1]} repeats were averaged within each item",)
    return (*repeats, f"the same items and {kind}: {test}")


def _run(
    x: Array, y: Array, test: str, alternative: Alternative, confidence: float
) -> tuple[TestResult, Effect, tuple[Effect, ...], tuple[TestResult, ...], Mapping[str, float]]:
    if test == "paired_t":
        main = means.paired_t(x, y, alternative=alternative, confidence=confidence)
        effect = effects.d_z(y - x, confidence=confidence)
        return main, effect, (), _wilcoxon(x, y, alternative), {}
    b, c = int(((x == 1) & (y == 0)).sum()), int(((x == 0) & (y == 1)).sum())
    kinds: tuple[Literal["mid-p", "exact"], ...] = ("mid-p", "exact")
    if test == "mcnemar_exact":
        kinds = kinds[::-1]
    main, other = (
        tables.mcnemar(b, c, pairs=x.size, kind=k, alternative=alternative, confidence=confidence)
        for k in kinds
    )
    t = means.paired_t(x, y, alternative=alternative, confidence=confidence)
    odds = effects.odds_ratio_paired(b, c, confidence=confidence)
    share = Effect(name="discordant_share", value=(b + c) / x.size)
    counts = {
        "both": float(((x == 1) & (y == 1)).sum()),
        "control_only": float(b),
        "treatment_only": float(c),
        "neither": float(((x == 0) & (y == 0)).sum()),
        "discordant": float(b + c),
    }
    main_effect = effects.risk_difference((c - b) / x.size, main.interval)
    return main, main_effect, (odds, share), (other, t), counts


def _wilcoxon(x: Array, y: Array, alternative: Alternative) -> tuple[TestResult, ...]:
    differences = y - x
    moved = int(np.count_nonzero(differences))
    if moved == 0:
        return ()
    from scipy.stats import wilcoxon

    result = wilcoxon(differences, alternative=alternative)
    return (
        TestResult(
            name="wilcoxon",
            statistic_name="W",
            statistic=float(result.statistic),
            df=(),
            p_value=float(result.pvalue),
            alternative=alternative,
            method="exact" if moved <= 50 and moved == x.size else "asymptotic",
            n=x.size,
        ),
    )


def _warnings(main: TestResult, alpha: float) -> "tuple[str, ...]":
    found = list(main.notes)
    if main.min_p is not None and main.min_p > alpha:
        found.append(
            f"so few discordant pairs cannot reach alpha = {alpha:g}, however they fall "
            f"(smallest possible p = {main.min_p:.3g})"
        )
    interval, p = main.interval, main.p_value
    if p is not None and interval is not None and main.alternative == "two-sided":
        low = -math.inf if interval.low is None else interval.low
        high = math.inf if interval.high is None else interval.high
        if (p <= alpha) != (low > 0 or high < 0):
            found.append(
                f"p = {p:.4f} and the interval [{low:.4f}, {high:.4f}] disagree about zero: they "
                "come from two approximations; the verdict uses the interval"
            )
    return tuple(found)
