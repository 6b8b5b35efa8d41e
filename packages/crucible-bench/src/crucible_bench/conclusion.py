"""From a test to a Comparison: what independent and paired designs share."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crucible_bench.arrays import Array
from crucible_bench.diagnostics import quick_checks
from crucible_bench.results import (
    Alternative,
    Comparison,
    Effect,
    Sample,
    Selection,
    TestResult,
)
from crucible_bench.selection import Estimand
from crucible_bench.spans import record, span
from crucible_bench.variance_components import VarianceComponents
from crucible_bench.verdicts import verdict_of

Labels = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of two arms of checked item scores, x (control) and y (treatment).

    `groups` are the cluster labels of both arms, None without clusters.
    """

    design: Literal["independent", "paired"]
    x: Array
    y: Array
    groups: tuple[Labels, Labels] | None
    binary: bool
    estimand: Estimand
    selection: Selection
    alternative: Alternative
    confidence: float
    sesoi: float | None
    higher_is_better: bool
    labels: tuple[str, str]
    robustness: bool


def conclude(
    question: Question,
    run: Callable[[float], TestResult],
    *,
    effects: Callable[[TestResult], tuple[Effect, ...]],
    beside: Callable[[], tuple[TestResult, ...]],
    components: VarianceComponents | None,
    counts: Mapping[str, float],
    n_missing: tuple[int, int] = (0, 0),
    n_dropped: int = 0,
) -> Comparison:
    """Run the chosen test and all that stands beside it.

    Parameters
    ----------
    run : callable
        Takes the level of the interval, returns the main test.
    effects, beside : callables
        Give the effect sizes, primary first, and other tests of the same question.
    """
    q = question
    alpha = round(1 - q.confidence, 12)
    name = "compare" if q.design == "independent" else "compare_paired"
    with span(name, test=q.selection.test, rule=q.selection.rule, n_control=q.x.size,
              n_treatment=q.y.size) as current:  # fmt: skip
        main = run(q.confidence)
        found = effects(main) if q.groups is None else descriptive(effects(main))
        arms = [
            describe_arm(q.labels[i], arm, n_missing=n_missing[i],
                         clusters=None if q.groups is None else q.groups[i])
            for i, arm in enumerate((q.x, q.y))
        ]  # fmt: skip
        spread = {} if components is None else {
            "variance_between": components.between, "variance_within": components.within
        }  # fmt: skip
        result = Comparison(
            design=q.design,
            outcome="binary" if q.binary else "continuous",
            estimand=q.estimand,
            control=arms[0],
            treatment=arms[1],
            difference=float(q.y.mean() - q.x.mean()) if main.estimate is None else main.estimate,
            confidence_interval=main.interval,
            test=q.selection.test,
            statistic_name=main.statistic_name,
            statistic=main.statistic,
            df=main.df,
            p_value=main.p_value,
            alternative=q.alternative,
            alpha=alpha,
            effect_size=found[0],
            effect_sizes={e.name: e for e in found},
            selection=q.selection,
            diagnostics=quick_checks(q.x, q.y, paired=q.design == "paired"),
            robustness=beside() if q.robustness else (),
            verdict=verdict_of(run, main, q.sesoi, q.higher_is_better, q.confidence),
            n_pairs=q.x.size if q.design == "paired" else None,
            n_dropped=n_dropped,
            icc=None if components is None else components.icc,
            warnings=common_warnings(main, alpha),
            metadata={**counts, **spread},
        )
        record(current, result)
    return result


def common_warnings(main: TestResult, alpha: float) -> tuple[str, ...]:
    """Return a test's notes, an alpha out of reach, and a disagreement of p and interval."""
    found = list(main.notes)
    if main.min_p is not None and main.min_p > alpha * (1 + 1e-9):
        what = "so few discordant pairs" if main.name.startswith("mcnemar") else f"n = {main.n}"
        found.append(
            f"{what} cannot reach alpha = {alpha:g}, whatever the scores "
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


def describe_arm(
    label: str, items: Array, *, n_missing: int = 0, clusters: NDArray[Any] | None = None
) -> Sample:
    """Describe one arm of a comparison."""
    return Sample(
        label=label,
        n=items.size,
        mean=float(items.mean()),
        sd=float(items.std(ddof=1)) if items.size > 1 else None,
        median=float(np.median(items)),
        n_missing=n_missing,
        n_clusters=None if clusters is None else int(np.unique(clusters).size),
    )


def descriptive(found: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """Take away intervals that assume independent scores; that of the test itself stays."""
    return tuple(
        effect
        if effect.name == "risk_difference" or effect.value is None
        else replace(
            effect, interval=None, reason="descriptive: an interval would assume no clusters"
        )
        for effect in found
    )


def repeated(
    control: Array, treatment: Array, groups: tuple[Labels, Labels] | None
) -> VarianceComponents | None:
    """Split the variance of repeats into items, or of scores into clusters, over both arms.

    Notes
    -----
    One-way ANOVA estimators over the cells of item and arm, each arm centred at its mean; None
    where nothing repeats.
    """
    from crucible_bench.clusters import codes
    from crucible_bench.variance_components import pooled_components

    arms = []
    for arm, labels in zip((control, treatment), groups or (None, None), strict=True):
        table = arm if arm.ndim == 2 else arm[:, None]
        numbers = np.arange(len(table)) if labels is None else codes("cluster", labels, len(table))
        known = ~np.isnan(table)
        arms.append((table[known], np.repeat(numbers, known.sum(axis=1))))
    return pooled_components(arms)
