"""Latency distributions in units of their median, for theory and simulation."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Distribution(Protocol):
    """A distribution of latencies; a frozen one of scipy.stats fits."""

    def sf(self, x: ArrayLike, /) -> Any:
        """Return P(X > x)."""
        ...

    def ppf(self, p: ArrayLike, /) -> Any:
        """Return the smallest x with P(X <= x) >= p."""
        ...


@dataclass(frozen=True, slots=True)
class Lognormal:
    """exp(s Z) with median `scale`; s = 1 is a typical service under load.

    Examples
    --------
    >>> [round(float(Lognormal(1).ppf(p)), 2) for p in (0.5, 0.95, 0.99)]
    [1.0, 5.18, 10.24]
    """

    s: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check(s=self.s, scale=self.scale)

    def sf(self, x: ArrayLike, /) -> Floats:
        """Return P(X > x)."""
        from scipy.special import ndtr

        with np.errstate(divide="ignore"):
            z = np.log(np.maximum(np.asarray(x, dtype=float) / self.scale, 0.0)) / self.s
        tail: Floats = ndtr(-z)
        return tail

    def ppf(self, p: ArrayLike, /) -> Floats:
        """Return the quantile."""
        from scipy.special import ndtri

        quantile: Floats = self.scale * np.exp(self.s * ndtri(p))
        return quantile


@dataclass(frozen=True, slots=True)
class Pareto:
    """P(X > x) falls like x^-alpha; the median is `scale`.

    Examples
    --------
    >>> [round(float(Pareto(1.5).ppf(p)), 2) for p in (0.5, 0.95, 0.99)]
    [1.0, 4.64, 13.57]
    """

    alpha: float = 1.5
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check(alpha=self.alpha, scale=self.scale)

    @property
    def _least(self) -> float:
        return float(self.scale * 0.5 ** (1 / self.alpha))

    def sf(self, x: ArrayLike, /) -> Floats:
        """Return P(X > x)."""
        tail: Floats = (np.maximum(np.asarray(x, dtype=float), self._least) / self._least) ** (
            -self.alpha
        )
        return tail

    def ppf(self, p: ArrayLike, /) -> Floats:
        """Return the quantile."""
        quantile: Floats = self._least * (1 - np.asarray(p, dtype=float)) ** (-1 / self.alpha)
        return quantile


@dataclass(frozen=True, slots=True)
class Stragglers:
    """A lognormal body with median `scale`, of which a `share` takes `factor` times as long.

    Examples
    --------
    >>> [round(float(Stragglers(0.05, 10, 0.25).ppf(p)), 2) for p in (0.5, 0.95, 0.99)]
    [1.02, 3.41, 12.34]
    """

    share: float = 0.05
    factor: float = 10.0
    s: float = 0.25
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check(factor=self.factor, s=self.s, scale=self.scale)
        if isinstance(self.share, bool) or not 0 <= self.share <= 1:
            raise ValueError(f"`share` must be in [0, 1], got {self.share}")

    def sf(self, x: ArrayLike, /) -> Floats:
        """Return P(X > x)."""
        body = Lognormal(self.s, self.scale)
        slow = Lognormal(self.s, self.scale * self.factor)
        tail: Floats = (1 - self.share) * body.sf(x) + self.share * slow.sf(x)
        return tail

    def ppf(self, p: ArrayLike, /) -> Floats:
        """Return the quantile, by bisection between the quantiles of the two parts."""
        from scipy.special import ndtr, ndtri

        p = np.asarray(p, dtype=float)
        step = math.log(self.factor) / self.s  # between the parts, in standard deviations
        z = ndtri(p)
        low, high = np.minimum(z, z + step), np.maximum(z, z + step)
        for _ in range(40):
            middle = (low + high) / 2
            above = (1 - self.share) * ndtr(-middle) + self.share * ndtr(step - middle) > 1 - p
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        quantile: Floats = self.scale * np.exp(self.s * np.asarray(high, dtype=float))
        return quantile


def _check(**numbers: float) -> None:
    for name, number in numbers.items():
        if isinstance(number, bool) or not 0 < number < math.inf:
            raise ValueError(f"`{name}` must be a finite number > 0, got {number}")
