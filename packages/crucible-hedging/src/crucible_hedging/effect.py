"""How much shorter a percentile is than it would have been without backups, with an interval."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeEffect:
    """The effect of hedging on one percentile, measured on live requests.

    Attributes
    ----------
    percentile : float
    unhedged_s, hedged_s : float or None
        The percentile of the primaries to their end, and that of the requests.
    ratio, low, high : float or None
        hedged_s / unhedged_s with its interval; below 1 where hedging helps.
    confidence : float
    n : int
        Answered requests.
    explored : int
        Beaten primaries that were seen to their end.
    reason : str or None
        Why the ratio is None.
    """

    percentile: float
    unhedged_s: float | None
    hedged_s: float | None
    ratio: float | None
    low: float | None
    high: float | None
    confidence: float
    n: int
    explored: int
    reason: str | None

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record."""
        return asdict(self)


class Sample:
    """One request: its primary's latency, cut short or not, and its own; NaN where there is none.

    `explored` marks a beaten primary that was seen to its end, `open` one that still runs.
    """

    __slots__ = ("censored", "explored", "open", "primary_s", "total_s")

    def __init__(self, primary_s: float, *, censored: bool, total_s: float) -> None:
        self.primary_s, self.censored, self.total_s = primary_s, censored, total_s
        self.explored = self.open = False

    def frozen(self) -> "Sample":
        """Return it as it is now, while the end of a loser that runs on may still change it."""
        if not self.open:
            return self
        copy = Sample(self.primary_s, censored=self.censored, total_s=self.total_s)
        return copy


def measure_effect(
    samples: Sequence[Sample],
    *,
    percentile: float = 99,
    confidence: float = 0.95,
    draws: int = 500,
    seed: int = 0,
) -> HedgeEffect:
    """Compare a percentile of the requests with that of their primaries.

    Notes
    -----
    A beaten primary is censored when it is beaten, except for the explored ones, of which the true
    latency is known; beaten or not does not depend on how long the primary would have taken if the
    copies are independent, and then the Kaplan-Meier curve of the primaries is consistent. Both
    percentiles are the smallest value at which the curve falls to 1 - p. The interval is the
    percentile bootstrap over requests; a draw whose curve does not fall that far counts as 0.
    """
    import numpy as np

    primary = np.array([s.primary_s for s in samples], dtype=float)
    total = np.array([s.total_s for s in samples], dtype=float)
    cut = np.array([s.censored for s in samples], dtype=bool)
    explored = sum(s.explored for s in samples)
    answered = np.flatnonzero(~np.isnan(total))
    n, p = answered.size, percentile / 100

    def unknown(reason: str) -> HedgeEffect:
        return HedgeEffect(
            percentile=percentile, unhedged_s=None, hedged_s=None, ratio=None, low=None, high=None,
            confidence=confidence, n=n, explored=explored, reason=reason,
        )  # fmt: skip

    needed = math.ceil(10 / (1 - p) - 1e-9)
    if n < needed:
        return unknown(f"{n} answered requests; P{percentile:g} needs {needed}")
    if explored == 0 and cut.any():
        return unknown(
            "no beaten primary was seen to its end: use the hedger in `async with`, with "
            "`explore` above 0"
        )
    seen = np.flatnonzero(~np.isnan(primary))
    by_primary = seen[np.lexsort((cut[seen], primary[seen]))]  # ties: events before censorings
    by_total = answered[np.argsort(total[answered], kind="stable")]
    times, events, totals = primary[by_primary], ~cut[by_primary], total[by_total]

    def percentiles(counts: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> tuple[float, float]:
        weights = counts[by_primary]
        at_risk = weights.sum() - np.cumsum(weights) + weights
        alive = np.cumprod(1 - np.where(events, weights, 0.0) / np.maximum(at_risk, 1.0))
        fallen = int(np.argmax(alive <= 1 - p + 1e-12))
        unhedged = float(times[fallen]) if alive[fallen] <= 1 - p + 1e-12 else math.inf
        mass = np.cumsum(counts[by_total])
        hedged = float(totals[np.searchsorted(mass, p * mass[-1] * (1 - 1e-12))])
        return unhedged, hedged

    unhedged_s, hedged_s = percentiles(np.ones(len(samples)))
    if unhedged_s == math.inf:
        return unknown("too few beaten primaries were seen to their end for that percentile")
    rng = np.random.default_rng(seed)
    ratios = np.empty(draws)
    size = len(samples)
    for i in range(draws):
        counts = np.bincount(rng.integers(size, size=size), minlength=size).astype(float)
        base, short = percentiles(counts)
        ratios[i] = short / base if base > 0 else math.nan
    low, high = np.nanquantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return HedgeEffect(
        percentile=percentile,
        unhedged_s=unhedged_s,
        hedged_s=hedged_s,
        ratio=hedged_s / unhedged_s if unhedged_s > 0 else None,
        low=low,
        high=high,
        confidence=confidence,
        n=n,
        explored=explored,
        reason=None if unhedged_s > 0 else "the percentile without backups is 0 s",
    )
