"""Confidence sequences for the mean of bounded values, by betting against each candidate mean."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, scores


class Betting:
    """Hedged capital against each mean on a grid over [0, 1], one value at a time.

    Notes
    -----
    Predictable plug-in bets lambda_t = sqrt(2 log(2 / alpha) / (variance_{t-1} t log(t + 1))), with
    mean and variance started at 1/2 and 1/4 as one pseudo-observation, cut so that no bet can lose
    more than half of the capital [1]_. A mean is excluded for good once the larger half of the
    capital against it reaches 1 / alpha; limits are rounded outward to the grid. Should every mean
    be excluded, which happens with probability alpha at most, the last limits stay.

    References
    ----------
    .. [1] I. Waudby-Smith, A. Ramdas, JRSS B 86(1), 1-27, 2024, theorem 3.
    """

    __slots__ = ("_alive", "_down", "_grid", "_high", "_low", "_means", "_n", "_spread", "_sum",
                 "_up", "alpha")  # fmt: skip

    def __init__(self, *, alpha: float, grid: int) -> None:
        if grid < 2 or grid % 2:
            raise ValueError(f"`grid` must be even and >= 2, got {grid}")
        self.alpha = alpha
        self._grid = grid
        self._means = np.arange(grid + 1) / grid
        self._up = np.zeros(grid + 1)  # log capital of betting on a larger mean
        self._down = np.zeros(grid + 1)  # and on a smaller one
        self._alive = np.ones(grid + 1, dtype=bool)
        self._n, self._sum, self._spread = 0, 0.5, 0.25
        self._low, self._high = 0.0, 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """The limits after the values so far."""
        return self._low, self._high

    def log_capital(self) -> tuple[float, float]:
        """Return the log capital against a mean of 1/2, on a larger mean and on a smaller one."""
        middle = self._grid // 2
        return (
            float(self._up[middle]) - math.log(2),
            float(self._down[middle]) - math.log(2),
        )

    def update(self, value: float) -> None:
        """Bet on one value in [0, 1]."""
        self._n += 1
        variance = self._spread / self._n
        scale = variance * self._n * math.log(self._n + 1)
        bet = math.sqrt(2 * math.log(2 / self.alpha) / scale)
        with np.errstate(divide="ignore"):
            up = np.minimum(bet, 0.5 / self._means)
            down = np.minimum(bet, 0.5 / (1 - self._means))
        distance = value - self._means
        self._up += np.log1p(up * distance)
        self._down += np.log1p(-down * distance)
        self._sum += value
        self._spread += (value - self._sum / (self._n + 1)) ** 2
        against = np.maximum(self._up, self._down) - math.log(2)
        self._alive &= against < -math.log(self.alpha)
        left = np.flatnonzero(self._alive)
        if left.size:
            self._low = max(0, int(left[0]) - 1) / self._grid
            self._high = min(self._grid, int(left[-1]) + 1) / self._grid

    def to_dict(self) -> dict[str, Any]:
        """Return everything that the next value needs; floats survive JSON to the bit."""
        return {
            "alpha": self.alpha,
            "grid": self._grid,
            "n": self._n,
            "sum": self._sum,
            "spread": self._spread,
            "low": self._low,
            "high": self._high,
            "up": self._up.tolist(),
            "down": self._down.tolist(),
            "alive": self._alive.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Betting":
        """Return the state that `to_dict` wrote."""
        bets = cls(alpha=data["alpha"], grid=data["grid"])
        bets._n, bets._sum, bets._spread = data["n"], data["sum"], data["spread"]
        bets._low, bets._high = data["low"], data["high"]
        bets._up, bets._down = np.array(data["up"]), np.array(data["down"])
        bets._alive = np.array(data["alive"], dtype=bool)
        return bets


def confidence_sequence(
    values: ArrayLike,
    *,
    bounds: tuple[float, float],
    confidence: float = 0.95,
    method: Literal["betting"] = "betting",
    grid: int = 1_000,
) -> Array:
    """Compute intervals for a mean that hold at every n at once, so that one may stop anywhere.

    Parameters
    ----------
    values : (n,) array, within `bounds`
        In the order of arrival, each with the same mean given the past.
    bounds : (float, float)
        The smallest and largest possible value, known beforehand and not taken from the data.
    confidence : float, in (0, 1)
        Of all n intervals together.
    grid : int, even, >= 2
        Number of steps between the bounds to which limits are rounded, outward.

    Returns
    -------
    (n, 2) array
        Lower and upper limit after each value.

    References
    ----------
    .. [1] I. Waudby-Smith, A. Ramdas, JRSS B 86(1), 1-27, 2024, theorem 3.

    Examples
    --------
    >>> confidence_sequence([1, 0, 1, 1, 1, 0, 1, 1, 1, 1], bounds=(0, 1))[-1].tolist()
    [0.36, 1.0]
    """
    check_confidence(confidence)
    if method != "betting":
        raise ValueError(f'`method` must be "betting", got {method!r}')
    low, high = check_bounds(bounds)
    array = scores("values", values, minimum=1)
    if array.ndim != 1:
        raise ValueError(f"`values` must have one dimension, got {array.ndim}")
    outside = np.flatnonzero((array < low) | (array > high))
    if outside.size:
        where = int(outside[0])
        raise ValueError(f"`values` must be within {bounds}, got {array[where]:g} at index {where}")
    bets = Betting(alpha=1 - confidence, grid=grid)
    limits = np.empty((array.size, 2))
    for i, value in enumerate(((array - low) / (high - low)).tolist()):
        bets.update(value)
        limits[i] = bets.interval
    return low + (high - low) * limits


def check_bounds(bounds: tuple[float, float]) -> tuple[float, float]:
    """Return finite, increasing bounds."""
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"`bounds` must be finite and increasing, got {bounds}")
    return float(low), float(high)
