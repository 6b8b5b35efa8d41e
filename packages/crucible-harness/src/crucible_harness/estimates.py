"""One metric under one condition: a number with a 95 % interval."""

from dataclasses import dataclass

import numpy as np

from crucible_harness.metrics import Metric
from crucible_harness.observations import Array, by_item

CONFIDENCE = 0.95


LATENCY = Metric("latency_s", reducer="median", higher_is_better=False, unit="s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate1:
    """One metric under one condition.

    `n` counts items. `censored` counts items that failed and whose value is therefore only known
    to lie beyond every other; a percentile among them is None.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    censored: int = 0


def estimate(
    values: Array, reducer: str, metric: Metric, *, confidence: float = CONFIDENCE
) -> Estimate1:
    """Reduce one condition's observations to one number with an interval.

    Parameters
    ----------
    values : float array (items, repeats); NaN = missing, `inf` = a failure's latency
    reducer : "mean", "rate", "median", "sum", "min", "max" or "p50" to "p99.9"

    Notes
    -----
    Shares of one repeat: Wilson. Other means: t over item means. Percentiles (type 7): order
    statistics, distribution-free. A sum, minimum or maximum has no interval.
    """
    from crucible_bench.intervals import mean_interval, proportion_interval

    items = by_item(values)
    items = items[~np.isnan(items)]
    censored = int(np.isinf(items).sum())
    n = items.size
    if n == 0:
        return Estimate1(value=None, low=None, high=None, n=0, method="none")
    percentile = percentile_of(reducer)
    if percentile is not None:
        return _quantile(items, percentile, confidence)
    finite = items[np.isfinite(items)]
    if reducer in ("mean", "rate"):
        if values.shape[1] == 1 and is_share(items, metric):
            low, high = ends(proportion_interval(int(items.sum()), n, confidence=confidence))
            method = "Wilson"
        elif finite.size >= 2:
            low, high = ends(mean_interval(finite, confidence=confidence))
            method = "t over items"
        else:
            low = high = None
            method = "none"
        if metric.bounds is not None and low is not None and high is not None:
            low, high = max(low, metric.bounds[0]), min(high, metric.bounds[1])
        value = float(finite.mean()) if finite.size == n else None
        if value is None:  # a mean over the others would be the answer to another question
            low = high = None
        return Estimate1(value=value, low=low, high=high, n=n, method=method, censored=censored)
    reduced = float(getattr(items, reducer)())  # "sum", "min" or "max": names that numpy shares
    value = None if censored and reducer != "min" else reduced
    return Estimate1(value=value, low=None, high=None, n=n, method=reducer, censored=censored)


def is_share(items: Array, metric: Metric) -> bool:
    """Say whether these are successes and failures: free calls cost 0.0, and are none."""
    return metric.bounds == (0.0, 1.0) and bool(np.isin(items, (0.0, 1.0)).all())


def _quantile(items: Array, percentile: float, confidence: float) -> Estimate1:
    """Estimate a percentile of latencies, some only known to be longer than all others."""
    from crucible_bench.quantiles import quantile

    seen = items[np.isfinite(items)]
    n, censored = items.size, items.size - seen.size
    if seen.size == 0 or n < 2:
        return Estimate1(value=None, low=None, high=None, n=n, method="none", censored=censored)
    longest = float(seen.max())
    result = quantile(
        np.where(np.isinf(items), 2 * longest + 1, items), percentile, confidence=confidence
    )

    def known(value: float | None) -> float | None:
        return None if value is None or value > longest else float(value)

    return Estimate1(
        value=known(result.value),
        low=known(result.interval.low),
        high=known(result.interval.high),
        n=n,
        method="order statistics",
        censored=censored,
    )


def percentile_of(reducer: str) -> float | None:
    """Return the percentile that a reducer stands for; None for other reducers."""
    if reducer == "median":
        return 50.0
    return float(reducer[1:]) if reducer[:1] == "p" and reducer[1:2].isdigit() else None


def ends(interval: object) -> tuple[float | None, float | None]:
    """Return the limits of an interval; None where there is none."""
    return getattr(interval, "low", None), getattr(interval, "high", None)
