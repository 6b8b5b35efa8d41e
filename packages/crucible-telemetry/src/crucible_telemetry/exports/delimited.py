"""CSV (RFC 4180) that a spreadsheet can open without running what is in it."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from crucible_telemetry.exports.manifest import Tally
from crucible_telemetry.schema import INDEX, Row
from crucible_telemetry.values import dump

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PREFIX = "attributes."


def write(
    path: Path,
    rows: Callable[[], Iterator[Row]],
    tally: Tally,
    columns: tuple[str, ...],
    *,
    guard: bool,
) -> int:
    """Write fixed columns and then one per attribute; return how many cells were guarded.

    Reads the rows twice, the first time for the names of their attributes.
    """
    fixed = [name for name in columns if name != "attributes"]
    keys: set[str] = set()
    for row in rows():
        if row[INDEX["attributes"]] != "{}":
            keys.update(json.loads(row[INDEX["attributes"]]))
    names = sorted(keys) if "attributes" in columns else []
    guarded = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\r\n")
        table.writerow(fixed + [_PREFIX + name for name in names])
        for row in rows():
            attributes = json.loads(row[INDEX["attributes"]]) if names else {}
            cells = [row[INDEX[name]] for name in fixed]
            cells += [attributes.get(name) for name in names]
            shown = [_cell(cell) for cell in cells]
            if guard:
                for at, cell in enumerate(cells):
                    if isinstance(cell, str) and cell.startswith(_FORMULA):
                        shown[at] = "'" + cell
                        guarded += 1
            table.writerow(shown)
    return guarded


def _cell(value: Any) -> Any:
    """Return numbers and text as they are, the rest as JSON, None as nothing."""
    return dump(value) if isinstance(value, bool | list | dict) else value
