"""Latencies that change with time: a distribution whose scale moves from request to request."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from crucible_hedging.simulate import Distribution

Floats = NDArray[np.float64]
Kind = Literal["regimes", "days", "incident", "steady"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A latency distribution with a scale of its own for each request.

    Attributes
    ----------
    base : Distribution
    scale : float array (requests,), > 0
    """

    base: "Distribution"
    scale: Floats

    def sf(self, x: ArrayLike, /) -> Any:
        """Return P(X > x) of each request; x is one number or one for each."""
        return self.base.sf(np.asarray(x, dtype=float) / self.scale)

    def ppf(self, p: ArrayLike, /) -> Any:
        """Return the quantile of each request; the last axis of p is the requests'."""
        return np.asarray(self.base.ppf(p)) * self.scale


def scales(kind: Kind, n: int, *, factor: float, sojourn: int, rng: np.random.Generator) -> Floats:
    """Return the scale of each request.

    Parameters
    ----------
    kind : {"regimes", "days", "incident", "steady"}
        "regimes" starts at 1 and switches between 1 and `factor`; "days" is a sine of the
        logarithm between 1 and `factor`, one day being four sojourns, that starts at 1; "incident"
        is `factor` during one sojourn that begins at random after the first; "steady" is 1.
    n : int
        Requests.
    factor : float, > 0
    sojourn : int, >= 1
        Requests that a regime lasts on average.

    Raises
    ------
    ValueError
        For an unknown kind.
    """
    at = np.arange(n)
    if kind == "steady":
        return np.ones(n)
    if kind == "regimes":
        changed = np.cumsum(rng.random(n) < 1 / sojourn)
        return np.where(changed % 2 == 0, 1.0, factor)
    if kind == "days":
        height = (1 - np.cos(2 * np.pi * at / (4 * sojourn))) / 2
        days: Floats = np.exp(np.log(factor) * height)
        return days
    if kind == "incident":
        start = int(rng.integers(sojourn, max(sojourn + 1, n - sojourn)))
        return np.where((at >= start) & (at < start + sojourn), factor, 1.0)
    raise ValueError(f"`kind` must be one of {', '.join(KINDS)}, got {kind!r}")
