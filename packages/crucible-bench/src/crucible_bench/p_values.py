"""p-values of the statistics that several tests share."""

import numpy as np

from crucible_bench.arrays import Array
from crucible_bench.results import Alternative


def t_p_value(t: float, df: float, alternative: Alternative) -> float:
    """Return the p-value of a t statistic."""
    from scipy import special

    if alternative == "greater":
        return float(special.stdtr(df, -t))
    if alternative == "less":
        return float(special.stdtr(df, t))
    return float(2 * special.stdtr(df, -abs(t)))


def normal_p(z: float, alternative: Alternative) -> float:
    """Return the p-value of a normal statistic."""
    from scipy import special

    if alternative == "two-sided":
        return float(2 * special.ndtr(-abs(z)))
    return float(special.ndtr(-z if alternative == "greater" else z))


def counted_p(counts: Array, statistic: float, alternative: Alternative) -> tuple[float, float]:
    """Return the p-value and the smallest possible one, from counts of 0, 1, 2 ..."""
    total = float(counts.sum())
    at = round(statistic)
    less = float(counts[: at + 1].sum()) / total
    greater = float(counts[at:].sum()) / total
    used = np.flatnonzero(counts)
    ends = float(min(counts[used[0]], counts[used[-1]])) / total
    if alternative == "greater":
        return greater, float(counts[used[-1]]) / total
    if alternative == "less":
        return less, float(counts[used[0]]) / total
    return min(1.0, 2 * min(less, greater)), min(1.0, 2 * ends)


def continuous_p(distance: float, sd: float, alternative: Alternative) -> float:
    """Return the normal p-value of a discrete statistic, moved by 1/2 towards its mean."""
    from scipy import special

    if alternative == "greater":
        return float(special.ndtr(-(distance - 0.5) / sd))
    if alternative == "less":
        return float(special.ndtr((distance + 0.5) / sd))
    return min(1.0, float(2 * special.ndtr(-(abs(distance) - 0.5) / sd)))
