"""Simulation in virtual time: what hedging buys, and when it makes everything worse.

Needs the extra `sim`. The distributions, `hedged_quantile`, `oracle` and `pool` are reached from
here too.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crucible_hedging.budget import HedgeBudget
from crucible_hedging.delays.policy import DelayPolicy, ask
from crucible_hedging.distributions import Distribution, Floats, Lognormal, Pareto, Stragglers
from crucible_hedging.pool import PoolReport, pool
from crucible_hedging.theory import Oracle, check_percentile, check_share, hedged_quantile, oracle

__all__ = [
    "Distribution",
    "Lognormal",
    "Oracle",
    "Pareto",
    "PoolReport",
    "SimReport",
    "Stragglers",
    "hedged_quantile",
    "oracle",
    "pool",
    "requests",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimReport:
    """Requests one after the other, each with its latency alone and hedged.

    Attributes
    ----------
    alone_s : (n,) array
        What the primaries take.
    hedged_s : (n,) array
        What the requests took.
    delay_s : (n,) array
        When a backup was started; inf where none was.
    busy_s : float
        What all attempts took together, losers stopped at once.
    """

    alone_s: Floats
    hedged_s: Floats
    delay_s: Floats
    busy_s: float

    @property
    def fired(self) -> NDArray[np.bool_]:
        """Where a backup was started."""
        return np.isfinite(self.delay_s)

    @property
    def extra_ratio(self) -> float:
        """Backups per request."""
        return float(self.fired.mean())

    def reduction(self, percentile: float = 99) -> float:
        """Return 1 - hedged / alone, of one percentile."""
        check_percentile(percentile)
        alone = np.percentile(self.alone_s, percentile)
        hedged = np.percentile(self.hedged_s, percentile)
        return float(1 - hedged / alone)


def requests(
    dist: Distribution,
    policy: DelayPolicy,
    *,
    n: int,
    budget: float | HedgeBudget | None = None,
    correlation: float = 0.0,
    explore: float = 0.0,
    seed: int = 0,
) -> SimReport:
    """Run `n` requests one after the other through a policy, the same object as in a live hedger.

    Parameters
    ----------
    dist : Distribution
    policy : DelayPolicy
        It learns; a second run goes on from what it knows.
    n : int, >= 1
    budget : float, HedgeBudget or None
        A bucket that is passed keeps its tokens for the next run. None: unlimited.
    correlation : float, in [-1, 1]
        Between a primary and its backup: the parameter of a Gaussian copula, the correlation of
        their normal scores.
    explore : float, in [0, 1]
        The share of beaten primaries that are seen to their end.
    seed : int

    Notes
    -----
    The latencies depend on `dist`, `n`, `correlation` and `seed` alone, so two policies with equal
    seeds see equal draws.

    Examples
    --------
    >>> from crucible_hedging import PercentileDelay
    >>> report = requests(Lognormal(1), PercentileDelay(95), n=4_000, budget=0.05, seed=1)
    >>> report.extra_ratio <= 0.05
    True
    """
    from scipy.special import ndtr

    if isinstance(n, bool) or n != int(n) or n < 1:
        raise ValueError(f"`n` must be an integer >= 1, got {n!r}")
    check_share(explore, "explore")
    if isinstance(correlation, bool) or not -1 <= correlation <= 1:
        raise ValueError(f"`correlation` must be in [-1, 1], got {correlation}")
    bucket = HedgeBudget(budget) if isinstance(budget, int | float) else budget
    draws, coins = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    z = draws.standard_normal((2, n))
    z[1] = correlation * z[0] + math.sqrt(1 - correlation * correlation) * z[1]
    primaries, backups = np.asarray(dist.ppf(ndtr(z)), dtype=float)
    seen = coins.random(n) < explore
    hedged_s, delay_s, busy_s = primaries.copy(), np.full(n, math.inf), 0.0
    settle = getattr(policy, "settle", None)

    def call() -> None: ...

    for i, (primary, backup) in enumerate(zip(primaries.tolist(), backups.tolist(), strict=True)):
        if bucket is not None:
            bucket.arrive()
        delay, _ = ask(policy, call, ())
        if delay is None or primary <= delay or (bucket is not None and not bucket.try_spend()):
            policy.observe(primary, censored=False)
            busy_s += primary
            if settle is not None:
                settle("unhedged")
            continue
        took = min(primary, delay + backup)
        won = took < primary
        hedged_s[i], delay_s[i] = took, delay
        busy_s += took + (took - delay)
        complete = not won or bool(seen[i])
        policy.observe(primary if complete else took, censored=not complete)
        policy.observe(took - delay, censored=not won, attempt=1)
        if settle is not None:
            settle("won" if won else "lost")
    return SimReport(alone_s=primaries, hedged_s=hedged_s, delay_s=delay_s, busy_s=busy_s)
