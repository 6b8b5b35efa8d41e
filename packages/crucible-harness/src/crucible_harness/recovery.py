"""Answers that could not be written down: kept beside the journal until it can be written again."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Recovery:
    """A file of rows, one JSON list a line: the table, and the values.

    Parameters
    ----------
    folder : path
        The file is made in it when the first row is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "recovery.jsonl"

    def keep(self, table: str, values: tuple[Any, ...]) -> None:
        """Append a row; it is on the disk when this returns."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([table, *values]) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Yield what was kept; a line that was torn by a second failure ends it."""
        if not self._path.is_file():
            return
        for text in self._path.read_text(encoding="utf-8").splitlines():
            try:
                table, *values = json.loads(text)
            except ValueError:
                return
            yield table, tuple(values)

    def forget(self) -> None:
        """Remove the file, once its rows are in the journal."""
        self._path.unlink(missing_ok=True)
