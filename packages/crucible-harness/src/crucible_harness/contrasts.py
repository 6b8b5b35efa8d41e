"""From two conditions to one estimate with an interval; every inference is crucible_bench's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from crucible_harness.observations import Array, by_item, paired

if TYPE_CHECKING:
    from crucible_bench import Comparison

RESAMPLES = 9_999


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """An estimate of treatment against control over `n` items.

    `low` and `high` are the interval at `confidence`, `wide` the one at the level of the verdict
    (Bonferroni-simultaneous in a family), `equivalence` the one at 1 - 2 alpha; None with `reason`
    where it cannot be computed. `comparison` is the statistics package's record, if it made one;
    `left_out` counts items that had no value to compare, such as the latency of a failure.
    """

    kind: str
    n: int
    estimate: float | None
    interval: tuple[float, float] | None
    wide: tuple[float, float] | None
    equivalence: tuple[float, float] | None
    confidence: float
    p_value: float | None
    method: str
    reason: str | None = None
    comparison: "Comparison | None" = None
    left_out: int = 0


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
    alternative: Literal["two-sided", "greater", "less"] = "two-sided",
) -> Contrast:
    """Compare means over items, paired; repeats are nested in items.

    Parameters
    ----------
    control, treatment : float arrays (items, repeats), NaN = missing
    """
    from crucible_bench import compare_paired

    control, treatment = paired(control, treatment)
    items = len(control)
    control, treatment = _finite(control, treatment)
    n = len(control)
    if n < 2:
        return _nothing("difference", n, levels, "fewer than 2 items under both conditions")
    flat = control.shape[1] == 1

    def at(confidence: float) -> "Comparison":
        return compare_paired(
            control[:, 0] if flat else control,
            treatment[:, 0] if flat else treatment,
            confidence=confidence,
            labels=labels,
        )

    main = at(levels.confidence)
    reason = None if main.confidence_interval else "; ".join(main.warnings) or "no variation"
    return Contrast(
        kind="difference",
        n=n,
        estimate=main.difference,
        interval=_bounds(main),
        wide=_bounds(at(levels.simultaneous)),
        equivalence=_bounds(at(levels.equivalence)),
        confidence=levels.confidence,
        p_value=main.p_value,
        method=main.test,
        reason=reason,
        comparison=main,
        left_out=items - n,
    )


def quantile_difference(
    control: Array, treatment: Array, *, percentile: float, levels: Levels, seed: int
) -> Contrast:
    """Compare a percentile over items by a paired bootstrap.

    Parameters
    ----------
    control, treatment : float arrays (items, repeats); `inf` = later than any that was seen
    percentile : float, in (0, 100)

    Notes
    -----
    A percentile that falls among failures is not known, and neither is the difference then.
    """

    def statistic(c: Array, t: Array, axis: int = -1) -> Array:
        quantiles: Array = np.percentile(t, percentile, axis=axis) - np.percentile(
            c, percentile, axis=axis
        )
        return quantiles

    return _resampled(control, treatment, statistic, kind="quantile", levels=levels, seed=seed)


def ratio(control: Array, treatment: Array, *, levels: Levels, seed: int) -> Contrast:
    """Compare treatment mean / control mean over items by a paired bootstrap.

    Parameters
    ----------
    control, treatment : float arrays (items, repeats), > 0
    """

    def statistic(c: Array, t: Array, axis: int = -1) -> Array:
        means: Array = t.mean(axis=axis) / c.mean(axis=axis)
        return means

    return _resampled(control, treatment, statistic, kind="ratio", levels=levels, seed=seed)


def weighted_sum(
    columns: tuple[Array, ...], weights: tuple[float, ...], *, kind: str, levels: Levels
) -> Contrast:
    """Test a weighted sum of conditions item by item: a trend over doses, an interaction.

    Parameters
    ----------
    columns : one float array (items, repeats) per condition
    weights : one number per condition

    Notes
    -----
    One-sample t over items, for items seen under every condition.
    """
    from crucible_bench.means import one_sample_t

    means = np.stack([by_item(column) for column in columns])
    means = means[:, np.isfinite(means).all(axis=0)]
    scores = np.asarray(weights) @ means
    n = scores.size
    if n < 2:
        return _nothing(kind, n, levels, "fewer than 2 items under every condition")
    main = one_sample_t(scores, confidence=levels.confidence)

    def at(confidence: float) -> tuple[float, float] | None:
        return _pair(one_sample_t(scores, confidence=confidence).interval)

    return Contrast(
        kind=kind,
        n=n,
        estimate=float(scores.mean()),
        interval=_pair(main.interval),
        wide=at(levels.simultaneous),
        equivalence=at(levels.equivalence),
        confidence=levels.confidence,
        p_value=main.p_value,
        method="one_sample_t",
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
) -> Contrast:
    from crucible_bench import bootstrap

    control, treatment = paired(control, treatment)
    c, t = by_item(control), by_item(treatment)
    n = c.size
    if n < 2:
        return _nothing(kind, n, levels, "fewer than 2 items under both conditions")
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = float(statistic(c, t))
    if not np.isfinite(estimate) or not (np.isfinite(c).all() and np.isfinite(t).all()):
        reason = "the value lies among failed items" if kind == "quantile" else "not all is known"
        if not np.isfinite(estimate):
            return _nothing(kind, n, levels, reason)
        return _nothing(kind, n, levels, f"no interval: {reason}", estimate=estimate)

    def at(confidence: float) -> tuple[float, float] | None:
        result = bootstrap(
            statistic, c, t, paired=True, method="percentile", n_resamples=RESAMPLES,
            confidence=confidence, rng=seed,
        )  # fmt: skip
        return _pair(result.interval)

    return Contrast(
        kind=kind,
        n=n,
        estimate=estimate,
        interval=at(levels.confidence),
        wide=at(levels.simultaneous),
        equivalence=at(levels.equivalence),
        confidence=levels.confidence,
        p_value=None,
        method=f"paired percentile bootstrap over items, {RESAMPLES:,} resamples",
    )


def _finite(control: Array, treatment: Array) -> tuple[Array, Array]:
    """Drop items with a value that is not a number, such as the latency of a failure."""
    keep = ~(np.isinf(control).any(axis=1) | np.isinf(treatment).any(axis=1))
    return control[keep], treatment[keep]


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
        wide=None,
        equivalence=None,
        confidence=levels.confidence,
        p_value=None,
        method="none",
        reason=reason,
    )
