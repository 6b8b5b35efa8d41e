"""Intervals for shares and their differences, independent or paired, exact to their formulas."""

import math
from collections.abc import Callable
from typing import Literal

from crucible_bench.arrays import check_confidence
from crucible_bench.results import Interval


def proportion_interval(
    successes: int,
    trials: int,
    *,
    confidence: float = 0.95,
    method: Literal["wilson", "clopper_pearson"] = "wilson",
) -> Interval:
    """Compute an interval for a success probability.

    Parameters
    ----------
    successes : int, in [0, trials]
    trials : int, >= 1
    confidence : float, in (0, 1)
        Nominal coverage.
    method : {"wilson", "clopper_pearson"}
        The score interval [1]_, or the one that never covers less than it says [2]_.

    Raises
    ------
    ValueError
        If an argument is out of range. There is no interval for 0 trials.

    References
    ----------
    .. [1] E. B. Wilson, JASA 22(158), 209-212, 1927.
    .. [2] C. J. Clopper, E. S. Pearson, Biometrika 26(4), 404-413, 1934.

    Examples
    --------
    >>> interval = proportion_interval(81, 263)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.2553, 0.3662)
    """
    from scipy import special

    check_confidence(confidence)
    if trials < 1:
        raise ValueError(f"`trials` must be >= 1, got {trials}")
    if not 0 <= successes <= trials:
        raise ValueError(f"`successes` must be in [0, {trials}], got {successes}")
    tail = (1 - confidence) / 2
    if method == "clopper_pearson":
        low = 0.0 if successes == 0 else special.betaincinv(successes, trials - successes + 1, tail)
        high = (
            1.0
            if successes == trials
            else special.betaincinv(successes + 1, trials - successes, 1 - tail)
        )
        return Interval(low=float(low), high=float(high), level=confidence, method=method)
    if method != "wilson":
        raise ValueError(f'`method` must be "wilson" or "clopper_pearson", got {method!r}')
    z2 = float(special.ndtri(1 - tail)) ** 2
    p = successes / trials
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (p * (1 - p) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return Interval(
        low=0.0 if successes == 0 else centre - half,
        high=1.0 if successes == trials else centre + half,
        level=confidence,
        method="wilson",
    )


def tango(
    control_only: int, treatment_only: int, pairs: int, *, confidence: float = 0.95
) -> Interval:
    """Compute Tango's score interval for a difference of paired proportions.

    Parameters
    ----------
    control_only, treatment_only : int, >= 0
        Pairs that only the one or only the other arm got right.
    pairs : int, >= control_only + treatment_only, >= 1

    Notes
    -----
    Inverts the score test: the interval holds each difference D with abs(z(D)) <= z, where the
    nuisance parameter is estimated under D. It stays an interval without discordant pairs.

    References
    ----------
    .. [1] T. Tango, Statistics in Medicine 17(8), 891-908, 1998, equation 8 and following.
    """
    from scipy import special

    check_confidence(confidence)
    if pairs < 1 or control_only < 0 or treatment_only < 0 or control_only + treatment_only > pairs:
        raise ValueError(
            f"`pairs` must be >= 1 and >= the discordant pairs, got {pairs} with "
            f"{control_only} + {treatment_only}"
        )
    critical = float(special.ndtri((1 + confidence) / 2))
    b, c, n = control_only, treatment_only, pairs

    def z(difference: float) -> float:
        return tango_z(b, c, n, difference)

    estimate = (c - b) / n
    return Interval(
        low=_crossing(lambda d: z(d) - critical, -1.0, estimate),
        high=_crossing(lambda d: z(d) + critical, estimate, 1.0),
        level=confidence,
        method="tango",
    )


def tango_z(control_only: int, treatment_only: int, pairs: int, difference: float) -> float:
    """Return Tango's score statistic at a hypothetical difference of paired proportions."""
    b, c, n = control_only, treatment_only, pairs
    quadratic = 2.0 * n
    linear = -b - c + (2 * n - c + b) * difference
    constant = -b * difference * (1 - difference)
    root = math.sqrt(max(linear**2 - 4 * quadratic * constant, 0.0))
    q = (root - linear) / (2 * quadratic)
    variance = n * (2 * q + difference * (1 - difference))
    distance = c - b - n * difference
    if variance <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def miettinen_nurminen(
    control: tuple[int, int], treatment: tuple[int, int], *, confidence: float = 0.95
) -> Interval:
    """Compute the score interval for a difference of two independent proportions.

    Parameters
    ----------
    control, treatment : (successes, trials)

    References
    ----------
    .. [1] O. Miettinen, M. Nurminen, Statistics in Medicine 4(2), 213-226, 1985, equations 7-9.
    """
    from scipy import special

    check_confidence(confidence)
    (x0, n0), (x1, n1) = control, treatment
    critical = float(special.ndtri((1 + confidence) / 2))

    def z(difference: float) -> float:
        return score_z(x0, n0, x1, n1, difference)

    estimate = x1 / n1 - x0 / n0
    return Interval(
        low=_crossing(lambda d: z(d) - critical, -1.0, estimate),
        high=_crossing(lambda d: z(d) + critical, estimate, 1.0),
        level=confidence,
        method="miettinen_nurminen",
    )


def newcombe(
    control: tuple[int, int], treatment: tuple[int, int], *, confidence: float = 0.95
) -> Interval:
    """Compute Newcombe's hybrid score interval for a difference of independent proportions.

    References
    ----------
    .. [1] R. G. Newcombe, Statistics in Medicine 17(8), 873-890, 1998, method 10.
    """
    (x0, n0), (x1, n1) = control, treatment
    p0, p1 = x0 / n0, x1 / n1
    l0, u0 = _ends(proportion_interval(x0, n0, confidence=confidence))
    l1, u1 = _ends(proportion_interval(x1, n1, confidence=confidence))
    return Interval(
        low=p1 - p0 - math.hypot(p1 - l1, u0 - p0),
        high=p1 - p0 + math.hypot(u1 - p1, p0 - l0),
        level=confidence,
        method="newcombe",
    )


def agresti_caffo(
    control: tuple[int, int], treatment: tuple[int, int], *, confidence: float = 0.95
) -> Interval:
    """Compute the Wald interval after adding one success and one failure to each arm.

    References
    ----------
    .. [1] A. Agresti, B. Caffo, The American Statistician 54(4), 280-288, 2000.
    """
    from scipy import special

    check_confidence(confidence)
    (x0, n0), (x1, n1) = control, treatment
    p0, p1 = (x0 + 1) / (n0 + 2), (x1 + 1) / (n1 + 2)
    se = math.sqrt(p0 * (1 - p0) / (n0 + 2) + p1 * (1 - p1) / (n1 + 2))
    half = float(special.ndtri((1 + confidence) / 2)) * se
    return Interval(
        low=max(-1.0, p1 - p0 - half),
        high=min(1.0, p1 - p0 + half),
        level=confidence,
        method="agresti_caffo",
    )


def newcombe_paired(
    both: int, control_only: int, treatment_only: int, neither: int, *, confidence: float = 0.95
) -> Interval:
    """Compute Newcombe's interval for a difference of paired proportions.

    Notes
    -----
    Wilson limits of both proportions, combined with phi; where ad - bc > 0, n / 2 is taken from it
    for continuity, down to 0.

    References
    ----------
    .. [1] R. G. Newcombe, Statistics in Medicine 17(22), 2635-2650, 1998, method 10.
    """
    a, b, c, d = both, control_only, treatment_only, neither
    n = a + b + c + d
    if n < 1 or min(a, b, c, d) < 0:
        raise ValueError(f"the four counts must be >= 0 and not all 0, got {(a, b, c, d)}")
    p0, p1 = (a + b) / n, (a + c) / n
    l0, u0 = _ends(proportion_interval(a + b, n, confidence=confidence))
    l1, u1 = _ends(proportion_interval(a + c, n, confidence=confidence))
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    cross = a * d - b * c
    if cross > 0:
        cross = max(cross - n / 2, 0)  # type: ignore[assignment]  # an int or a half
    correlation = cross / math.sqrt(margins) if margins else 0.0

    def reach(first: float, second: float) -> float:
        return math.sqrt(max(0.0, first**2 - 2 * correlation * first * second + second**2))

    return Interval(
        low=p1 - p0 - reach(p1 - l1, u0 - p0),
        high=p1 - p0 + reach(u1 - p1, p0 - l0),
        level=confidence,
        method="newcombe paired",
    )


def score_z(x0: int, n0: int, x1: int, n1: int, difference: float) -> float:
    """Return the score statistic at a difference, variance with N / (N - 1)."""
    p0, p1 = _restricted(x0, n0, x1, n1, difference)
    total = n0 + n1
    variance = (p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0) * total / (total - 1)
    distance = x1 / n1 - x0 / n0 - difference
    if variance <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def _restricted(x0: int, n0: int, x1: int, n1: int, difference: float) -> tuple[float, float]:
    """Return the maximum likelihood estimates of both proportions given their difference."""
    total, successes = n0 + n1, x0 + x1
    l3 = total
    l2 = (n1 + 2 * n0) * difference - total - successes
    l1 = (n0 * difference - total - 2 * x0) * difference + successes
    l0 = x0 * difference * (1 - difference)
    q = l2**3 / (27 * l3**3) - l1 * l2 / (6 * l3**2) + l0 / (2 * l3)
    p = math.copysign(math.sqrt(max(l2**2 / (9 * l3**2) - l1 / (3 * l3), 0.0)), q)
    ratio = 0.0 if p == 0 else min(1.0, max(-1.0, q / p**3))
    angle = (math.pi + math.acos(ratio)) / 3
    p0 = min(1.0, max(0.0, 2 * p * math.cos(angle) - l2 / (3 * l3)))
    return p0, min(1.0, max(0.0, p0 + difference))


def _crossing(f: Callable[[float], float], low: float, high: float) -> float:
    """Return where a decreasing function crosses zero; the end that it does not reach otherwise."""
    from scipy.optimize import brentq

    tiny = 1e-12
    left, right = max(low, -1 + tiny), min(high, 1 - tiny)
    if left >= right or f(left) <= 0:
        return low
    if f(right) >= 0:
        return high
    return float(brentq(f, left, right, xtol=1e-14))


def _ends(interval: Interval) -> tuple[float, float]:
    if interval.low is None or interval.high is None:
        raise ValueError("this interval has no limits")
    return interval.low, interval.high
