"""Before a figure is believed: which answers the race prefers, and how sure a P99 is."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np

from crucible_hedging.delays.fixed import check_delay_s
from crucible_hedging.errors import InsufficientDataError
from crucible_hedging.pairs import block_counts
from crucible_hedging.shadow import ShadowRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionBias:
    """The mean of a measure over the answers without and with hedging, on the same pairs."""

    unhedged_mean: float
    hedged_mean: float
    difference: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record."""
        return asdict(self)


def selection_bias(
    log: Iterable[ShadowRecord],
    *,
    delay_s: float,
    measure: str,
    confidence: float = 0.95,
    seed: int = 0,
) -> SelectionBias:
    """Compare a measure of the answers that hedging returns with that of the primaries.

    Parameters
    ----------
    log : ShadowLog or iterable of ShadowRecord
    delay_s : float, >= 0
    measure : str
        A name in the records' measures, such as tokens or correctness.
    confidence : float, in (0, 1)
    seed : int

    Raises
    ------
    InsufficientDataError
        If no pair has the measure on both sides.

    Notes
    -----
    Where the length of an answer decides its latency, a race prefers short answers. The interval
    is 2,000 draws of a circular block bootstrap over the differences.
    """
    check_delay_s(delay_s, name="delay_s")
    if isinstance(confidence, bool) or not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1), got {confidence}")
    rows = [
        (r.primary_measures[measure], r.backup_measures[measure], r.primary_s, r.backup_s)
        for r in log
        if r.primary_ok and r.backup_ok
        and not r.primary_censored and not r.backup_censored
        and measure in r.primary_measures and measure in r.backup_measures
    ]  # fmt: skip
    if not rows:
        raise InsufficientDataError(0, 1)
    own, other, primary, backup = np.array(rows, dtype=float).T
    hedged = np.where((primary > delay_s) & (delay_s + backup < primary), other, own)
    n = own.size
    block = math.ceil(n ** (1 / 3) - 1e-9)
    draws = block_counts(n, block=block, draws=2_000, seed=seed) @ (hedged - own) / n
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return SelectionBias(
        unhedged_mean=float(own.mean()),
        hedged_mean=float(hedged.mean()),
        difference=float((hedged - own).mean()),
        low=low,
        high=high,
        n=n,
    )


def quantile_precision(
    latencies: Sequence[float], *, percentile: float = 99, n: int | None = None
) -> float:
    """Return the relative standard error of a percentile that is measured with n requests.

    Parameters
    ----------
    latencies : sequence of float, > 0, at least 100
    percentile : float, in [50, 100)
    n : int, >= 1, optional
        As many as there are latencies if not given.

    Raises
    ------
    InsufficientDataError
        If there are fewer than 100 latencies, or fewer than 10 above the percentile.

    Notes
    -----
    sqrt(p (1 - p) / n) / f, where f is the density of the logarithm at the percentile, estimated
    from the distance of two quantiles around it with the bandwidth of Hall and Sheather [1]_. For a
    lognormal it is s sqrt(p (1 - p)) / (phi(z_p) sqrt(n)).

    References
    ----------
    .. [1] P. Hall, S. J. Sheather, JRSS B 50(3), 381-391, 1988.
    """
    if isinstance(percentile, bool) or not 50 <= percentile < 100:
        raise ValueError(f"`percentile` must be in [50, 100), got {percentile}")
    if n is not None and (isinstance(n, bool) or n < 1):
        raise ValueError(f"`n` must be >= 1, got {n}")
    x = np.asarray(latencies, dtype=float)
    if x.size and not ((x > 0) & np.isfinite(x)).all():
        raise ValueError("`latencies` must be finite numbers > 0")
    p = percentile / 100
    needed = max(100, math.ceil(10 / (1 - p) - 1e-9))
    if x.size < needed:
        raise InsufficientDataError(x.size, needed)
    normal = NormalDist()
    z = normal.inv_cdf(p)
    bandwidth = (
        x.size ** (-1 / 3)
        * normal.inv_cdf(0.975) ** (2 / 3)
        * (1.5 * normal.pdf(z) ** 2 / (2 * z * z + 1)) ** (1 / 3)
    )
    h = min(bandwidth, (1 - p) / 2)
    below, above = np.log(np.quantile(x, [p - h, p + h]))
    return float((above - below) / (2 * h) * math.sqrt(p * (1 - p) / (n or x.size)))
