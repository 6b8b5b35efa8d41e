"""Means and ratios over items, as figures with intervals; every inference is crucible_bench's."""

import numpy as np

from crucible_harness.studies.ballots import Floats
from crucible_harness.studies.result import Figure


def mean_figure(
    name: str, values: Floats, *, unit: str = "", method: str = "", confidence: float = 0.95
) -> Figure:
    """Return a mean over items with its t interval; a point where nothing varies."""
    from crucible_bench.intervals import mean_interval

    mean = float(values.mean())
    if float(values.std()) == 0:
        return Figure(name=name, value=mean, unit=unit, method=method,
                      reason="no interval: nothing varies over items")  # fmt: skip
    found = mean_interval(values, confidence=confidence)
    return Figure(name=name, value=mean, low=found.low, high=found.high, unit=unit, method=method)


def ends(figure: Figure) -> tuple[float, float] | None:
    """Return both ends of an interval; None where there is none."""
    return None if figure.low is None or figure.high is None else (figure.low, figure.high)


def bootstrap_figure(
    name: str, values: Floats, *, resamples: int, seed: int, unit: str = "", method: str = ""
) -> Figure:
    """Return a mean over items with a studentised bootstrap interval over items."""
    from crucible_bench import bootstrap

    mean = float(values.mean())
    if float(values.std()) == 0:
        return Figure(name=name, value=mean, unit=unit, method=method,
                      reason="no interval: nothing varies over items")  # fmt: skip
    found = bootstrap("mean", values, n_resamples=resamples, rng=seed).interval
    return Figure(name=name, value=mean, low=found.low, high=found.high, unit=unit, method=method)


def ratio_figure(
    name: str, above: Floats, below: Floats, *, resamples: int, seed: int, unit: str = ""
) -> Figure:
    """Return a ratio of means with its BCa bootstrap interval over items [1]_.

    Percentiles of the draws alone cover less: a ratio is skewed, and its spread moves with it.

    References
    ----------
    .. [1] B. Efron, JASA 82(397), 171-185, 1987.
    """
    from crucible_bench import bootstrap

    if np.isnan(below).any():
        return Figure(name=name, value=None, unit=unit, reason="a price is not known")
    if not below.mean() > 0:
        return Figure(name=name, value=None, unit=unit, reason="it costs nothing")

    def ratio(a: Floats, b: Floats, axis: int = -1) -> Floats:
        found: Floats = a.mean(axis=axis) / b.mean(axis=axis)
        return found

    found = bootstrap(
        ratio, above, below, paired=True, method="bca", n_resamples=resamples, rng=seed
    ).interval
    return Figure(
        name=name, value=float(above.mean() / below.mean()), low=found.low, high=found.high,
        unit=unit, method="BCa bootstrap over items",
    )  # fmt: skip
