"""One event as one line of JSON, and back, without loss."""

from collections.abc import Mapping
from typing import Any

from crucible_telemetry.errors import ExportError
from crucible_telemetry.schema import COLUMNS, NAMES, Row
from crucible_telemetry.values import dump

_JSON = frozenset(column.name for column in COLUMNS if column.kind == "json")
_ACCEPTED: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "hex": (str,),
    "integer": (int,),
    "real": (float,),
}


def line_of(
    row: Row, *, columns: tuple[str, ...] = NAMES, extra: Mapping[str, str] | None = None
) -> str:
    """Return a row as a JSON line, keys in schema order."""
    parts = []
    for name, value in zip(NAMES, row, strict=True):
        if name in columns:
            text = "null" if value is None else value if name in _JSON else dump(value)
            parts.append(f'"{name}":{text}')
    for name, value in (extra or {}).items():
        parts.append(f"{dump(name)}:{dump(value)}")
    return "{" + ",".join(parts) + "}\n"


def row_of(data: Mapping[str, Any]) -> Row:
    """Return the row of a parsed line.

    Raises
    ------
    ExportError
        If a column is missing or of the wrong type.
    """
    values: list[Any] = []
    for column in COLUMNS:
        if column.name not in data:
            raise ExportError(f"an event has no {column.name!r}")
        value = data[column.name]
        if value is None:
            if not column.null:
                raise ExportError(f"{column.name!r} of an event is null")
            values.append(None)
        elif column.kind == "json":
            values.append(dump(value))
        elif column.kind == "real" and type(value) in (int, float):
            values.append(float(value))
        elif isinstance(value, _ACCEPTED[column.kind]) and not isinstance(value, bool):
            values.append(value)
        else:
            raise ExportError(f"{column.name!r} of an event must be {column.kind}, got {value!r}")
    return tuple(values)
