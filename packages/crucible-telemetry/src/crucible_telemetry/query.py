"""What a store knows, also long after the process that wrote it has ended."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from crucible_telemetry.errors import ExperimentStateError, UnknownExperimentError
from crucible_telemetry.event import Event
from crucible_telemetry.filters import Filter, check_filter
from crucible_telemetry.outcome import OUTCOMES, Outcome
from crucible_telemetry.provenance import is_gone
from crucible_telemetry.records import ExperimentRecord, WriterRecord
from crucible_telemetry.schema import NAMES, Row
from crucible_telemetry.stores.port import Columnar, Query, Store
from crucible_telemetry.suppression import suppressed

__all__ = ["Query", "events", "experiment", "experiments", "rows"]

_CHUNK = 256


def experiments(store: Store) -> list[ExperimentRecord]:
    """Return all experiments of a store, oldest first.

    An experiment that still says "running" or "paused" while all its writers' processes are gone
    is returned as "interrupted".
    """
    with suppressed():
        found = list(store.list("experiment"))
        writers = list(store.list("writer"))
    records = [_joined(dict(value), writers) for _, value in found]
    return sorted(records, key=lambda record: (record.started_ns, record.id))


def experiment(store: Store, id: str) -> ExperimentRecord:
    """Return one experiment.

    Raises
    ------
    UnknownExperimentError
        If the store has none of that id.
    """
    with suppressed():
        found = store.get("experiment", id)
        if found is None:
            raise UnknownExperimentError(id)
        writers = list(store.list("writer"))
    return _joined(dict(found), writers)


def readable(store: Store, id: str) -> ExperimentRecord:
    """Return one experiment, whose events are still in the store.

    Raises
    ------
    UnknownExperimentError
        If the store has none of that id.
    ExperimentStateError
        If its events were archived: they are in a file, which `import_events` reads.
    """
    found = experiment(store, id)
    if found.state == "archived":
        raise ExperimentStateError("read events", "archived")
    return found


def events(
    store: Store,
    id: str,
    where: Filter | None = None,
    *,
    names: Collection[str] | None = None,
    outcomes: Collection[Outcome] | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
    last_n: int | None = None,
    include_children: bool = False,
    limit: int | None = None,
) -> Iterator[Event]:
    """Yield events of one experiment, ordered by (start_ns, writer_id, seq).

    Parameters
    ----------
    where : Filter, optional
        Keep what fulfils it, as `F("duration_s") > 1.0`.
    names, outcomes : collection of str, optional
        Keep only these.
    since_ns, until_ns : int, optional
        Keep start times in [since_ns, until_ns), Unix nanoseconds.
    last_n : int, >= 1, optional
        Keep the latest of what is left.
    include_children : bool
        Also those of experiments that were started inside this one, at any depth.
    limit : int, >= 1, optional
        Yield at most the first of what is left.

    Raises
    ------
    UnknownExperimentError
        If the store has no experiment of that id.
    ExperimentStateError
        If its events were archived.
    ValueError
        If an outcome is unknown or a number is below 1.
    """
    if isinstance(names, str):
        raise ValueError(f"`names` must be a collection of names, got the text {names!r}")
    if outcomes is not None and not set(outcomes) <= set(OUTCOMES):
        raise ValueError(f"`outcomes` must be some of {', '.join(OUTCOMES)}, got {outcomes!r}")
    check_filter(where)
    for parameter, value in (("last_n", last_n), ("limit", limit)):
        if value is not None and value < 1:
            raise ValueError(f"`{parameter}` must be >= 1, got {value}")
    wanted = Query(
        experiments=_with_children(store, id) if include_children else (readable(store, id).id,),
        names=None if names is None else tuple(names),
        outcomes=None if outcomes is None else tuple(outcomes),
        since_ns=since_ns,
        until_ns=until_ns,
        where=where,
        last_n=last_n,
        limit=limit,
    )
    return map(Event.from_row, rows(store, wanted))


def rows(store: Store, query: Query) -> Iterator[Row]:
    """Yield the rows of a query; the store's own work is not traced."""
    return chain.from_iterable(_chunks(store, query))


def columns(store: Store, query: Query) -> Iterator[Mapping[str, Sequence[Any]]]:
    """Yield the columns of a query, some rows at a time; the store's own work is not traced."""
    if not isinstance(store, Columnar):
        for chunk in _chunks(store, query):
            yield dict(zip(NAMES, zip(*chunk, strict=True), strict=True))
        return
    found = store.columns(query)
    while True:
        with suppressed():
            some = next(found, None)
        if some is None:
            return
        yield some


def _chunks(store: Store, query: Query) -> Iterator[list[Row]]:
    found = store.scan(query)
    while True:
        with suppressed():
            chunk = list(islice(found, _CHUNK))
        if not chunk:
            return
        yield chunk


def writer_key(experiment_id: str, writer_id: str) -> str:
    """Return the key of a writer's document."""
    return f"{experiment_id}/{writer_id}"


def without_writers(record: ExperimentRecord) -> dict[str, Any]:
    """Return a record as its document: writers have documents of their own."""
    data = record.to_dict()
    del data["writers"]
    return data


def _with_children(store: Store, id: str) -> tuple[str, ...]:
    with suppressed():
        parents = {key: value.get("parent_id") for key, value in store.list("experiment")}
    if id not in parents:
        raise UnknownExperimentError(id)
    family = [id]
    for member in family:
        family += [key for key, parent in parents.items() if parent == member]
    return tuple(family)


def _joined(data: dict[str, Any], writers: list[tuple[str, Any]]) -> ExperimentRecord:
    prefix = writer_key(data["id"], "")
    own = tuple(WriterRecord.from_dict(value) for key, value in writers if key.startswith(prefix))
    record = replace(ExperimentRecord.from_dict(data), writers=own)
    if record.state in ("running", "paused") and own and all(is_gone(w) for w in own):
        return replace(record, state="interrupted")
    return record
