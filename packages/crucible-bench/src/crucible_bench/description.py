"""What one sample of scores looks like."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, item_means, scores
from crucible_bench.intervals import mean_interval
from crucible_bench.records import Record
from crucible_bench.results import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Description(Record):
    """One sample, described. What n or a lack of variation cannot give is None, with a reason."""

    n: int
    n_missing: int
    n_clusters: int | None
    mean: float
    mean_interval: Interval | None
    sd: float
    se: float
    median: float
    median_interval: Interval
    quartiles: tuple[float, float]
    minimum: float
    maximum: float
    skewness: float | None
    excess_kurtosis: float | None
    reasons: tuple[str, ...] = ()


def describe(
    x: ArrayLike, *, confidence: float = 0.95, cluster: ArrayLike | None = None
) -> Description:
    """Describe scores: location, spread and shape, with intervals for mean and median.

    Parameters
    ----------
    x : (items,) or (items, repeats) array
        NaN is missing, and counted. Repeats are averaged within their item.
    cluster : (items,) array of labels, optional
        The mean's standard error and interval are then cluster-robust (CR2).

    Raises
    ------
    ValueError
        If fewer than 2 scores are known, or one is infinite.

    Notes
    -----
    Quartiles are type 7. Skewness is G1 and excess kurtosis G2, the sample forms that SAS and
    spreadsheets print [1]_. The median's interval is exact and distribution-free.

    References
    ----------
    .. [1] D. N. Joanes, C. A. Gill, The Statistician 47(1), 183-189, 1998.

    Examples
    --------
    >>> found = describe([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    >>> round(found.mean, 2), round(found.sd, 3), round(found.median, 2)
    (0.75, 1.789, 0.35)
    """
    from crucible_bench.clusters import cluster_mean, codes
    from crucible_bench.intervals import median_interval

    check_confidence(confidence)
    items = item_means(scores("x", x, nan="omit"))
    known = ~np.isnan(items)
    values = scores("x", items[known])
    labels = None if cluster is None else np.asarray(cluster)
    if labels is not None and labels.shape != items.shape:
        raise ValueError(f"`cluster` must have one label per score, got {labels.size}")
    sd = float(values.std(ddof=1))
    if labels is None:
        se, groups = sd / math.sqrt(values.size), None
    else:
        labels = labels[known]
        found = cluster_mean(values, labels)
        se, groups = found.se, int(codes("cluster", labels, values.size).max()) + 1
    flat = not sd > 1e-14 * max(1.0, abs(float(values.mean())))
    reasons = ("no variation",) if flat else ()
    if values.size < 4 and not flat:
        reasons = ("skewness takes 3 scores and kurtosis 4",)
    lower, upper = np.percentile(values, [25, 75])
    return Description(
        n=values.size,
        n_missing=int((~known).sum()),
        n_clusters=groups,
        mean=float(values.mean()),
        mean_interval=None
        if flat
        else mean_interval(values, confidence=confidence, cluster=labels),
        sd=sd,
        se=se,
        median=float(np.median(values)),
        median_interval=median_interval(values, confidence=confidence),
        quartiles=(float(lower), float(upper)),
        minimum=float(values.min()),
        maximum=float(values.max()),
        skewness=skewness(values),
        excess_kurtosis=excess_kurtosis(values),
        reasons=reasons,
    )


def skewness(x: Array) -> float | None:
    """Return G1, the bias-adjusted skewness; None without variation or below 3 scores."""
    n = x.size
    d = x - x.mean()
    m2 = float((d**2).mean())
    if n < 3 or not m2 > 1e-28 * max(1.0, float(np.abs(x).max()) ** 2):
        return None
    g1 = float((d**3).mean()) / float(m2**1.5)
    return g1 * math.sqrt(n * (n - 1)) / (n - 2)


def excess_kurtosis(x: Array) -> float | None:
    """Return G2, the bias-adjusted excess kurtosis; None without variation or below 4 scores."""
    n = x.size
    d = x - x.mean()
    m2 = float((d**2).mean())
    if n < 4 or not m2 > 1e-28 * max(1.0, float(np.abs(x).max()) ** 2):
        return None
    g2 = float((d**4).mean()) / m2**2 - 3
    return float((n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * g2 + 6))
