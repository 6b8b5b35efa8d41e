"""Compare stated confidences with what turned out to be right."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from crucible_causaltrace.chain import Chain

Which = Literal["last_decision", "mean", "min"]
Strategy = Literal["uniform", "quantile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """The chains whose confidence lies in [low, high), the last bin's end included.

    The means are None where `n` is 0.
    """

    low: float
    high: float
    n: int
    mean_confidence: float | None
    mean_outcome: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How stated confidences compare with outcomes.

    `ece` is the expected and `mce` the maximal calibration error over the bins, `brier` the mean
    squared difference; `low` and `high` are the 95 % percentile bootstrap interval of `ece`. All of
    them are None if no chain has both a stated confidence and an outcome; `reason` says so.
    `n_missing` chains state no confidence and `n_without_outcome` have no known outcome; both are
    left out.
    """

    ece: float | None
    low: float | None
    high: float | None
    mce: float | None
    brier: float | None
    bins: tuple[CalibrationBin, ...]
    n: int
    n_missing: int
    n_without_outcome: int
    reason: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self) | {"bins": [asdict(one) for one in self.bins]}


def calibrate_confidence(
    chains: Iterable[Chain],
    outcomes: Mapping[str, bool],
    *,
    which: Which = "last_decision",
    bins: int = 10,
    strategy: Strategy = "uniform",
    seed: int = 0,
    resamples: int = 2_000,
) -> Calibration:
    """Compare the confidences that models stated with what turned out to be right.

    Parameters
    ----------
    chains : iterable of Chain
        With different ids. Only self-reports count: what code measured is no stated confidence.
    outcomes : mapping of chain id to bool
        Whether the chain's answer was right. Chains that are not in it are counted and left out.
    which : {"last_decision", "mean", "min"}
        The confidence of a chain: that of its last `decision_made` (not stated there is not
        stated), or the mean or the smallest of all that it states.
    bins : int, >= 1
    strategy : {"uniform", "quantile"}
        Bins of equal width, `min(floor(bins * c), bins - 1)`, or of about equal numbers; equal
        confidences share a bin, so that there may be fewer bins.
    seed : int
    resamples : int, >= 1
        Of the bootstrap over chains; the edges of the bins stay.

    Raises
    ------
    ValueError
        If an argument is out of range, or two chains have one id.

    Notes
    -----
    ECE = sum over bins of n_b / n * abs(mean outcome - mean confidence). It is biased upwards in
    small samples, and its value depends on the bins; the Brier score does not.

    References
    ----------
    .. [1] M. P. Naeini, G. F. Cooper and M. Hauskrecht, AAAI 2015, 2901-2907.
    .. [2] G. W. Brier, Monthly Weather Review 78(1), 1-3, 1950.
    """
    if which not in get_args(Which):
        raise ValueError(f"`which` must be one of {get_args(Which)}, got {which!r}")
    if strategy not in get_args(Strategy):
        raise ValueError(f"`strategy` must be one of {get_args(Strategy)}, got {strategy!r}")
    for name, value in (("bins", bins), ("resamples", resamples)):
        if value < 1:
            raise ValueError(f"`{name}` must be >= 1, got {value}")
    pairs: list[tuple[float, bool]] = []
    n_missing = n_without_outcome = 0
    seen: set[str] = set()
    for chain in chains:
        if chain.id in seen:
            raise ValueError(f"`chains` must have different ids, got {chain.id!r} twice")
        seen.add(chain.id)
        stated = _stated(chain, which)
        if chain.id not in outcomes:
            n_without_outcome += 1
        elif stated is None:
            n_missing += 1
        else:
            pairs.append((stated, bool(outcomes[chain.id])))
    if not pairs:
        return Calibration(
            ece=None, low=None, high=None, mce=None, brier=None, bins=(), n=0, n_missing=n_missing,
            n_without_outcome=n_without_outcome,
            reason="no chain has both a stated confidence and a known outcome",
        )  # fmt: skip
    edges, places = _bins([c for c, _ in pairs], bins, strategy)
    table = _table(pairs, edges, places)
    gaps = [outcome - c for c, outcome in pairs]
    rng = random.Random(seed)
    drawn = sorted(
        _ece(gaps, places, len(table), rng.choices(range(len(pairs)), k=len(pairs)))
        for _ in range(resamples)
    )
    return Calibration(
        ece=_ece(gaps, places, len(table), range(len(pairs))),
        low=_percentile(drawn, 0.025),
        high=_percentile(drawn, 0.975),
        mce=max(
            abs(one.mean_outcome - one.mean_confidence)
            for one in table
            if one.mean_outcome is not None and one.mean_confidence is not None
        ),
        brier=sum(gap * gap for gap in gaps) / len(gaps),
        bins=table,
        n=len(pairs),
        n_missing=n_missing,
        n_without_outcome=n_without_outcome,
        reason=None,
    )


def _stated(chain: Chain, which: Which) -> float | None:
    said = [event for event in chain if event.source == "self_report"]
    if which == "last_decision":
        last = next((event for event in reversed(said) if event.type == "decision_made"), None)
        return None if last is None else last.confidence
    stated = [event.confidence for event in said if event.confidence is not None]
    if not stated:
        return None
    return min(stated) if which == "min" else sum(stated) / len(stated)


def _bins(
    confidences: Sequence[float], bins: int, strategy: Strategy
) -> tuple[list[float], list[int]]:
    """Return the bins' edges and the place of each confidence among them."""
    if strategy == "uniform":
        edges = [n / bins for n in range(bins + 1)]
        return edges, [min(int(bins * c), bins - 1) for c in confidences]
    ordered = sorted(confidences)
    inner = {_percentile(ordered, n / bins) for n in range(1, bins)} - {ordered[0]}
    edges = [ordered[0], *sorted(inner), ordered[-1]]
    return edges, [bisect_right(edges[1:-1], c) for c in confidences]


def _table(
    pairs: Sequence[tuple[float, bool]], edges: Sequence[float], places: Sequence[int]
) -> tuple[CalibrationBin, ...]:
    inside: list[list[tuple[float, bool]]] = [[] for _ in edges[1:]]
    for pair, place in zip(pairs, places, strict=True):
        inside[place].append(pair)
    return tuple(
        CalibrationBin(
            low=low,
            high=high,
            n=len(found),
            mean_confidence=sum(c for c, _ in found) / len(found) if found else None,
            mean_outcome=sum(o for _, o in found) / len(found) if found else None,
        )
        for low, high, found in zip(edges[:-1], edges[1:], inside, strict=True)
    )


def _ece(gaps: Sequence[float], places: Sequence[int], bins: int, drawn: Iterable[int]) -> float:
    sums = [0.0] * bins
    n = 0
    for one in drawn:
        sums[places[one]] += gaps[one]
        n += 1
    return sum(map(abs, sums)) / n


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Interpolate between the two nearest of an ordered sample, as numpy does by default."""
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)
