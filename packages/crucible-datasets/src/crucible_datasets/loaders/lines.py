"""JSON Lines, with errors that name file and line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crucible_datasets.errors import DatasetFormatError


def read(path: Path, *, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for each line that is not blank.

    Raises
    ------
    DatasetFormatError
        If a line is not UTF-8, not a JSON object, or lacks a required field.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw.decode("utf-8"))
            except UnicodeDecodeError:
                raise DatasetFormatError(path.name, number, "not UTF-8") from None
            except ValueError as error:
                raise DatasetFormatError(path.name, number, f"not JSON ({error})") from None
            if not isinstance(row, dict):
                raise DatasetFormatError(path.name, number, "not a JSON object")
            missing = [name for name in required if name not in row]
            if missing:
                has = ", ".join(sorted(row)) or "nothing"
                raise DatasetFormatError(
                    path.name, number, f"no field {missing[0]!r} (it has {has})"
                )
            yield number, row
