"""An exported JSON Lines file back into a store."""

import json
from itertools import islice
from pathlib import Path

from crucible_telemetry.errors import ExportError
from crucible_telemetry.exports.manifest import manifest_path, sha256_of
from crucible_telemetry.lines import row_of
from crucible_telemetry.query import without_writers, writer_key
from crucible_telemetry.records import ExperimentRecord
from crucible_telemetry.spill import missing_rows
from crucible_telemetry.stores.port import Store
from crucible_telemetry.suppression import suppressed

_BATCH = 1_000


def import_events(path: str | Path, store: Store) -> int:
    """Restore the events of an exported JSON Lines file, and its experiment from the manifest.

    Events that the store already has are left out, so a second import adds nothing.

    Returns
    -------
    int
        How many events were added.

    Raises
    ------
    ExportError
        If there is no manifest, the file is not the one that the manifest describes, or it does
        not hold all columns.
    """
    path = Path(path)
    record, _ = verified(path)
    added = 0
    with suppressed(), path.open(encoding="utf-8") as lines:
        store.put("experiment", record.id, without_writers(record))
        for writer in record.writers:
            store.put("writer", writer_key(record.id, writer.writer_id), writer.to_dict())
        while chunk := list(islice(lines, _BATCH)):
            missing = missing_rows([row_of(json.loads(line)) for line in chunk], store)
            if missing:
                store.append(missing)
                added += len(missing)
    return added


def verified(path: Path) -> tuple[ExperimentRecord, int]:
    """Return the experiment and the number of rows of a JSON Lines file that is unharmed.

    Raises
    ------
    ExportError
        If there is no manifest, or the file is not the one that the manifest describes.
    """
    beside = manifest_path(path)
    try:
        document = json.loads(beside.read_text(encoding="utf-8"))
        record = ExperimentRecord.from_dict(document["experiment"])
        format, digest, rows = document["format"], document["sha256"], int(document["rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{beside} is no manifest: {error}") from error
    if format != "jsonl":
        raise ExportError(f"only jsonl files can be imported, {path} is {format}")
    if sha256_of(path) != digest:
        raise ExportError(f"{path} is not the file that its manifest describes")
    return record, rows
