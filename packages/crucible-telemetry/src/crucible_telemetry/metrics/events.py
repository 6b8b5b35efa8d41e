"""The events of one experiment as its metrics see them: few columns, and who lies inside whom."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from crucible_telemetry import query
from crucible_telemetry.experiment import Experiment
from crucible_telemetry.filters import Filter, check_filter
from crucible_telemetry.metrics.lineage import ROOT, Lineage
from crucible_telemetry.schema import INDEX, Row
from crucible_telemetry.sources import located
from crucible_telemetry.stores.port import Query, Store

_TAKEN_NAMES = (
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
_LINK_NAMES = ("trace_id", "span_id", "parent_span_id")
_COLUMNS = frozenset({*_TAKEN_NAMES, *_LINK_NAMES, "writer_id", "seq", "sample_rate"})
_TAKEN = tuple(INDEX[name] for name in _TAKEN_NAMES)
_LINKS = tuple(INDEX[name] for name in _LINK_NAMES)
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
    weighted: bool
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
    sequences: dict[str, tuple[int, int]] = {}
    with located(experiment, store) as (opened, id):
        query.readable(opened, id)
        rows = query.rows(opened, Query(experiments=(id,), where=where, columns=_COLUMNS))
        lineage = Lineage(_read(rows, events, sequences))
    is_request = _requests(events, lineage, names, timed_only=timed_only)
    owner = lineage.nearest(is_request)
    return Loaded(
        id=id,
        events=events,
        lineage=lineage,
        is_request=is_request,
        owner=owner,
        counted=[names is None or at != ROOT for at in owner],
        weighted=any(event.weight != 1 for event in events),
        missing=0 if where is not None else sum(last - n for n, last in sequences.values()),
    )


def _read(
    rows: Iterable[Row], events: list[MetricEvent], sequences: dict[str, tuple[int, int]]
) -> Iterator[tuple[str | None, str | None, str | None]]:
    """Yield who each row is and inside what, filling the other two on the way."""
    taken, linked, make = itemgetter(*_TAKEN), itemgetter(*_LINKS), MetricEvent._make
    texts: dict[str | None, str | None] = {}
    same = texts.setdefault
    for row in rows:
        name, start, duration, outcome, error, model, tokens_in, tokens_out, cost, item, repeat = (
            taken(row)
        )
        rate = row[_RATE]
        events.append(
            make(
                (
                    # A store returns the same text anew with every row.
                    same(name, name),
                    start,
                    duration,
                    same(outcome, outcome),
                    error,
                    same(model, model),
                    tokens_in,
                    tokens_out,
                    cost,
                    same(item, item),
                    repeat,
                    1.0 if rate == 1 else 1 / rate,
                )
            )
        )
        writer, seq = row[_WRITER], row[_SEQ]
        count, last = sequences.get(writer, (0, 0))
        sequences[writer] = count + 1, seq if seq > last else last
        yield linked(row)


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
