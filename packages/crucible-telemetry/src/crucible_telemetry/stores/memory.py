"""Rows in a list, lost with the process."""

import json
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crucible_telemetry.schema import INDEX, Row
from crucible_telemetry.stores.port import KINDS, Kind, Query

_START, _WRITER, _SEQ = INDEX["start_ns"], INDEX["writer_id"], INDEX["seq"]
_EXPERIMENT, _NAME, _OUTCOME = INDEX["experiment_id"], INDEX["name"], INDEX["outcome"]
_MANY_ROWS = 1_000_000


class MemoryStore:
    """Keep everything in this process, for tests and notebooks. Warns once at a million rows."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._documents: dict[Kind, dict[str, str]] = {kind: {} for kind in KINDS}
        self._lock = threading.Lock()
        self._warned = False

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._rows)} rows)"

    def after_fork(self) -> None:
        """Forget the locks that threads of the parent process may have held."""
        self._lock = threading.Lock()

    def append(self, rows: Sequence[Row]) -> None:
        """Store all rows."""
        if len(self._rows) + len(rows) > _MANY_ROWS and not self._warned:
            # Before anything is stored: where warnings are errors, the batch comes again whole.
            self._warned = True
            warnings.warn(
                f"a MemoryStore holds over {_MANY_ROWS} rows; use a SQLiteStore",
                ResourceWarning,
                stacklevel=2,
            )
        with self._lock:
            self._rows.extend(rows)

    def scan(self, query: Query) -> Iterator[Row]:
        """Yield rows ordered by (start_ns, writer_id, seq)."""
        with self._lock:
            rows = list(self._rows)
        found = sorted(
            (row for row in rows if _matches(row, query)),
            key=lambda row: (row[_START], row[_WRITER], row[_SEQ]),
        )
        if query.last_n is not None:
            found = found[max(0, len(found) - query.last_n) :]
        yield from found[: query.limit]

    def put(self, kind: Kind, key: str, value: Mapping[str, Any]) -> None:
        """Store a document, replacing what was there."""
        text = json.dumps(value, allow_nan=False)
        with self._lock:
            self._documents[kind][key] = text

    def get(self, kind: Kind, key: str) -> Mapping[str, Any] | None:
        """Return a document; None if there is none."""
        text = self._documents[kind].get(key)
        return None if text is None else json.loads(text)

    def list(self, kind: Kind) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield all documents of a kind, ordered by key."""
        with self._lock:
            found = sorted(self._documents[kind].items())
        for key, text in found:
            yield key, json.loads(text)

    def erase(self, experiment_id: str) -> int:
        """Delete the events of an experiment and return how many there were."""
        with self._lock:
            kept = [row for row in self._rows if row[_EXPERIMENT] != experiment_id]
            erased, self._rows = len(self._rows) - len(kept), kept
        return erased

    def close(self) -> None:
        """Do nothing: the rows stay as long as this object."""


def _matches(row: Row, query: Query) -> bool:
    return (
        row[_EXPERIMENT] in query.experiments
        and (query.names is None or row[_NAME] in query.names)
        and (query.outcomes is None or row[_OUTCOME] in query.outcomes)
        and (query.since_ns is None or row[_START] >= query.since_ns)
        and (query.until_ns is None or row[_START] < query.until_ns)
        and (query.where is None or query.where.keeps(row))
    )
