"""The events of one experiment as its metrics see them: few columns, and who lies inside whom."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from crucible_telemetry import query
from crucible_telemetry.experiment import Experiment
from crucible_telemetry.filters import Filter, check_filter
from crucible_telemetry.metrics.lineage import ROOT, Lineage
from crucible_telemetry.schema import INDEX
from crucible_telemetry.sources import located
from crucible_telemetry.stores.port import Query, Store

_TAKEN = tuple(
    INDEX[name]
    for name in (
        "name",
        "start_ns",
        "duration_s",
        "outcome",
        "error_type",
        "model",
        "input_tokens",
        "output_tokens",
        "cost_usd",
        "item_id",
        "repeat",
    )
)
_REPEATED = (0, 3, 4, 5, 9)  # name, outcome, error_type, model, item_id
_LINKS = tuple(INDEX[name] for name in ("trace_id", "span_id", "parent_span_id"))
_WRITER, _SEQ, _RATE = INDEX["writer_id"], INDEX["seq"], INDEX["sample_rate"]


class MetricEvent(NamedTuple):
    """What metrics need of an event. `weight` is 1 / sample_rate."""

    name: str
    start_ns: int
    duration_s: float | None
    outcome: str
    error_type: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    item_id: str | None
    repeat: int | None
    weight: float

    @property
    def end_ns(self) -> int:
        """When it ended, by the wall clock."""
        return self.start_ns + int((self.duration_s or 0) * 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """All events of an experiment, and which of them are its requests.

    `owner` is the position of the request that an event belongs to, or `ROOT`; only `counted`
    events take part in sums.
    """

    id: str
    events: list[MetricEvent]
    lineage: Lineage
    is_request: list[bool]
    owner: list[int]
    counted: list[bool]
    missing: int

    @property
    def requests(self) -> list[MetricEvent]:
        """The events that count as requests."""
        return [e for e, chosen in zip(self.events, self.is_request, strict=True) if chosen]


def check_names(names: Collection[str] | None) -> None:
    """Raise `ValueError` for a single text."""
    if isinstance(names, str):
        raise ValueError(f"`names` must be a collection of names, got the text {names!r}")


def load(
    experiment: Experiment | str,
    *,
    store: Store | str | Path | None,
    names: Collection[str] | None,
    where: Filter | None = None,
    timed_only: bool = True,
) -> Loaded:
    """Read an experiment. Requests are the events of these names, else the outermost ones.

    `timed_only` leaves events without a duration out of the requests.
    """
    check_names(names)
    check_filter(where)
    events: list[MetricEvent] = []
    links: list[tuple[str | None, str | None, str | None]] = []
    sequences: dict[str, tuple[int, int]] = {}
    texts: dict[str | None, str | None] = {}
    with located(experiment, store) as (opened, id):
        query.readable(opened, id)
        for row in query.rows(opened, Query(experiments=(id,), where=where)):
            taken = [row[at] for at in _TAKEN]
            for at in _REPEATED:
                # A store returns the same text anew with every row.
                taken[at] = texts.setdefault(taken[at], taken[at])
            rate = row[_RATE]
            taken.append(1.0 if rate == 1 else 1 / rate)
            events.append(MetricEvent._make(taken))
            links.append((row[_LINKS[0]], row[_LINKS[1]], row[_LINKS[2]]))
            count, last = sequences.get(row[_WRITER], (0, 0))
            sequences[row[_WRITER]] = count + 1, max(last, row[_SEQ])
    lineage = Lineage(links)
    del links
    is_request = _requests(events, lineage, names, timed_only=timed_only)
    owner = lineage.nearest(is_request)
    return Loaded(
        id=id,
        events=events,
        lineage=lineage,
        is_request=is_request,
        owner=owner,
        counted=[names is None or at != ROOT for at in owner],
        missing=0 if where is not None else sum(last - n for n, last in sequences.values()),
    )


def _requests(
    events: Sequence[MetricEvent],
    lineage: Lineage,
    names: Collection[str] | None,
    *,
    timed_only: bool,
) -> list[bool]:
    if names is None:
        chosen = [above == ROOT for above in lineage.parents]
    else:
        wanted = frozenset(names)
        chosen = [event.name in wanted for event in events]
    if not timed_only:
        return chosen
    return [
        is_chosen and event.duration_s is not None
        for is_chosen, event in zip(chosen, events, strict=True)
    ]
