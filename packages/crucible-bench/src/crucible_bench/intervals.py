"""Intervals for means, medians and variances; those for shares can be had from here as well."""

import math

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, item_means, scores
from crucible_bench.proportion_intervals import agresti_caffo as agresti_caffo
from crucible_bench.proportion_intervals import miettinen_nurminen as miettinen_nurminen
from crucible_bench.proportion_intervals import newcombe as newcombe
from crucible_bench.proportion_intervals import newcombe_paired as newcombe_paired
from crucible_bench.proportion_intervals import proportion_interval as proportion_interval
from crucible_bench.proportion_intervals import tango as tango
from crucible_bench.results import Interval


def mean_interval(
    x: ArrayLike, *, confidence: float = 0.95, cluster: ArrayLike | None = None
) -> Interval:
    """Compute a t interval for a mean over items.

    Parameters
    ----------
    x : (items,) or (items, repeats) array
        Repeats are averaged within their item: the item is the unit.
    cluster : (items,) array of labels, optional
        Groups of items that belong together, such as questions on one text: CR2 standard error
        with Satterthwaite's degrees of freedom, see `clusters.cluster_mean`.

    Raises
    ------
    ValueError
        If there are fewer than 2 items or clusters, or a score is not finite.
    """
    from scipy import special

    check_confidence(confidence)
    items = item_means(scores("x", x))
    if cluster is not None:
        from crucible_bench.clusters import cluster_mean

        found = cluster_mean(items, cluster)
        return t_interval(found.estimate, found.se, found.df, confidence=confidence, method="CR2 t")
    n = items.size
    half = (
        float(special.stdtrit(n - 1, (1 + confidence) / 2))
        * float(items.std(ddof=1))
        / math.sqrt(n)
    )
    mean = float(items.mean())
    return Interval(low=mean - half, high=mean + half, level=confidence, method="t over items")


def median_interval(x: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Compute the exact interval of a median from order statistics.

    Notes
    -----
    Distribution-free, equal-tailed, never covering less than it says; a limit that so few scores
    cannot give is None.
    """
    from crucible_bench.quantiles import quantile

    return quantile(x, 50, confidence=confidence).interval


def variance_interval(x: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Compute the chi-square interval of a variance; exact for normal scores only.

    Notes
    -----
    It is not robust: heavy tails make it far too short, however large n.
    """
    from scipy import special

    check_confidence(confidence)
    items = item_means(scores("x", x))
    n = items.size
    squares = (n - 1) * float(items.var(ddof=1))
    tail = (1 - confidence) / 2
    return Interval(
        low=squares / float(special.chdtri(n - 1, tail)),
        high=squares / float(special.chdtri(n - 1, 1 - tail)),
        level=confidence,
        method="chi-square",
    )


def t_interval(mean: float, se: float, df: float, *, confidence: float, method: str) -> Interval:
    """Return mean +- t * se."""
    from scipy import special

    half = float(special.stdtrit(df, (1 + confidence) / 2)) * se
    return Interval(low=mean - half, high=mean + half, level=confidence, method=method)


def standard_error(x: Array) -> float:
    """Return the standard error of a mean."""
    return float(x.std(ddof=1)) / math.sqrt(x.size) if x.size > 1 else float(np.nan)
