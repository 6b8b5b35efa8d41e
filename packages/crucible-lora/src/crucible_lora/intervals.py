"""Two-sided intervals over items, for reports."""

import math

import numpy as np
from numpy.typing import NDArray

Bounds = tuple[float | None, float | None, str]


def wilson(successes: float, trials: int, *, level: float) -> Bounds:
    """Return the score interval of a rate.

    References
    ----------
    .. [1] E. B. Wilson, JASA 22(158), 209-212, 1927.
    """
    from scipy import special

    z = float(special.ndtri((1 + level) / 2))
    share = successes / trials
    weight = z * z / trials
    middle = (share + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    low = 0.0 if successes == 0 else middle - reach
    high = 1.0 if successes == trials else middle + reach
    return low, high, "wilson"


def mean_t(values: NDArray[np.float64], *, level: float) -> Bounds:
    """Return the t interval of a mean; there is none below 2 items or without spread."""
    return ratio_t(values, np.ones(len(values)), level=level)


def ratio_t(above: NDArray[np.float64], below: NDArray[np.float64], *, level: float) -> Bounds:
    """Return the interval of sum(above) / sum(below) over items, by the delta method with t.

    Notes
    -----
    The residuals (above - ratio * below) / mean(below) stand for the items. With `below` all 1 this
    is the t interval of the mean. None, where fewer than 2 items or no spread leave it undefined.

    References
    ----------
    .. [1] W. G. Cochran, Sampling Techniques, 3rd ed., 1977, section 6.3.
    """
    from scipy import special

    n = len(above)
    ratio = float(above.sum() / below.sum())
    sd = float(np.std((above - ratio * below) / below.mean(), ddof=1)) if n > 1 else 0.0
    if n < 2 or sd < 1e-14 * max(abs(ratio), 1.0):
        return None, None, "none: the items do not differ" if n > 1 else "none: one item"
    reach = float(special.stdtrit(n - 1, (1 + level) / 2)) * sd / math.sqrt(n)
    return ratio - reach, ratio + reach, "t"


def hoeffding_difference(difference: float, n: int, *, level: float) -> Bounds:
    """Return the interval of a mean of differences in [-1, 1], without any spread assumed.

    References
    ----------
    .. [1] W. Hoeffding, JASA 58(301), 13-30, 1963, theorem 2.
    """
    reach = 2 * math.sqrt(math.log(2 / (1 - level)) / (2 * n))
    return max(-1.0, difference - reach), min(1.0, difference + reach), "hoeffding"
