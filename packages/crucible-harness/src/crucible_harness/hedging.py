"""What hedging did: backups, what they cost, and how much shorter the tail became."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crucible_harness.recorded import RecordedRun
from crucible_harness.tables import line

if TYPE_CHECKING:
    from crucible_hedging.effect import HedgeEffect, Sample

PERCENTILES = (50.0, 95.0, 99.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgingSummary:
    """The races of one condition, from the calls in the journal.

    Attributes
    ----------
    requests : int
        Calls that could have a backup.
    elsewhere : int
        Further ones that were answered from another condition's responses, and so were no race.
    backups : int
        Backups that were sent.
    extra_ratio : float or None
        backups / requests.
    wins : int
        Requests that a backup answered.
    wasted_s : float
        Seconds that calls ran without being the answer.
    extra_cost_usd : float or None
        The price of all calls but the answers; None where it is not known.
    effects : tuple of HedgeEffect
        Of P50, P95 and P99: the percentile with backups as a ratio of that without, with a 95 %
        interval; None with the reason where the run cannot tell.
    """

    requests: int
    elsewhere: int
    backups: int
    extra_ratio: float | None
    wins: int
    wasted_s: float
    extra_cost_usd: float | None
    effects: "tuple[HedgeEffect, ...]"


@dataclass(slots=True)
class _Race:
    """One call and its copies, by their rows."""

    primary: Mapping[str, Any]
    copies: list[Mapping[str, Any]] = field(default_factory=list)

    def winner(self) -> Mapping[str, Any] | None:
        """Return the row of the copy that answered first; None where none did."""
        answered = [row for row in (self.primary, *self.copies) if _answered(row)]
        return min(answered, key=lambda row: int(row["n"]), default=None)


def hedging(run: RecordedRun) -> dict[str, HedgingSummary]:
    """Summarise the races of every condition that has any.

    Notes
    -----
    The effect is measured by `crucible_hedging`: the Kaplan-Meier curve of the primaries, those
    that were cut off censored, against the requests as they ended. It needs beaten primaries that
    ran to their end, which a hedger in a run leaves a tenth of (`explore`).
    """
    raced = {
        str(condition["name"]): models
        for condition in run.design["conditions"]
        if (models := set(_raced(condition["model"])))
    }
    if not raced or run.imported is not None:
        return {}
    from crucible_harness.folder import Folder

    journal = Folder(run.path).open_journal()
    try:
        sent = list(journal.sent())
        needed: dict[str, set[str]] = defaultdict(set)
        for (condition, _, _), (_, record) in journal.cells().items():
            needed[condition].update(record["call_keys"])
    finally:
        journal.close()
    last = {row["leaf_key"]: row for row in sent}  # a later attempt stands for an earlier one
    asked = {key: json.loads(row["request"]) for key, row in last.items()}
    return {
        name: _summary(name, models, last, asked, needed[name]) for name, models in raced.items()
    }


def _summary(
    condition: str,
    models: set[str],
    last: Mapping[str, Mapping[str, Any]],
    asked: Mapping[str, Mapping[str, Any]],
    needed: set[str],
) -> HedgingSummary:
    races: dict[str, _Race] = {}
    copies: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    elsewhere = 0
    for key, row in last.items():
        request = asked[key]
        if "copy" in request:
            if row["condition"] == condition:
                rest = {name: value for name, value in request.items() if name != "copy"}
                copies[line(rest)].append(row)
        elif key in needed and line(request["model"]) in models:
            if row["condition"] == condition:
                races[row["request"]] = _Race(row)
            else:
                elsewhere += 1
    for asked_first, rows in copies.items():
        if asked_first in races:
            races[asked_first].copies = rows
    backups = sum(len(race.copies) for race in races.values())
    losers = [
        row
        for race in races.values()
        for row in (race.primary, *race.copies)
        if race.copies and row is not race.winner()
    ]
    costs = [row["cost_usd"] for row in losers]
    samples = [_sample(race) for race in races.values()]
    return HedgingSummary(
        requests=len(races),
        elsewhere=elsewhere,
        backups=backups,
        extra_ratio=backups / len(races) if races else None,
        wins=sum(
            winner is not None and winner is not race.primary
            for race in races.values()
            for winner in (race.winner(),)
        ),
        wasted_s=math.fsum(row["latency_s"] or 0.0 for row in losers),
        extra_cost_usd=None if None in costs else math.fsum(costs),
        effects=tuple(_effect(samples, p) for p in PERCENTILES),
    )


def _effect(samples: "Sequence[Sample]", percentile: float) -> "HedgeEffect":
    """Measure the effect, unless that percentile took no time: of 0 s nothing is a share."""
    from crucible_hedging.effect import HedgeEffect, measure_effect

    answered = sum(not math.isnan(sample.total_s) for sample in samples)
    if sum(sample.primary_s == 0 for sample in samples) < percentile / 100 * max(answered, 1):
        return measure_effect(samples, percentile=percentile)
    return HedgeEffect(
        percentile=percentile, unhedged_s=None, hedged_s=None, ratio=None, low=None, high=None,
        confidence=0.95, n=answered, explored=sum(sample.explored for sample in samples),
        reason="that percentile is 0 s without backups",
    )  # fmt: skip


def _sample(race: _Race) -> "Sample":
    """Return what the statistics know of a race: its primary to the end or to a cut, and its own.

    A primary that failed says nothing of how long an answer takes.
    """
    from crucible_hedging.effect import Sample

    primary, winner = race.primary, race.winner()
    own = _seconds(primary) if _answered(primary) or primary["status"] == "cancelled" else math.nan
    if winner is None:
        return Sample(math.nan, censored=False, total_s=math.nan)
    total_s = own
    if winner is not primary:
        # A primary is cut off when it is beaten, so that its time is the request's.
        total_s = own if primary["status"] == "cancelled" else _end(winner) - _begin(primary)
    sample = Sample(own, censored=primary["status"] == "cancelled", total_s=total_s)
    sample.explored = _answered(primary) and winner is not primary
    return sample


def _answered(row: Mapping[str, Any]) -> bool:
    return row["status"] in ("ok", "filtered") and row["latency_s"] is not None


def _seconds(row: Mapping[str, Any]) -> float:
    return math.nan if row["latency_s"] is None else float(row["latency_s"])


def _begin(row: Mapping[str, Any]) -> float:
    return float(row["started_ns"]) / 1e9


def _end(row: Mapping[str, Any]) -> float:
    return _begin(row) + float(row["latency_s"])


def _raced(identity: Mapping[str, Any]) -> Iterator[str]:
    """Yield the identities of the models inside a condition that are asked first in a race."""
    members: Sequence[Mapping[str, Any]] = identity.get("members") or ()
    if identity.get("hedged") and members:
        yield from map(line, _leaves(members[0]))
        return
    for member in members:
        yield from _raced(member)


def _leaves(identity: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    members = identity.get("members")
    if not members:
        yield identity
        return
    for member in members:
        yield from _leaves(member)


def not_raced(found: Mapping[str, HedgingSummary]) -> Iterator[str]:
    """Warn where a hedged condition took over answers that another condition had asked for."""
    for condition, summary in found.items():
        if summary.elsewhere:
            yield (
                f"{summary.elsewhere:,} calls of {condition} were answered from another "
                "condition's responses and could not be hedged: its latency is partly the other's. "
                "To compare latencies, run with `share_responses` off."
            )
