"""The manifest beside an export: whose events these are, which are missing, and the hash."""

import hashlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crucible_telemetry.provenance import installed_versions
from crucible_telemetry.records import ExperimentRecord
from crucible_telemetry.schema import INDEX, SCHEMA, Row

_WRITER, _SEQ = INDEX["writer_id"], INDEX["seq"]


class Tally:
    """Counts rows, and the numbers of each writer, as they pass by.

    What passes a second time is cut to what passed first: a running experiment grows meanwhile.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, array[int]] = {}
        self._complete = False

    @property
    def rows(self) -> int:
        """How many rows passed."""
        return sum(len(numbers) for numbers in self._numbers.values())

    def watch(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield rows, counting them the first time."""
        if self._complete:
            last = {writer: max(numbers) for writer, numbers in self._numbers.items()}
            yield from (row for row in rows if row[_SEQ] <= last.get(row[_WRITER], 0))
            return
        for row in rows:
            self._numbers.setdefault(row[_WRITER], array("q")).append(row[_SEQ])
            yield row
        self._complete = True

    def writers(self, record: ExperimentRecord, *, filtered: bool) -> list[dict[str, Any]]:
        """Return first, last and missing numbers of each writer, missing ones as ranges.

        Where a filter left rows out on purpose, what is missing cannot be told: None.
        """
        lasts = {writer.writer_id: writer.last_seq or 0 for writer in record.writers}
        found = []
        for writer_id in sorted({*self._numbers, *(w for w, last in lasts.items() if last)}):
            numbers = sorted(self._numbers.get(writer_id, ()))
            end = max([lasts.get(writer_id, 0), *numbers[-1:]])
            found.append(
                {
                    "writer_id": writer_id,
                    "first_seq": numbers[0] if numbers else None,
                    "last_seq": numbers[-1] if numbers else None,
                    "rows": len(numbers),
                    "gaps": None if filtered else _gaps(numbers, end),
                }
            )
        return found


def manifest(
    record: ExperimentRecord,
    *,
    format: str,
    columns: tuple[str, ...],
    tally: Tally,
    filtered: bool,
    sha256: str,
    guarded_cells: int | None,
) -> dict[str, Any]:
    """Return the manifest's document. The time of the export is not in it."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "format": format,
        "experiment": record.to_dict(),
        "columns": list(columns),
        "rows": tally.rows,
        "writers": tally.writers(record, filtered=filtered),
        "filtered": filtered,
        "sha256": sha256,
        "versions": installed_versions(),
        "git_commit": record.git_commit,
        "capture_content": record.capture_content,
        "redactor": record.redactor,
        "sample_rate": record.sample_rate,
        "sampling_seed": record.seed if record.sample_rate < 1 else None,
    }
    if guarded_cells is not None:
        document["guarded_cells"] = guarded_cells
    return document


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a file lies."""
    return path.with_name(path.name + ".manifest.json")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gaps(numbers: list[int], end: int) -> list[list[int]]:
    gaps = []
    expected = 1
    for number in numbers:
        if number > expected:
            gaps.append([expected, number - 1])
        expected = max(expected, number + 1)
    if end >= expected:
        gaps.append([expected, end])
    return gaps
