"""Tables and queries of the PostgreSQL store, generated from the one list of columns."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crucible_telemetry.filters import (
    Compare,
    Either,
    Every,
    Field,
    Filter,
    IsNone,
    Matches,
    Not,
)
from crucible_telemetry.schema import COLUMNS, NAMES
from crucible_telemetry.stores.port import Query

# Text is compared by code point, whatever language the database speaks.
_TEXT = sa.Text(collation="C")
_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "text": _TEXT,
    "hex": _TEXT,
    "integer": sa.BigInteger(),
    "real": sa.Double(),
    "json": JSONB(),
}
COPY_TYPES = [
    {"text": "text", "hex": "text", "integer": "int8", "real": "float8", "json": "jsonb"}[c.kind]
    for c in COLUMNS
]
EVENTS, DOCUMENTS, VERSIONS = "crucible_event", "crucible_document", "crucible_schema"

_BIG = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?e\+\d+')


class Tables:
    """The tables in one schema of the database."""

    def __init__(self, schema: str) -> None:
        self.metadata = sa.MetaData(schema=schema)
        keys = ("experiment_id", "writer_id", "seq")
        self.events = sa.Table(
            EVENTS,
            self.metadata,
            *(
                sa.Column(
                    c.name,
                    _TYPES[c.kind],
                    nullable=c.null,
                    primary_key=c.name in keys,
                    autoincrement=False,
                )
                for c in COLUMNS
            ),
        )
        # Not part of the table: they halve the write rate, and are built by the first query.
        self.index_statements = tuple(
            f'CREATE INDEX IF NOT EXISTS {EVENTS}_{name} ON "{schema}".{EVENTS} '
            f"(experiment_id, {column})"
            for name, column in (("start", "start_ns"), ("item", "item_id"))
        )
        self.documents = sa.Table(
            DOCUMENTS,
            self.metadata,
            sa.Column("kind", _TEXT, primary_key=True),
            sa.Column("key", _TEXT, primary_key=True),
            # Text, and not jsonb: a document comes back with its numbers as they were written.
            sa.Column("value", sa.Text(), nullable=False),
        )
        self.versions = sa.Table(
            VERSIONS, self.metadata, sa.Column("version", sa.Integer(), nullable=False)
        )

        # What brings each version of the tables to the next, beginning with none at all.
        self.upgrades: tuple[Callable[[sa.Connection], None], ...] = (self._create,)

    def _create(self, connection: sa.Connection) -> None:
        connection.execute(sa.text(f'CREATE SCHEMA IF NOT EXISTS "{self.metadata.schema}"'))
        self.metadata.create_all(connection)

    def select(self, query: Query) -> "sa.Select[Any]":
        """Return the statement of a query."""
        c = self.events.c
        order = (c.start_ns, c.writer_id, c.seq)
        found = sa.select(self.events).where(c.experiment_id.in_(query.experiments))
        if query.names is not None:
            found = found.where(c.name.in_(query.names))
        if query.outcomes is not None:
            found = found.where(c.outcome.in_(query.outcomes))
        if query.since_ns is not None:
            found = found.where(c.start_ns >= query.since_ns)
        if query.until_ns is not None:
            found = found.where(c.start_ns < query.until_ns)
        if query.where is not None:
            found = found.where(self.condition(query.where))
        inner: Any = c
        if query.last_n is not None:
            latest = found.order_by(*(column.desc() for column in order)).limit(query.last_n)
            inner = latest.subquery().c
        else:
            inner = found.subquery().c
        shown: list[Any] = [
            sa.null().label(column.name)
            if query.columns is not None and column.name not in query.columns
            else sa.cast(inner[column.name], sa.Text())
            if column.kind == "json"
            else inner[column.name]
            for column in COLUMNS
        ]
        text = sa.select(*shown).order_by(inner.start_ns, inner.writer_id, inner.seq)
        return text if query.limit is None else text.limit(query.limit)

    def condition(self, where: Filter) -> "sa.ColumnElement[bool]":
        """Return a filter as an expression that is true or false and never NULL."""
        if isinstance(where, Not):
            return sa.not_(self.condition(where.part))
        if isinstance(where, Every):
            return sa.and_(sa.true(), *(self.condition(part) for part in where.parts))
        if isinstance(where, Either):
            return sa.or_(sa.false(), *(self.condition(part) for part in where.parts))
        if isinstance(where, IsNone):
            missing: sa.ColumnElement[bool] = self._text(where.field).is_(None)
            return missing
        if isinstance(where, Matches):
            fits = self._text(where.field).like(_like(where.glob), escape="\\")
            return self._guarded(where.field, "string", fits)
        if isinstance(where, Compare):
            return self._compare(where)
        raise TypeError(f"no filter of this package: {where!r}")

    def _compare(self, where: Compare) -> "sa.ColumnElement[bool]":
        field, value = where.field, where.value
        left: Any = self._text(field) if field.is_attribute else self.events.c[field.name]
        right: Any
        if isinstance(value, bool):
            kind, right = "boolean", sa.literal("true" if value else "false", sa.Text())
        elif isinstance(value, str):
            kind, right = "string", sa.cast(sa.literal(value, sa.Text()), sa.Text())
            if field.is_attribute:
                left = sa.cast(left, sa.Text()).collate("C")
        else:
            kind = "number"
            # A float column meets a float. Elsewhere numbers meet as exact decimals, except that
            # a float never equals the decimal that is written for it.
            is_real = not field.is_attribute and isinstance(left.type, sa.Double)
            if is_real or (field.is_attribute and isinstance(value, float)):
                left = sa.cast(left, sa.Double())
                right = sa.cast(sa.literal(float(value), sa.Double()), sa.Double())
            else:
                left = sa.cast(left, sa.Numeric())
                right = sa.cast(sa.literal(Decimal(value), sa.Numeric()), sa.Numeric())
        fits: Any = left.op(where.by, is_comparison=True)(right)
        return self._guarded(field, kind, fits)

    def _guarded(self, field: Field, kind: str, fits: Any) -> "sa.ColumnElement[bool]":
        """Let only values of one kind be compared; CASE keeps the order of evaluation."""
        sure = sa.func.coalesce(fits, sa.false())
        if not field.is_attribute:
            return sure
        found = sa.func.jsonb_typeof(
            self.events.c.attributes.op("->", return_type=JSONB())(_key(field))
        )
        return sa.case((found == kind, sure), else_=sa.false())

    def _text(self, field: Field) -> Any:
        if field.is_attribute:
            return self.events.c.attributes.op("->>", return_type=_TEXT)(_key(field))
        return self.events.c[field.name]


def binary_safe(json_text: str) -> str:
    """Return JSON whose floats stay floats in jsonb, where 1e+16 would become an integer."""
    if "e+" not in json_text:
        return json_text

    def spelled(match: "re.Match[str]") -> str:
        token = match.group()
        return token if token.startswith('"') else f"{Decimal(token):f}.0"

    return _BIG.sub(spelled, json_text)


def insert_missing(schema: str) -> str:
    """Return the statement that moves resent rows to where those already stored stay."""
    names = ", ".join(NAMES)
    return (
        f'INSERT INTO "{schema}".{EVENTS} ({names}) SELECT {names} FROM crucible_resent '
        "ON CONFLICT DO NOTHING"
    )


def _key(field: Field) -> Any:
    return sa.cast(sa.literal(field.name, sa.Text()), sa.Text())


def _like(glob: str) -> str:
    escaped = re.sub(r"([\\%_])", r"\\\1", glob)
    return escaped.replace("*", "%").replace("?", "_")
