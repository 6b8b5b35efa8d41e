"""Two intervals in closed form: Wilson's for shares, and the clustered one for item means."""

import math
from collections.abc import Sequence
from statistics import NormalDist


def wilson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Compute the Wilson score interval of a share.

    References
    ----------
    .. [1] E. B. Wilson, JASA 22(158), 209-212, 1927.
    """
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    p = successes / trials
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (p * (1 - p) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    low = 0.0 if successes == 0 else centre - half
    return low, 1.0 if successes == trials else centre + half


def clustered(means: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """Compute the normal interval of a mean over items, each item being one cluster.

    Answers to the same item are not independent: only items are counted. None below two items.

    References
    ----------
    .. [1] E. Miller, Adding Error Bars to Evals, arXiv:2411.00640, 2024, section 2.2.
    """
    n = len(means)
    if n < 2:
        return None
    mean = math.fsum(means) / n
    variance = math.fsum((value - mean) ** 2 for value in means) / (n - 1)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance / n)
    return mean - half, mean + half
