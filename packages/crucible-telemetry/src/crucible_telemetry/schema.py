"""The one list of columns that every store, record and export is generated from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

SCHEMA = "crucible-telemetry/1"
"""Name of the format; written into every manifest."""

VERSION = 1
"""Version of the tables on disk."""

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | dict[str, Json] | None"

Row: TypeAlias = tuple[Any, ...]
"""One event as a tuple in the order of `COLUMNS`; `altered` and `attributes` are JSON text."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `hex` is lower-case hexadecimal text, `json` is compact JSON text."""

    name: str
    kind: Literal["text", "integer", "real", "hex", "json"]
    null: bool = True


COLUMNS = (
    Column("experiment_id", "text", null=False),
    Column("writer_id", "text", null=False),
    Column("seq", "integer", null=False),
    Column("name", "text", null=False),
    Column("kind", "text", null=False),
    Column("start_ns", "integer", null=False),
    Column("start_mono_ns", "integer"),
    Column("duration_s", "real"),
    Column("outcome", "text", null=False),
    Column("error_type", "text"),
    Column("model", "text"),
    Column("provider", "text"),
    Column("input_tokens", "integer"),
    Column("output_tokens", "integer"),
    Column("cost_usd", "real"),
    Column("cost_source", "text"),
    Column("item_id", "text"),
    Column("repeat", "integer"),
    Column("trace_id", "hex"),
    Column("span_id", "hex"),
    Column("parent_span_id", "hex"),
    Column("pid", "integer", null=False),
    Column("thread_id", "integer", null=False),
    Column("task", "text"),
    Column("sample_rate", "real", null=False),
    Column("altered", "json"),
    Column("attributes", "json", null=False),
)

NAMES = tuple(column.name for column in COLUMNS)
INDEX = {name: position for position, name in enumerate(NAMES)}


def check_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names in schema order.

    Raises
    ------
    ValueError
        If one is no column; the message lists those that exist.
    """
    wanted = set(names)
    unknown = wanted - set(NAMES)
    if unknown or not wanted:
        shown = ", ".join(sorted(unknown)) or "nothing"
        raise ValueError(f"`columns` must be some of {', '.join(NAMES)}, got {shown}")
    return tuple(name for name in NAMES if name in wanted)
