"""Percentiles with distribution-free intervals, and Wilson's interval for a rate."""

import math
from collections.abc import Sequence

from crucible_telemetry.metrics.report import Percentile, Rate


def check_confidence(confidence: float) -> None:
    """Raise `ValueError` unless confidence is in (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1), got {confidence}")


def percentile(ordered: Sequence[float], p: float, *, confidence: float = 0.95) -> Percentile:
    """Estimate a percentile with an interval that assumes no distribution.

    Parameters
    ----------
    ordered : sequence of float, ascending
        Seconds.
    p : float, in (0, 100)

    Notes
    -----
    The value interpolates linearly (type 7 of [1]_). The interval ends at order statistics [2]_,
    with ranks rounded outward so that it never covers less than it says. A bound whose rank does
    not exist is None, and then the percentile is not `reliable`.

    References
    ----------
    .. [1] R. J. Hyndman, Y. Fan, The American Statistician 50(4), 361-365, 1996.
    .. [2] W. J. Conover, Practical Nonparametric Statistics, 3rd ed., 1999, section 3.2.
    """
    check_confidence(confidence)
    if not 0 < p < 100:
        raise ValueError(f"`p` must be in (0, 100), got {p}")
    n = len(ordered)
    if n == 0:
        return Percentile(p=p, value_s=None, low_s=None, high_s=None, reliable=False)
    low, high = _ranks(n, p, confidence)
    return Percentile(
        p=p,
        value_s=quantile(ordered, p / 100),
        low_s=ordered[low - 1] if low >= 1 else None,
        high_s=ordered[high - 1] if high <= n else None,
        reliable=low >= 1 and high <= n,
    )


def quantile(ordered: Sequence[float], q: float) -> float:
    """Return the type 7 quantile of a sorted sequence that is not empty."""
    position = (len(ordered) - 1) * q
    below = math.floor(position)
    if below + 1 >= len(ordered):
        return ordered[-1]
    share = position - below
    return ordered[below] + share * (ordered[below + 1] - ordered[below])


def requests_needed(p: float, *, confidence: float = 0.95) -> int:
    """Return the smallest number of requests with which a percentile is reliable.

    Examples
    --------
    >>> [requests_needed(p) for p in (50, 90, 95, 99, 99.9)]
    [8, 53, 110, 563, 5661]
    """
    check_confidence(confidence)
    if not 0 < p < 100:
        raise ValueError(f"`p` must be in (0, 100), got {p}")
    # Both ranks exist about where n * min(p, 1 - p) = z^2; before that nothing is close.
    q = min(p, 100 - p) / 100
    n = max(1, math.floor(0.5 * _z(confidence) ** 2 / q))
    while True:
        low, high = _ranks(n, p, confidence)
        if low >= 1 and high <= n:
            return n
        n += 1


def wilson(successes: int, trials: int, *, confidence: float = 0.95) -> Rate:
    """Return a rate with Wilson's score interval; all None without trials.

    References
    ----------
    .. [1] E. B. Wilson, JASA 22(158), 209-212, 1927.

    Examples
    --------
    >>> rate = wilson(96, 100)
    >>> round(rate.low, 6), round(rate.high, 6)
    (0.901629, 0.984337)
    """
    check_confidence(confidence)
    if trials < 0:
        raise ValueError(f"`trials` must be >= 0, got {trials}")
    if not 0 <= successes <= trials:
        raise ValueError(f"`successes` must be in [0, {trials}], got {successes}")
    if trials == 0:
        return Rate(value=None, low=None, high=None)
    return wilson_share(successes / trials, trials, confidence=confidence)


def wilson_share(p: float, trials: float, *, confidence: float = 0.95) -> Rate:
    """Return Wilson's interval of a share in [0, 1] of `trials` > 0, which need not be whole."""
    z2 = _z(confidence) ** 2
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (p * (1 - p) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return Rate(
        value=p,
        low=0.0 if p == 0 else centre - half,
        high=1.0 if p == 1 else centre + half,
    )


def _ranks(n: int, p: float, confidence: float) -> tuple[int, int]:
    share = p / 100
    spread = _z(confidence) * math.sqrt(n * share * (1 - share))
    return math.floor(n * share - spread), math.ceil(n * share + spread) + 1


def _z(confidence: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf((1 + confidence) / 2)
