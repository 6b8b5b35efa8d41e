"""Events out of the store into a file, deleted only once the file has been read and compared."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crucible_telemetry import query
from crucible_telemetry.errors import ExportError, StoreUnavailableError
from crucible_telemetry.exports.exporting import export
from crucible_telemetry.exports.importing import verified
from crucible_telemetry.records import ExperimentRecord
from crucible_telemetry.stores.opening import reachable
from crucible_telemetry.stores.port import Erasing
from crucible_telemetry.suppression import suppressed

if TYPE_CHECKING:
    from crucible_telemetry.experiment import Experiment


def archive(experiment: "Experiment", path: Path) -> tuple[Path, ExperimentRecord]:
    """Export, verify, delete; return the file and the record that stays. See `Experiment`."""
    store = experiment.store
    if not isinstance(store, Erasing):
        raise StoreUnavailableError(type(store).__name__, "it has no method `erase`")
    try:
        target = export(experiment, "jsonl", path=path, store=store)
        record, rows = verified(target)
        with target.open("rb") as lines:
            found = sum(1 for _ in lines)
        if found != rows:
            raise ExportError(f"{target} has {found} lines, its manifest says {rows}")
        now = experiment.clock.wall_ns()
        archived = replace(
            experiment.summary(),
            state="archived",
            transitions=(*record.transitions, ("archived", now)),
        )
        with suppressed(), reachable(store):
            # In this order a crash leaves the events twice, and never without.
            erased = store.erase(experiment.id)
            store.put("experiment", experiment.id, query.without_writers(archived))
        if erased != rows:
            raise ExportError(f"{erased} events were deleted, {target} holds {rows}")
    finally:
        if experiment.owns_store:
            store.close()
    return target, archived
