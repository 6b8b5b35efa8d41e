"""The Kaplan-Meier estimate of P(X > t) from latencies of which some were cut short."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """A right-continuous step function: 1 before `times[0]`, `values[i]` from `times[i]` on.

    Attributes
    ----------
    times : (m,) array, increasing
        The distinct latencies that were seen to their end.
    values : (m,) array, non-increasing
    """

    times: Floats
    values: Floats

    def __call__(self, t: ArrayLike) -> Floats:
        """Return P(X > t)."""
        steps = np.searchsorted(self.times, np.asarray(t, dtype=float), side="right")
        heights: Floats = np.concatenate(([1.0], self.values))[steps]
        return heights

    def quantile(self, p: float) -> float:
        """Return the smallest t with P(X > t) <= 1 - p; inf if the curve stays above."""
        if p <= 0:
            return 0.0
        # The slack absorbs the rounding of a product of some thousand factors.
        below = np.flatnonzero(self.values <= 1 - p + 1e-12)
        return float(self.times[below[0]]) if below.size else float("inf")


def kaplan_meier(latencies: ArrayLike, censored: ArrayLike) -> Survival:
    """Estimate the survival function.

    Parameters
    ----------
    latencies : (n,) array, n >= 1
    censored : (n,) array of bool
        True where the latency is a lower bound.

    Notes
    -----
    S(t) is the product over events t_i <= t of 1 - d_i / n_i, with n_i at risk just before t_i;
    a censoring at the same time as an event counts as later [1]_. Undefined beyond the longest
    latency if that one is censored: the curve stays where it is.

    References
    ----------
    .. [1] E. L. Kaplan, P. Meier, JASA 53(282), 457-481, 1958.

    Examples
    --------
    >>> kaplan_meier([1, 2, 2, 3], [False, False, True, False]).values.tolist()
    [0.75, 0.5, 0.0]
    """
    x = np.asarray(latencies, dtype=float)
    cut = np.asarray(censored, dtype=bool)
    if x.ndim != 1 or x.shape != cut.shape or x.size == 0:
        raise ValueError(
            f"`latencies` must be one-dimensional, not empty and as long as `censored`, "
            f"got shapes {x.shape} and {cut.shape}"
        )
    times, events = np.unique(x[~cut], return_counts=True)
    at_risk = x.size - np.searchsorted(np.sort(x), times, side="left")
    return Survival(times=times, values=np.cumprod(1 - events / at_risk, dtype=np.float64))
