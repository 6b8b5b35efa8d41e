"""Power of t and z tests, and noncentralities from an observed statistic."""

import math
from collections.abc import Callable

from crucible_bench.results import Alternative


def t_power(nc: float, df: float, alpha: float, alternative: Alternative) -> float:
    """Return the power of a t test with noncentrality `nc`; 0 where there is no df."""
    from scipy import special

    if df <= 0:
        return 0.0
    if alternative == "less":
        nc, alternative = -nc, "greater"
    tail = alpha / 2 if alternative == "two-sided" else alpha
    critical = float(special.stdtrit(df, 1 - tail))
    if alternative == "greater":
        return 1.0 - _nct_below(df, nc, critical)
    far = _nct_below(df, abs(nc), -critical)
    return 1.0 - _nct_below(df, abs(nc), critical) + far


def _nct_below(df: float, nc: float, t: float) -> float:
    """Return P(T <= t) for the noncentral t; where scipy gives up (NaN), it is 0 or 1."""
    from scipy import special

    below = float(special.nctdtr(df, nc, t))
    return float(nc < t) if math.isnan(below) else below


def z_power(distance: float, alpha: float, alternative: Alternative) -> float:
    """Return the power of a z test whose statistic has mean `distance`; the near tail only."""
    from scipy import special

    tail = alpha / 2 if alternative == "two-sided" else alpha
    if alternative == "two-sided":
        distance = abs(distance)
    elif alternative == "less":
        distance = -distance
    return float(special.ndtr(distance - special.ndtri(1 - tail)))


def noncentrality(t: float, df: float, probability: float) -> float:
    """Return the noncentrality at which P(T <= t) is `probability`."""
    from scipy import optimize, special

    def distance(nc: float) -> float:
        below = float(special.nctdtr(df, nc, t))
        if math.isnan(below):  # far tails, where scipy.special gives up and boost does not
            from scipy.stats import nct

            below = float(nct.cdf(t, df, nc))
        if math.isnan(below):
            below = 1.0 if nc < t else 0.0
        return below - probability

    width = 2.0 + abs(t) / math.sqrt(2 * df)
    low, high = t - 2 * width, t + 2 * width
    while distance(low) < 0:
        low -= width
    while distance(high) > 0:
        high += width
    return float(optimize.brentq(distance, low, high, xtol=1e-12))


def noncentral_limits(
    cdf: Callable[[float], float],
    confidence: float,
    start: float,
    transform: Callable[[float], float],
) -> tuple[float, float]:
    """Return both limits of a noncentrality, mapped; 0 where the central distribution is enough."""
    from scipy import optimize

    found = []
    for probability in ((1 + confidence) / 2, (1 - confidence) / 2):
        if cdf(0.0) <= probability:
            found.append(0.0)
            continue
        high = max(1.0, start)
        while cdf(high) > probability:
            high *= 2
        found.append(
            float(optimize.brentq(lambda nc, p=probability: cdf(nc) - p, 0.0, high, xtol=1e-12))
        )
    return transform(found[0]), transform(found[1])
