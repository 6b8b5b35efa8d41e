"""The optimal delay and probability of a backup, from survival functions."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crucible_hedging.survival import Floats, Survival

_SLACK = 1e-12  # rounding of a product of some thousand factors


def single_r(
    curve: Survival, again: Survival, *, budget: float, percentile: float, tie: float = 0.0
) -> tuple[float, float, float] | None:
    """Return the best (delay, probability, predicted percentile); None if there is none.

    `curve` is the survival function of the primary, `again` that of the backup. Plans that lose at
    most the share `tie` of the best plan's gain are as good; of those, the latest is returned.
    """
    edge = curve.quantile(1 - budget)
    if edge == math.inf:
        return None
    start = curve.quantile(1 - 2 * budget)
    early = _geometric(curve, 2 * budget, 32)
    late = _evenly(curve.times[(curve.times >= start) & (curve.times <= edge)], 96)
    delays = np.concatenate(([0.0], early, late))
    with np.errstate(divide="ignore"):
        shares = np.minimum(1.0, budget / curve(delays))
    reached = _percentile(curve, again, delays, shares, 1 - percentile / 100)
    if reached.min() == math.inf:
        return None
    smallest = reached.min()
    gain = max(min(curve.quantile(percentile / 100), curve.times[-1]) - smallest, 0.0)
    as_good = np.flatnonzero(reached <= smallest + tie * gain)
    best = as_good[np.argmax(delays[as_good])]
    return float(delays[best]), float(shares[best]), float(reached[best])


def _percentile(
    curve: Survival, again: Survival, delays: Floats, shares: Floats, tail: float
) -> Floats:
    """Return for each (d, q) the smallest t with S(t) (1 - q + q S_b(t - d)) <= tail.

    The left side is a falling step function of t, with steps at the times of S and at d + those of
    S_b; each kind is searched by bisection, for all (d, q) at once.
    """

    def at_primary(i: NDArray[np.int64]) -> NDArray[np.bool_]:
        rest = 1 - shares + shares * again(curve.times[i] - delays)
        return curve.values[i] * rest <= tail + _SLACK

    def at_backup(j: NDArray[np.int64]) -> NDArray[np.bool_]:
        rest = 1 - shares + shares * again.values[j]
        return curve(delays + again.times[j]) * rest <= tail + _SLACK

    primary = _first(curve.times.size, delays.size, at_primary)
    backup = _first(again.times.size, delays.size, at_backup)
    reached: Floats = np.minimum(
        np.append(curve.times, np.inf)[primary], delays + np.append(again.times, np.inf)[backup]
    )
    return reached


def _first(
    steps: int, n: int, holds: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> NDArray[np.int64]:
    """Return n smallest step numbers for which `holds` is true; `steps` where it never is."""
    low, high = np.zeros(n, dtype=np.int64), np.full(n, steps, dtype=np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        good = holds(np.minimum(middle, steps - 1)) & (low < high)
        high = np.where(good, middle, high)
        low = np.where(good | (low >= high), low, middle + 1)
    return low


def _geometric(curve: Survival, down_to: float, most: int) -> Floats:
    """Return the times at which the curve has fallen by 1, 2, ... of `most` equal factors."""
    if down_to >= 1:
        return curve.times[:0]
    heights = down_to ** (np.arange(1, most + 1) / most)
    at = np.searchsorted(-curve.values, -heights - _SLACK)  # the first value <= height
    times: Floats = np.unique(curve.times[at[at < curve.times.size]])
    return times


def _evenly(times: Floats, most: int) -> Floats:
    """Return at most that many of them, from first to last."""
    if times.size <= most:
        return times
    chosen: Floats = times[np.linspace(0, times.size - 1, most).round().astype(int)]
    return chosen
