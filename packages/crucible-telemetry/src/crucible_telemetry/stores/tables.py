"""SQL of the SQLite store, generated from the one list of columns."""

from functools import cache

from crucible_telemetry.filters import (
    Compare,
    Either,
    Every,
    Field,
    Filter,
    IsNone,
    Matches,
    Not,
    kind_of,
)
from crucible_telemetry.schema import COLUMNS
from crucible_telemetry.stores.port import Query

_TYPES = {"text": "TEXT", "integer": "INTEGER", "real": "REAL", "hex": "BLOB", "json": "TEXT"}
# (experiment_id, writer_id) is one integer on disk.
_OWN = COLUMNS[2:]
WIDTH = 1 + len(_OWN)
_HEX = frozenset(column.name for column in COLUMNS if column.kind == "hex")

# What brings a file from each version of the tables to the next, beginning with none at all.
UPGRADES: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE IF NOT EXISTS stream (id INTEGER PRIMARY KEY, experiment_id TEXT NOT NULL, "
        "writer_id TEXT NOT NULL, UNIQUE (experiment_id, writer_id)) STRICT",
        "CREATE TABLE IF NOT EXISTS event (stream_id INTEGER NOT NULL, "
        + ", ".join(f"{c.name} {_TYPES[c.kind]}{'' if c.null else ' NOT NULL'}" for c in _OWN)
        + ") STRICT",
        "CREATE TABLE IF NOT EXISTS document (kind TEXT NOT NULL, key TEXT NOT NULL, "
        "value TEXT NOT NULL, PRIMARY KEY (kind, key)) STRICT",
    ),
)
INDEXES = {
    "event_seq": "CREATE UNIQUE INDEX IF NOT EXISTS event_seq ON event (stream_id, seq)",
    # With the number: within one stream it has the rows in their order, and nothing is sorted.
    "event_start": "CREATE INDEX IF NOT EXISTS event_start ON event (stream_id, start_ns, seq)",
    "event_item": "CREATE INDEX IF NOT EXISTS event_item ON event (stream_id, item_id)",
}
INDEX_NAMES = "SELECT name FROM sqlite_master WHERE type = 'index'"

ADD_STREAM = "INSERT OR IGNORE INTO stream (experiment_id, writer_id) VALUES (?, ?)"
FIND_STREAM = "SELECT id FROM stream WHERE experiment_id = ? AND writer_id = ?"
ERASE = "DELETE FROM event WHERE stream_id IN (SELECT id FROM stream WHERE experiment_id = ?)"
PUT = "INSERT OR REPLACE INTO document (kind, key, value) VALUES (?, ?, ?)"
GET = "SELECT value FROM document WHERE kind = ? AND key = ?"
LIST = "SELECT key, value FROM document WHERE kind = ? ORDER BY key"


@cache
def insert(rows: int) -> str:
    """Return one statement for many rows: faster than one per row, and the GIL is let go once."""
    names = ", ".join(["stream_id", *(column.name for column in _OWN)])
    marks = "(" + ", ".join("?" * WIDTH) + ")"
    return f"INSERT INTO event ({names}) VALUES " + ", ".join([marks] * rows)


def select(query: Query, *, stream: int | None) -> tuple[str, list[object], tuple[str, ...]]:
    """Return the statement of a query, its bound values, and the columns that it yields.

    `stream` is the only one of the query's experiments, if there is only one: then an index has
    the rows in their order.
    """
    values: list[object] = []
    if stream is None:
        where = [_one_of("s.experiment_id", query.experiments, values)]
    else:
        where = ["e.stream_id = ?"]
        values.append(stream)
    if query.names is not None:
        where.append(_one_of("e.name", query.names, values))
    if query.outcomes is not None:
        where.append(_one_of("e.outcome", query.outcomes, values))
    if query.since_ns is not None:
        where.append("e.start_ns >= ?")
        values.append(query.since_ns)
    if query.until_ns is not None:
        where.append("e.start_ns < ?")
        values.append(query.until_ns)
    item = None if query.where is None else _item_of(query.where)
    if item is not None:
        # Once more, in words that an index understands.
        where.append("e.item_id = ?")
        values.append(item)
    if query.where is not None:
        where.append(condition(query.where, values))
    shown = tuple(c.name for c in _OWN if query.columns is None or c.name in query.columns | _KEPT)
    names = ", ".join(["s.experiment_id", "s.writer_id", *(f"e.{name}" for name in shown)])
    # Left alone, the planner takes any index that begins with the stream, and sorts everything.
    index = "event_start" if item is None else "event_item"
    text = (
        f"SELECT {names} FROM event e INDEXED BY {index} JOIN stream s ON s.id = e.stream_id "
        f"WHERE {' AND '.join(where)}"
    )
    order = "start_ns, writer_id, seq"
    if query.last_n is not None:
        text = f"SELECT * FROM ({text} ORDER BY start_ns DESC, writer_id DESC, seq DESC LIMIT ?)"
        values.append(query.last_n)
    text += f" ORDER BY {order}"
    if query.limit is not None:
        text += " LIMIT ?"
        values.append(query.limit)
    return text, values, ("experiment_id", "writer_id", *shown)


# What `last_n` and ORDER BY name outside of the inner query, and what `scan` writes as text.
_KEPT = frozenset({"start_ns", "seq", *_HEX})


def streams(experiments: tuple[str, ...]) -> str:
    """Return the statement for the streams of experiments."""
    return f"SELECT id FROM stream WHERE experiment_id IN ({', '.join('?' * len(experiments))})"


def _item_of(where: Filter) -> str | None:
    """Return the one item whose events alone a filter lets through."""
    if isinstance(where, Every):
        return next((item for part in where.parts if (item := _item_of(part))), None)
    if not isinstance(where, Compare) or where.by != "=" or where.field.is_attribute:
        return None
    return str(where.value) if where.field.name == "item_id" else None


def condition(where: Filter, values: list[object]) -> str:
    """Return the SQL of a filter, which is 0 or 1 and never NULL; its values are bound."""
    if isinstance(where, Not):
        return f"NOT {condition(where.part, values)}"
    if isinstance(where, Every | Either):
        word, nothing = (" AND ", "1") if isinstance(where, Every) else (" OR ", "0")
        parts = [condition(part, values) for part in where.parts]
        return f"({word.join(parts)})" if parts else nothing
    if isinstance(where, IsNone):
        return f"{_value(where.field, values)} IS NULL"
    if isinstance(where, Matches):
        guard = _guard(where.field, "text", values)
        text = f"({guard}COALESCE({_value(where.field, values)} GLOB ?, 0))"
        values.append(where.glob.replace("[", "[[]"))
        return text
    if isinstance(where, Compare):
        guard = _guard(where.field, kind_of(where.value), values)
        text = f"({guard}COALESCE({_value(where.field, values)} {where.by} ?, 0))"
        values.append(where.value)
        return text
    raise TypeError(f"no filter of this package: {where!r}")


_JSON_TYPES = {"text": "('text')", "number": "('integer', 'real')", "truth": "('true', 'false')"}


def _guard(field: Field, kind: str | None, values: list[object]) -> str:
    """Return what keeps values of another kind out: SQLite gives all kinds one order."""
    if not field.is_attribute or kind is None:
        return ""
    values.append(_path(field))
    return f"COALESCE(json_type(e.attributes, ?) IN {_JSON_TYPES[kind]}, 0) AND "


def _value(field: Field, values: list[object]) -> str:
    if field.is_attribute:
        values.append(_path(field))
        return "json_extract(e.attributes, ?)"
    if field.name in ("experiment_id", "writer_id"):
        return f"s.{field.name}"
    column = f"e.{field.name}"
    return f"iif({column} IS NULL, NULL, lower(hex({column})))" if field.name in _HEX else column


def _path(field: Field) -> str:
    # The label form of `->>` would take a dot in a key for a step down.
    return f'$."{field.name}"'


def _one_of(column: str, wanted: tuple[str, ...], values: list[object]) -> str:
    values += wanted
    return f"{column} IN ({', '.join('?' * len(wanted))})"
