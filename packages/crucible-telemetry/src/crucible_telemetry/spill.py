"""The file beside a store for events that it could not take in time, or will never take."""

import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

from crucible_telemetry.errors import ExportError
from crucible_telemetry.lines import line_of, row_of
from crucible_telemetry.schema import INDEX, Row
from crucible_telemetry.stores.port import Query, Store

REASON = "spill_reason"
_BATCH = 1_000
_EXPERIMENT, _WRITER, _SEQ = INDEX["experiment_id"], INDEX["writer_id"], INDEX["seq"]


class Spill:
    """JSON Lines of one writer, written and synced batch by batch.

    A line with a "spill_reason" is a row that the store refused: it is kept, and not tried again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.total = 0
        self.waiting = 0
        self.refused = 0
        self._back = 0
        self._file: IO[bytes] | None = None

    def can_write(self) -> bool:
        """Whether the file can be opened for writing."""
        with self.lock:
            try:
                self._open()
            except OSError:
                return False
        return True

    def write(self, rows: Sequence[Row], *, reason: str | None = None) -> None:
        """Write rows and sync them to the disk.

        Raises
        ------
        OSError
            If that is not possible.
        """
        if not rows:
            return
        extra = {} if reason is None else {REASON: reason}
        with self.lock:
            file = self._open()
            before = file.tell()
            try:
                file.write(b"".join(line_of(row, extra=extra).encode() for row in rows))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                self._cut(before)
                raise
            self.total += len(rows)
            if reason is None:
                self.waiting += len(rows)
            else:
                self.refused += len(rows)

    def rows(self) -> Iterator[list[Row]]:
        """Yield batches of the rows that wait for the store. The caller holds the lock."""
        self._close()
        if self.waiting:
            yield from _batches(islice(_read(self.path), self._back, None))

    def brought_back(self, count: int) -> None:
        """Note that the store has taken the next rows of the file."""
        self._back += count
        self.waiting -= count

    def taken(self) -> None:
        """Forget the rows that the store has taken. Refused rows stay in the file."""
        with self.lock:
            self._close()
            _keep_refused(self.path)
            self._back = 0

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self._close()

    def _open(self) -> IO[bytes]:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        return self._file

    def _cut(self, size: int) -> None:
        """Remove a half-written batch; what is durable stays readable."""
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            os.truncate(self.path, size)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            if not self.total:
                self.path.unlink(missing_ok=True)


def spill_path(store: Store, *, experiment_id: str, writer_id: str) -> Path:
    """Return where a writer's spill lies: beside a store that is a file, else in `.crucible`."""
    path = getattr(store, "path", None)
    if isinstance(path, Path):
        return path.absolute().with_name(f"{path.name}.{writer_id}.spill.jsonl")
    name = f"{type(store).__name__}.{experiment_id}.{writer_id}.spill.jsonl"
    return Path(".crucible").absolute() / name


def recover_spill(path: str | Path, store: Store) -> int:
    """Put the events of a spill file into their store, after the process that wrote it is gone.

    Events that the store already has are left out, so it can be called again. Rows that the store
    refused stay in the file; without any, the file is deleted.

    Returns
    -------
    int
        How many events were added.

    Raises
    ------
    ExportError
        If a line is not an event.
    """
    path = Path(path)
    added = 0
    for batch in _batches(_read(path)):
        missing = missing_rows(batch, store)
        if missing:
            store.append(missing)
            added += len(missing)
    _keep_refused(path)
    return added


def missing_rows(rows: Sequence[Row], store: Store) -> list[Row]:
    """Return the rows that the store does not have, by their primary key."""
    known: set[tuple[str, str, int]] = set()
    for experiment_id in {row[_EXPERIMENT] for row in rows}:
        starts = [row[INDEX["start_ns"]] for row in rows if row[_EXPERIMENT] == experiment_id]
        query = Query(experiments=(experiment_id,), since_ns=min(starts), until_ns=max(starts) + 1)
        known |= {(row[_EXPERIMENT], row[_WRITER], row[_SEQ]) for row in store.scan(query)}
    return [row for row in rows if (row[_EXPERIMENT], row[_WRITER], row[_SEQ]) not in known]


def _read(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            data = _parse(line, path, number)
            if data is not None and REASON not in data:
                yield row_of(data)


def _parse(line: str, path: Path, number: int) -> dict[str, Any] | None:
    if not line.endswith("\n"):
        return None  # cut off while it was written: it never counted as durable
    try:
        data = json.loads(line)
    except ValueError as error:
        raise ExportError(f"{path}, line {number}: {error}") from error
    if not isinstance(data, dict):
        raise ExportError(f"{path}, line {number}: not an event")
    return data


def _keep_refused(path: Path) -> None:
    with path.open(encoding="utf-8") as lines:
        kept = [line for line in lines if REASON in line and line.endswith("\n")]
    if not kept:
        path.unlink()
        return
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
