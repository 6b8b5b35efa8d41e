"""Latency objectives: a percentile of a condition below a threshold, proved or refuted."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from crucible_harness.recorded import RecordedRun

Objective = Literal["met", "missed", "undecided", "not computed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySLO:
    """A latency objective of one condition.

    Attributes
    ----------
    percentile : float, in (0, 100)
    threshold_s : float, > 0
        That percentile of the items' latencies must not be above it.
    condition : str

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    percentile: float
    threshold_s: float
    condition: str

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:
            raise ValueError(f"`percentile` must be in (0, 100), got {self.percentile}")
        if not (self.threshold_s > 0 and math.isfinite(self.threshold_s)):
            raise ValueError(f"`threshold_s` must be > 0 and finite, got {self.threshold_s}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SLOResult:
    """An objective and how it was met.

    Attributes
    ----------
    slo : LatencySLO
    items : int
        Items with a known latency; one that failed is later than any threshold.
    share : float or None
        Of items answered within the threshold.
    low, high : float or None
        One-sided 95 % limits of that share, each.
    outcome : {"met", "missed", "undecided", "not computed"}
        "met" if the lower limit reaches the percentile, "missed" if the upper one stays below it.
    stated_after : int
        Cells that were finished when the objective was first stated.
    """

    slo: LatencySLO
    items: int
    share: float | None
    low: float | None
    high: float | None
    outcome: Objective
    stated_after: int


def check_slo(objectives: Iterable[LatencySLO], conditions: Sequence[str]) -> None:
    """Raise if an objective is about a condition that there is not.

    Raises
    ------
    ValueError
    """
    for objective in objectives:
        if objective.condition not in conditions:
            raise ValueError(
                f"`slo` must be about a condition ({', '.join(conditions)}), "
                f"got {objective.condition!r}"
            )


def stated(
    objectives: Iterable[LatencySLO], known: Sequence[Mapping[str, Any]], *, finished: int
) -> list[dict[str, Any]]:
    """Return what the manifest keeps: objectives, and how many cells were finished before each.

    Those that were stated earlier stay.
    """
    kept = [dict(entry) for entry in known]
    seen = [_objective(entry) for entry in kept]
    return kept + [
        {**objective.to_dict(), "stated_after": finished}
        for objective in dict.fromkeys(objectives)
        if objective not in seen
    ]


def objectives(run: RecordedRun) -> tuple[SLOResult, ...]:
    """Judge every objective of a run.

    Notes
    -----
    P_q <= t holds if and only if a share of at least q is answered within t. Limits of that share
    are Clopper and Pearson's with one answer an item, else t over the items' shares.
    """
    return tuple(_judged(entry, run) for entry in run.manifest.get("slo", ()))


def _judged(entry: Mapping[str, Any], run: RecordedRun) -> SLOResult:
    import numpy as np

    from crucible_bench.intervals import mean_interval, proportion_interval
    from crucible_harness.estimates import LATENCY, ends
    from crucible_harness.observations import by_item, observe

    slo = _objective(entry)
    seconds = observe(run, LATENCY).counted[slo.condition]
    within = np.where(np.isnan(seconds), np.nan, (seconds <= slo.threshold_s).astype(float))
    shares = by_item(within)
    shares = shares[~np.isnan(shares)]
    n = int(shares.size)
    low: float | None = None
    high: float | None = None
    if n >= 2 and seconds.shape[1] == 1:
        found = proportion_interval(int(shares.sum()), n, confidence=0.90, method="clopper_pearson")
        low, high = ends(found)
    elif n >= 2:
        low, high = ends(mean_interval(shares, confidence=0.90))
    wanted = slo.percentile / 100
    outcome: Objective = "undecided"
    if low is None or high is None:
        outcome = "not computed"
    elif low >= wanted:
        outcome = "met"
    elif high < wanted:
        outcome = "missed"
    return SLOResult(
        slo=slo,
        items=n,
        share=float(shares.mean()) if n else None,
        low=low,
        high=high,
        outcome=outcome,
        stated_after=int(entry["stated_after"]),
    )


def _objective(entry: Mapping[str, Any]) -> LatencySLO:
    return LatencySLO(
        percentile=float(entry["percentile"]),
        threshold_s=float(entry["threshold_s"]),
        condition=str(entry["condition"]),
    )


def stated_late(run: RecordedRun) -> Iterator[str]:
    """Warn of objectives that were stated when answers were known."""
    for entry in run.manifest.get("slo", ()):
        if entry["stated_after"]:
            slo = _objective(entry)
            yield (
                f"The objective P{slo.percentile:g} <= {slo.threshold_s:g} s of {slo.condition} "
                f"was stated when {entry['stated_after']:,} cells were finished."
            )
