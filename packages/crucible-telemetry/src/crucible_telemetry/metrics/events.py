"""The events of one experiment as its metrics see them: few columns, and who lies inside whom."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from crucible_telemetry import query
from crucible_telemetry.experiment import Experiment
from crucible_telemetry.filters import Filter, check_filter
from crucible_telemetry.metrics.lineage import ROOT, Lineage
from crucible_telemetry.sources import located
from crucible_telemetry.stores.port import Query, Store

T = TypeVar("T")

# A store returns the same text anew with every row: of these one copy is kept.
_TEXTS = ("name", "outcome", "error_type", "model", "item_id")
_NUMBERS = ("start_ns", "duration_s", "input_tokens", "output_tokens", "cost_usd", "repeat")
_LINKS = ("trace_id", "span_id", "parent_span_id")
_COLUMNS = frozenset({*_TEXTS, *_NUMBERS, *_LINKS, "writer_id", "seq", "sample_rate"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What metrics need of events, a list for each column: a million objects cost seconds.

    One position is one event, in the order of the store. `weight` is 1 / sample_rate.
    """

    name: list[str] = field(default_factory=list)
    start_ns: list[int] = field(default_factory=list)
    duration_s: list[float | None] = field(default_factory=list)
    outcome: list[str] = field(default_factory=list)
    error_type: list[str | None] = field(default_factory=list)
    model: list[str | None] = field(default_factory=list)
    input_tokens: list[int | None] = field(default_factory=list)
    output_tokens: list[int | None] = field(default_factory=list)
    cost_usd: list[float | None] = field(default_factory=list)
    item_id: list[str | None] = field(default_factory=list)
    repeat: list[int | None] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """All events of an experiment, and which of them are its requests.

    `requests` are positions, ascending; `owner` is the position of the request that an event
    belongs to, or `ROOT`; only `counted` events take part in sums.
    """

    id: str
    events: Columns
    lineage: Lineage
    requests: list[int]
    owner: list[int]
    counted: list[bool]
    weighted: bool
    missing: int


def of(column: list[T], positions: Sequence[int]) -> list[T]:
    """Return the values of a column at ascending positions, which may be all of them."""
    return column if len(positions) == len(column) else [column[at] for at in positions]


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
    events = Columns()
    sequences: dict[str, tuple[int, int]] = {}
    with located(experiment, store) as (opened, id):
        query.readable(opened, id)
        found = query.columns(opened, Query(experiments=(id,), where=where, columns=_COLUMNS))
        lineage = Lineage(chain.from_iterable(_read(found, events, sequences)))
    is_request = _requests(events, lineage, names, timed_only=timed_only)
    owner = lineage.nearest(is_request)
    return Loaded(
        id=id,
        events=events,
        lineage=lineage,
        requests=[at for at, chosen in enumerate(is_request) if chosen],
        owner=owner,
        counted=[True] * len(owner) if names is None else [at != ROOT for at in owner],
        weighted=any(weight != 1 for weight in events.weight),
        missing=0 if where is not None else sum(last - n for n, last in sequences.values()),
    )


def _read(
    found: Iterable[Mapping[str, Sequence[Any]]],
    events: Columns,
    sequences: dict[str, tuple[int, int]],
) -> Iterator[Iterable[tuple[str | None, str | None, str | None]]]:
    """Yield who each event is and inside what, filling the other two on the way."""
    texts: dict[str | None, str | None] = {}
    for part in found:
        for name in _NUMBERS:
            getattr(events, name).extend(part[name])
        for name in _TEXTS:
            getattr(events, name).extend(map(texts.setdefault, part[name], part[name]))
        rates = part["sample_rate"]
        events.weight.extend([1.0 if rate == 1 else 1 / rate for rate in rates])
        for writer, seq in zip(part["writer_id"], part["seq"], strict=True):
            count, last = sequences.get(writer, (0, 0))
            sequences[writer] = count + 1, seq if seq > last else last
        yield zip(*(part[name] for name in _LINKS), strict=True)


def _requests(
    events: Columns, lineage: Lineage, names: Collection[str] | None, *, timed_only: bool
) -> list[bool]:
    if names is None:
        chosen = [above == ROOT for above in lineage.parents]
    else:
        wanted = frozenset(names)
        chosen = [name in wanted for name in events.name]
    if not timed_only:
        return chosen
    return [
        is_chosen and duration is not None
        for is_chosen, duration in zip(chosen, events.duration_s, strict=True)
    ]
