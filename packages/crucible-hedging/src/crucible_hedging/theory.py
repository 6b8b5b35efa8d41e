"""What hedging can buy at best: quantiles of the race, and the best plan under a budget."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from crucible_hedging.delays.fixed import check_delay_s
from crucible_hedging.delays.policy import DelayPolicy
from crucible_hedging.distributions import Distribution, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """The best that a budget can buy when the distribution is known.

    Attributes
    ----------
    base_s : float
        The percentile without backups.
    single_delay_s, single_d_s : float
        SingleD: always a backup after Q(1 - budget), and the percentile that this gives.
    single_r_s : float
        SingleR: the percentile of the best (delay, probability).
    delay_s, probability : float
        That plan.
    reductions : mapping of str to float
        1 - hedged / base, of "single_d" and "single_r".
    """

    base_s: float
    single_delay_s: float
    single_d_s: float
    single_r_s: float
    delay_s: float
    probability: float
    reductions: Mapping[str, float]

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record."""
        return asdict(self)

    def policy(self, *, seed: int = 0) -> DelayPolicy:
        """Return a policy that follows the plan, to be run beside one that has to learn it."""
        return _Planned(self.delay_s, self.probability, seed)


class _Planned:
    """Wait a given time with a given probability."""

    def __init__(self, delay_s: float, probability: float, seed: int) -> None:
        self._delay_s, self.probability, self._coin = delay_s, probability, random.Random(seed)
        self.name = f"planned({delay_s:g} s, {probability:g})"

    def delay(self) -> float:
        toss = self._coin.random()
        return self._delay_s if toss < self.probability else math.inf

    def observe(self, latency_s: float, *, censored: bool, attempt: int = 0) -> None:
        """Learn nothing."""


def hedged_quantile(
    dist: Distribution, *, delays: Sequence[float], percentile: float, probability: float = 1.0
) -> float:
    """Return a percentile of the first answer among independent copies.

    Parameters
    ----------
    dist : Distribution
        Anything with `sf` and `ppf`.
    delays : sequence of float, >= 0
        When each backup starts, in seconds after the primary.
    percentile : float, in (0, 100)
    probability : float, in [0, 1]
        Of sending the backups at all, one coin for the request.

    Notes
    -----
    The race is longer than t with probability S(t) (1 - q + q prod S(t - d_i)).

    Examples
    --------
    >>> from crucible_hedging.simulate import Lognormal
    >>> d = float(Lognormal(1).ppf(0.95))  # 6.67 instead of 10.24
    >>> round(hedged_quantile(Lognormal(1), delays=[d], percentile=99), 2)
    6.67
    """
    check_percentile(percentile)
    check_share(probability, "probability")
    starts = [check_delay_s(delay, name="delays") for delay in delays]
    return float(_quantiles(dist, np.array([starts]), np.array([probability]), percentile)[0])


def oracle(dist: Distribution, *, budget: float, percentile: float = 99) -> Oracle:
    """Return the best plan for a known distribution.

    Parameters
    ----------
    dist : Distribution
    budget : float, in (0, 1)
        Backups per request.
    percentile : float, in (0, 100)

    References
    ----------
    .. [1] T. Kaler, Y. He, S. Elnikety, Optimal reissue policies for reducing tail latency,
       SPAA 2017.
    """
    check_percentile(percentile)
    if isinstance(budget, bool) or not 0 < budget < 1:
        raise ValueError(f"`budget` must be in (0, 1), got {budget}")
    base_s = float(dist.ppf(percentile / 100))
    edge = float(dist.ppf(1 - budget))
    single_d_s = float(_quantiles(dist, np.array([[edge]]), np.array([1.0]), percentile)[0])
    low, high = np.log(budget), -1e-9  # log S(d)
    delay_s, probability, best = edge, 1.0, single_d_s
    for _ in range(4):  # each time around the best of 400, ever closer
        heights = np.linspace(low, high, 400)
        delays = np.asarray(dist.ppf(1 - np.exp(heights)), dtype=float)
        shares = np.minimum(1.0, budget / np.asarray(dist.sf(delays), dtype=float))
        reached = _quantiles(dist, delays[:, None], shares, percentile)
        i = int(np.argmin(reached))
        if reached[i] < best:
            delay_s, probability, best = float(delays[i]), float(shares[i]), float(reached[i])
        step = heights[1] - heights[0]
        low, high = max(np.log(budget), heights[i] - step), min(-1e-9, heights[i] + step)
    return Oracle(
        base_s=base_s,
        single_delay_s=edge,
        single_d_s=single_d_s,
        single_r_s=best,
        delay_s=delay_s,
        probability=probability,
        reductions={"single_d": 1 - single_d_s / base_s, "single_r": 1 - best / base_s},
    )


def _quantiles(dist: Distribution, delays: Floats, shares: Floats, percentile: float) -> Floats:
    """Return the percentile for each row of delays and its probability, by bisection."""
    tail = 1 - percentile / 100
    low = np.zeros(len(shares))
    high = np.full(len(shares), float(dist.ppf(percentile / 100)))  # no backup makes it longer
    for _ in range(60):
        middle = (low + high) / 2
        behind = middle[:, None] - delays
        # Before its start no copy has answered, whatever the distribution says of negative times.
        copies = np.where(behind <= 0, 1.0, np.asarray(dist.sf(np.maximum(behind, 0.0))))
        alive = np.asarray(dist.sf(middle)) * (1 - shares + shares * copies.prod(axis=1))
        low, high = np.where(alive > tail, middle, low), np.where(alive > tail, high, middle)
    return np.asarray(high, dtype=float)


def check_percentile(percentile: float) -> None:
    """Raise unless it is in (0, 100)."""
    if isinstance(percentile, bool) or not 0 < percentile < 100:
        raise ValueError(f"`percentile` must be in (0, 100), got {percentile}")


def check_share(share: float, name: str) -> None:
    """Raise unless it is in [0, 1]."""
    if isinstance(share, bool) or not 0 <= share <= 1:
        raise ValueError(f"`{name}` must be in [0, 1], got {share}")
