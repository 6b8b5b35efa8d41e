"""From two conditions to one estimate with an interval; every inference is crucible_bench's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from crucible_harness.observations import Array, by_item, paired

if TYPE_CHECKING:
    from crucible_bench import Comparison
    from crucible_bench.quantile_contrasts import QuantileContrast
    from crucible_bench.results import TestResult

RESAMPLES = 9_999


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """An estimate of treatment against control over `n` items.

    `interval` is at `confidence`, `simultaneous_interval` at the level of the verdict
    (Bonferroni-simultaneous in a family), `equivalence` at 1 - 2 alpha; None with `reason` where it
    cannot be computed. `comparison` is the statistics package's record, if it made one;
    `left_out` counts items that had no value to compare, such as the latency of a failure.
    """

    kind: str
    n: int
    estimate: float | None
    interval: tuple[float, float] | None
    simultaneous_interval: tuple[float, float] | None
    equivalence: tuple[float, float] | None
    confidence: float
    p_value: float | None
    method: str
    reason: str | None = None
    comparison: "Comparison | None" = None
    left_out: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Error rate of a hypothesis and the number of hypotheses in its family."""

    alpha: float
    family: int

    @property
    def confidence(self) -> float:
        """Return the level of the ordinary interval."""
        return 1 - self.alpha

    @property
    def simultaneous(self) -> float:
        """Return the level at which all intervals of the family hold together (Bonferroni)."""
        return 1 - self.alpha / self.family

    @property
    def equivalence(self) -> float:
        """Return the level of the two one-sided tests, simultaneous as well."""
        return 1 - 2 * self.alpha / self.family


def difference(
    control: Array,
    treatment: Array,
    *,
    levels: Levels,
    labels: tuple[str, str],
    within: bool = True,
) -> Contrast:
    """Compare means over items, paired or across items; repeats are nested in items.

    Parameters
    ----------
    control, treatment : float arrays (items, repeats), NaN = missing
    within : bool
        Every item under both conditions, or each under one.
    """
    from crucible_bench import compare, compare_paired

    items, control, treatment = _samples(control, treatment, within=within)
    n = len(control) if within else len(control) + len(treatment)
    if min(len(control), len(treatment)) < 2:
        return _nothing("difference", n, levels, _too_few(within))
    flat = control.shape[1] == treatment.shape[1] == 1
    c, t = (control[:, 0], treatment[:, 0]) if flat else (control, treatment)

    def at(confidence: float) -> "Comparison":
        if within:
            return compare_paired(c, t, confidence=confidence, labels=labels)
        return compare(c, t, confidence=confidence, labels=labels)

    main = at(levels.confidence)
    reason = None if main.confidence_interval else "; ".join(main.warnings) or "no variation"
    return Contrast(
        kind="difference",
        n=n,
        estimate=main.difference,
        interval=_bounds(main),
        simultaneous_interval=_bounds(at(levels.simultaneous)),
        equivalence=_bounds(at(levels.equivalence)),
        confidence=levels.confidence,
        p_value=main.p_value,
        method=main.test,
        reason=reason,
        comparison=main,
        left_out=items - n,
    )


def within_margin(
    control: Array,
    treatment: Array,
    *,
    claim: Literal["equivalence", "non_inferiority"],
    margin: float,
    higher_is_better: bool,
    levels: Levels,
    labels: tuple[str, str],
    within: bool = True,
) -> Contrast:
    """Compare means against a margin: the difference, with the p of the one-sided tests.

    Parameters
    ----------
    margin : float, > 0
    higher_is_better : bool
        Direction of a non-inferiority claim; equivalence has none.
    """
    from crucible_bench.tost import equivalence, non_inferiority

    main = difference(control, treatment, levels=levels, labels=labels, within=within)
    if main.interval is None:
        return replace(main, kind=claim)
    _, control, treatment = _samples(control, treatment, within=within)
    alpha = (1 - levels.equivalence) / 2
    if claim == "equivalence":
        test = equivalence(control, treatment, margin=margin, paired=within, alpha=alpha)
        return replace(main, kind=claim, p_value=test.p_value, method=f"tost_{test.test}")
    one = non_inferiority(
        control,
        treatment,
        margin=margin,
        paired=within,
        higher_is_better=higher_is_better,
        alpha=alpha,
    )
    return replace(main, kind=claim, p_value=one.p_value, method=f"non_inferiority_{one.test}")


def quantile_difference(
    control: Array,
    treatment: Array,
    *,
    percentile: float,
    levels: Levels,
    seed: int,
    order: Sequence[int],
    within: bool = True,
) -> Contrast:
    """Compare a percentile over items by a bootstrap over items.

    Parameters
    ----------
    control, treatment : float arrays (items, repeats); `inf` = later than any that was seen
    percentile : float, in (0, 100)
    order : rows in the order of the schedule

    Notes
    -----
    Slow minutes hit neighbours alike, so items are resampled in moving blocks along the schedule,
    of n^(1/3) items (the rate of Hall, Horowitz and Jing 1995). A percentile that falls among
    failures is not known, and neither is the difference then.
    """
    from crucible_bench import quantile_contrasts

    rows = list(order)
    control, treatment = control[rows], treatment[rows]
    if within:
        control, treatment = paired(control, treatment)
    c, t = by_item(control), by_item(treatment)
    if not within:
        c, t = c[~np.isnan(c)], t[~np.isnan(t)]
    n = c.size if within else c.size + t.size
    if min(c.size, t.size) < 2:
        return _nothing("quantile", n, levels, _too_few(within))
    with np.errstate(invalid="ignore"):
        estimate = float(np.percentile(t, percentile) - np.percentile(c, percentile))
    reason = "the value lies among failed items"
    if not np.isfinite(estimate):
        return _nothing("quantile", n, levels, reason)
    if not (np.isfinite(c).all() and np.isfinite(t).all()):
        return _nothing("quantile", n, levels, f"no interval: {reason}", estimate=estimate)
    length = round(min(c.size, t.size) ** (1 / 3))

    def at(confidence: float) -> "QuantileContrast":
        return quantile_contrasts.quantile_difference(
            c, t, percentile, paired=within, block_length=length, n_resamples=RESAMPLES,
            confidence=confidence, rng=seed,
        )  # fmt: skip

    main = at(levels.confidence)
    return Contrast(
        kind="quantile",
        n=n,
        estimate=estimate,
        interval=_pair(main.interval),
        simultaneous_interval=_pair(at(levels.simultaneous).interval),
        equivalence=_pair(at(levels.equivalence).interval),
        confidence=levels.confidence,
        p_value=main.p_value,
        method=f"{'paired ' if within else ''}percentile bootstrap of P{percentile:g}, items in "
        f"moving blocks of {length} along the schedule, {RESAMPLES:,} resamples",
        warnings=main.warnings,
    )


def ratio(
    control: Array, treatment: Array, *, levels: Levels, seed: int, within: bool = True
) -> Contrast:
    """Compare treatment mean / control mean by a bootstrap over items.

    Parameters
    ----------
    control, treatment : float arrays (items, repeats), > 0
    """

    def statistic(c: Array, t: Array, axis: int = -1) -> Array:
        means: Array = t.mean(axis=axis) / c.mean(axis=axis)
        return means

    return _resampled(
        control, treatment, statistic, kind="ratio", levels=levels, seed=seed, within=within
    )


def weighted_sum(
    columns: tuple[Array, ...],
    weights: tuple[float, ...],
    *,
    kind: str,
    levels: Levels,
    within: bool = True,
) -> Contrast:
    """Test a weighted sum of conditions: a main effect, an interaction, a trend over doses.

    Parameters
    ----------
    columns : one float array (items, repeats) per condition
    weights : one number per condition

    Notes
    -----
    Within items: one-sample t of each item's weighted sum, for items seen under every condition.
    Across items: the weighted sum of the conditions' means, Welch-Satterthwaite.
    """
    from crucible_bench.means import linear_contrast, one_sample_t

    means = [by_item(column) for column in columns]
    if within:
        table = np.stack(means)
        table = table[:, np.isfinite(table).all(axis=0)]
        scores = np.asarray(weights) @ table
        n = smallest = scores.size
    else:
        groups = [m[np.isfinite(m)] for m in means]
        n, smallest = sum(g.size for g in groups), min(g.size for g in groups)

    def test(confidence: float) -> "TestResult":
        if within:
            return one_sample_t(scores, confidence=confidence)
        return linear_contrast(groups, weights, confidence=confidence)

    if smallest < 2:
        reason = "nothing to compare, with fewer than 2 items under every condition"
        return _nothing(kind, n, levels, reason)
    main = test(levels.confidence)
    return Contrast(
        kind=kind,
        n=n,
        estimate=main.estimate,
        interval=_pair(main.interval),
        simultaneous_interval=_pair(test(levels.simultaneous).interval),
        equivalence=_pair(test(levels.equivalence).interval),
        confidence=levels.confidence,
        p_value=main.p_value,
        method=main.name,
        reason=None if main.interval else "no variation between items",
    )


def trend_weights(doses: tuple[float, ...]) -> tuple[float, ...]:
    """Return the weights whose sum with the responses is the least-squares slope over doses."""
    x = np.asarray(doses, dtype=float)
    centred = x - x.mean()
    return tuple(float(c) for c in centred / (centred**2).sum())


def _resampled(
    control: Array,
    treatment: Array,
    statistic: Callable[..., Array],
    *,
    kind: str,
    levels: Levels,
    seed: int,
    within: bool,
) -> Contrast:
    from crucible_bench import bootstrap

    if within:
        control, treatment = paired(control, treatment)
    c, t = by_item(control), by_item(treatment)
    if not within:
        c, t = c[~np.isnan(c)], t[~np.isnan(t)]
    n = c.size if within else c.size + t.size
    if min(c.size, t.size) < 2:
        return _nothing(kind, n, levels, _too_few(within))
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = float(statistic(c, t))
    if not np.isfinite(estimate) or not (np.isfinite(c).all() and np.isfinite(t).all()):
        reason = "not all is known"
        if not np.isfinite(estimate):
            return _nothing(kind, n, levels, reason)
        return _nothing(kind, n, levels, f"no interval: {reason}", estimate=estimate)

    def at(confidence: float) -> tuple[float, float] | None:
        result = bootstrap(
            statistic, c, t, paired=within, method="percentile", n_resamples=RESAMPLES,
            confidence=confidence, rng=seed,
        )  # fmt: skip
        return _pair(result.interval)

    return Contrast(
        kind=kind,
        n=n,
        estimate=estimate,
        interval=at(levels.confidence),
        simultaneous_interval=at(levels.simultaneous),
        equivalence=at(levels.equivalence),
        confidence=levels.confidence,
        p_value=None,
        method=f"{'paired ' if within else ''}percentile bootstrap over items, "
        f"{RESAMPLES:,} resamples",
    )


def _samples(control: Array, treatment: Array, *, within: bool) -> tuple[int, Array, Array]:
    """Return the number of items that were seen, and the scores of those that can be compared.

    An item with a value that is no number, such as the latency of a failure, cannot.
    """
    if within:
        control, treatment = paired(control, treatment)
        keep = ~(np.isinf(control).any(axis=1) | np.isinf(treatment).any(axis=1))
        return len(control), control[keep], treatment[keep]
    arms = [arm[~np.isnan(arm).all(axis=1)] for arm in (control, treatment)]
    seen = sum(map(len, arms))
    control, treatment = (arm[~np.isinf(arm).any(axis=1)] for arm in arms)
    return seen, control, treatment


def _too_few(within: bool) -> str:
    where = "both conditions" if within else "one of the conditions"
    return f"nothing to compare, with fewer than 2 items under {where}"


def _bounds(comparison: "Comparison") -> tuple[float, float] | None:
    return _pair(comparison.confidence_interval)


def _pair(interval: object) -> tuple[float, float] | None:
    low, high = getattr(interval, "low", None), getattr(interval, "high", None)
    return None if low is None or high is None else (float(low), float(high))


def _nothing(
    kind: str, n: int, levels: Levels, reason: str, *, estimate: float | None = None
) -> Contrast:
    return Contrast(
        kind=kind,
        n=n,
        estimate=estimate,
        interval=None,
        simultaneous_interval=None,
        equivalence=None,
        confidence=levels.confidence,
        p_value=None,
        method="none",
        reason=reason,
    )
