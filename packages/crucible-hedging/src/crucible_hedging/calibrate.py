"""A delay and a probability from a paired log, judged on the part that did not choose them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial

from crucible_hedging.errors import InsufficientDataError
from crucible_hedging.shadow import ShadowRecord

_NEEDED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The plan that the first part of a log chose, and what it does to the rest.

    Attributes
    ----------
    delay_s, probability : float
    percentile : float
    predicted_s : float
        The percentile in the part that chose.
    baseline_s : float or None
        The percentile without backups, in the rest.
    reduction, low, high : float or None
        1 - hedged / baseline in the rest, with its interval; None where cut attempts decide it.
    extra_ratio : float
        Backups per request in the rest.
    n_fit, n_test : int
        Pairs in the two parts.
    """

    delay_s: float
    probability: float
    percentile: float
    predicted_s: float
    baseline_s: float | None
    reduction: float | None
    low: float | None
    high: float | None
    extra_ratio: float
    n_fit: int
    n_test: int

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record."""
        return asdict(self)


def calibrate(
    log: Iterable[ShadowRecord],
    *,
    budget: float = 0.05,
    percentile: float = 99,
    fit_share: float = 0.5,
    confidence: float = 0.95,
    seed: int = 0,
) -> Calibration:
    """Choose a delay and a probability from the first part of a log; judge them on the rest.

    Parameters
    ----------
    log : ShadowLog or iterable of ShadowRecord
    budget : float, in (0, 1]
    percentile : float, in [50, 100)
    fit_share : float, in (0, 1)
    confidence : float, in (0, 1)
    seed : int
        Of the bootstrap.

    Raises
    ------
    InsufficientDataError
        If there are fewer than 20 pairs of which both copies answered.

    Notes
    -----
    Tried are d = 0 and up to 400 latencies of primaries up to Q(1 - budget), each with the
    probability q = min(1, budget / P(X > d)), on the pairs themselves: copies that are slow
    together promise no more than they keep. A percentile is the smallest value whose cumulative
    weight reaches it, with weights q and 1 - q for the two ways a pair may go. The interval is
    2,000 draws of a circular block bootstrap.
    """
    import numpy as np

    from crucible_hedging.pairs import Pairs, block_counts

    if isinstance(budget, bool) or not 0 < budget <= 1:
        raise ValueError(f"`budget` must be in (0, 1], got {budget}")
    if isinstance(percentile, bool) or not 50 <= percentile < 100:
        raise ValueError(f"`percentile` must be in [50, 100), got {percentile}")
    for name, share in (("fit_share", fit_share), ("confidence", confidence)):
        if isinstance(share, bool) or not 0 < share < 1:
            raise ValueError(f"`{name}` must be in (0, 1), got {share}")
    pairs = Pairs.of(log)
    if len(pairs) < _NEEDED:
        raise InsufficientDataError(len(pairs), _NEEDED)
    cut = min(max(round(len(pairs) * fit_share), 1), len(pairs) - 1)
    fit, rest = pairs.part(0, cut), pairs.part(cut, len(pairs))
    weighed = partial(replace, whole=False)  # one kind of percentile, with a coin or without
    p, once = [percentile / 100], np.ones((1, cut))
    ordered = np.sort(fit.primary)
    edge = min(int(np.ceil(cut * (1 - budget))), cut)  # Q(1 - budget): at most that many are later
    candidates = np.unique(ordered[:edge])
    if candidates.size > 400:
        candidates = candidates[np.linspace(0, candidates.size - 1, 400).round().astype(int)]
    best: tuple[float, float, float] | None = None
    for delay in [0.0, *candidates.tolist()]:
        share = float((fit.primary > delay).mean())
        q = min(1.0, budget / share) if share > 0 else 1.0
        reached = float(weighed(fit.race(delay, q)).quantiles(p, once)[0][0, 0])
        if best is None or reached <= best[2]:  # ties to the larger delay
            best = (delay, q, reached)
    assert best is not None
    delay_s, probability, predicted_s = best
    n = len(rest)
    block = int(np.ceil(n ** (1 / 3) - 1e-9))
    counts = np.concatenate((np.ones((1, n)), block_counts(n, block=block, draws=2_000, seed=seed)))
    raced = weighed(rest.race(delay_s, probability))
    base_low, base_high = weighed(rest.race(float("inf"), 1.0)).quantiles(p, counts)
    low, high = raced.quantiles(p, counts)
    known = np.array_equal(low, high) and np.array_equal(base_low, base_high)
    gains = 1 - low[:, 0] / base_low[:, 0]
    ends = np.quantile(gains[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
    return Calibration(
        delay_s=delay_s,
        probability=probability,
        percentile=float(percentile),
        predicted_s=predicted_s,
        baseline_s=float(base_low[0, 0]) if base_low[0, 0] == base_high[0, 0] else None,
        reduction=float(gains[0]) if known else None,
        low=float(ends[0]) if known else None,
        high=float(ends[1]) if known else None,
        extra_ratio=float(raced.fired.mean()),
        n_fit=cut,
        n_test=n,
    )
