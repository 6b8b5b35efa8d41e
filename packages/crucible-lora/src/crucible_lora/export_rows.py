"""Reports as rows of one table, and the table as CSV, JSON or Parquet: equal rows, equal bytes."""

import csv
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from crucible_lora.errors import MissingExtraError
from crucible_lora.records import plain
from crucible_lora.tables import csv_cell

Row = dict[str, Any]


class Tabular(Protocol):
    """A report that can be rows."""

    def to_rows(self) -> Sequence[Mapping[str, Any]]:
        """Return flat rows."""
        ...


def flatten(prefix: str, value: Any) -> Row:
    """Return nested mappings as one row, names joined by dots; lists become JSON."""
    if isinstance(value, Mapping):
        row: Row = {}
        for name, part in value.items():
            row |= flatten(f"{prefix}.{name}" if prefix else str(name), part)
        return row
    value = plain(value)
    if isinstance(value, list):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return {prefix: value}


def gather(reports: Sequence[Tabular]) -> tuple[list[str], list[Row]]:
    """Return the columns of all rows, in the order they first come, and the rows."""
    rows = [flatten("", row) for report in reports for row in report.to_rows()]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return columns, rows


def to_csv(reports: Sequence[Tabular], path: Path | str) -> None:
    """Write one row per update, evaluation or run; unknown is empty, no cell is a formula."""
    columns, rows = gather(reports)
    with Path(path).open("w", encoding="utf-8", newline="", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow([csv_cell(name) for name in columns])
        writer.writerows([csv_cell(row.get(name)) for name in columns] for row in rows)


def to_json(reports: Sequence[Tabular], path: Path | str) -> None:
    """Write the rows as a list of objects that all have every column; unknown is null."""
    columns, rows = gather(reports)
    whole = [{name: row.get(name) for name in columns} for row in rows]
    text = json.dumps(whole, indent=1, allow_nan=False)  # ASCII: lone surrogates survive
    Path(path).write_text(text + "\n", encoding="utf-8", newline="\n")


def to_parquet(reports: Sequence[Tabular], path: Path | str) -> None:
    """Write the rows as Parquet; a column of mixed kinds is text.

    Raises
    ------
    MissingExtraError
        If the extra "parquet" is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("parquet", "pyarrow")
    import pyarrow
    import pyarrow.parquet

    columns, rows = gather(reports)
    arrays = {name: _column([row.get(name) for row in rows]) for name in columns}
    pyarrow.parquet.write_table(pyarrow.table(arrays), str(path))


def _column(values: list[Any]) -> Any:
    import pyarrow

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and kinds:
        kind = pyarrow.float64() if float in kinds else pyarrow.int64()
        return pyarrow.array(values, type=kind)
    if kinds == {bool}:
        return pyarrow.array(values, type=pyarrow.bool_())
    texts = [None if v is None else _text(v) for v in values]
    return pyarrow.array(texts, type=pyarrow.string())


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode("utf-8")
