"""Intervals for shares and for their differences."""

from math import sqrt
from statistics import NormalDist


def wilson(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a share.

    Parameters
    ----------
    successes : int, in [0, trials]
    trials : int, >= 1
    confidence : float, in (0, 1)

    References
    ----------
    .. [1] E. B. Wilson, JASA 22(158), 209-212, 1927.
    """
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    share, weight = successes / trials, z * z / trials
    middle = (share + weight / 2.0) / (1.0 + weight)
    half = z * sqrt(share * (1.0 - share) / trials + weight / (4.0 * trials)) / (1.0 + weight)
    # At 0 and at all the end is exact; rounding would leave it beside.
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return low, high


def newcombe(
    successes: int, trials: int, others: int, other_trials: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of the difference of two independent shares, first minus second.

    The hybrid score interval, method 10 of [1]_: it stays inside [-1, 1] and covers about as often
    as it says, for small samples too.

    Parameters
    ----------
    successes, others : int, in [0, trials]
    trials, other_trials : int, >= 1
    confidence : float, in (0, 1)

    References
    ----------
    .. [1] R. G. Newcombe, Statistics in Medicine 17, 873-890, 1998.
    """
    first, second = successes / trials, others / other_trials
    low1, high1 = wilson(successes, trials, confidence=confidence)
    low2, high2 = wilson(others, other_trials, confidence=confidence)
    difference = first - second
    low = difference - sqrt((first - low1) ** 2 + (high2 - second) ** 2)
    high = difference + sqrt((high1 - first) ** 2 + (second - low2) ** 2)
    return low, high
