"""Rows in a PostgreSQL database: COPY for writes, SQLAlchemy Core for tables and queries."""

import json
import math
import re
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from crucible_telemetry.errors import (
    RowRejectedError,
    StoreUnavailableError,
    StoreVersionError,
    TelemetryError,
)
from crucible_telemetry.extras import require
from crucible_telemetry.schema import INDEX, NAMES, VERSION, Row
from crucible_telemetry.stores.port import Kind, Query
from crucible_telemetry.suppression import own_span
from crucible_telemetry.values import dump

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy as sa

_ROWS_PER_FETCH = 1_000
_LEAST_TIMEOUT_S = 2.0
_OLDEST_SERVER = 14
_SCHEMA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
# Any number does, as long as no other program takes it: the first eight bytes of "crucible".
_LOCK = int.from_bytes(b"crucible")
_EXPERIMENT, _WRITER, _SEQ = INDEX["experiment_id"], INDEX["writer_id"], INDEX["seq"]
_ALTERED, _ATTRIBUTES = INDEX["altered"], INDEX["attributes"]


class PostgresStore:
    """Keep events in a PostgreSQL database that many processes and machines may write.

    Parameters
    ----------
    url : str
        As "postgresql://user:password@host:5432/database"; what libpq knows may follow after "?".
    schema : str
        Of the three tables; created if it does not exist.
    connect_timeout_s : float, >= 2
        How long to wait for a connection, in whole seconds; libpq allows no less.

    Raises
    ------
    MissingExtraError
        If the extra "postgres" is not installed.
    StoreUnavailableError
        If the server cannot be reached, refuses the credentials, or is older than version 14.
        Its message never holds the password.
    StoreVersionError
        If a newer version of this package made the tables. Those of an older one are brought to
        this version in one transaction.

    Notes
    -----
    A batch is one COPY in one transaction. If the connection breaks before the commit is
    acknowledged, that batch goes through a temporary table when it is sent again, and rows that
    were stored after all are not stored twice.
    """

    def __init__(self, url: str, *, schema: str = "public", connect_timeout_s: float = 5.0) -> None:
        if not _SCHEMA_NAME.fullmatch(schema):
            raise ValueError(f"`schema` must match {_SCHEMA_NAME.pattern}, got {schema!r}")
        if not _LEAST_TIMEOUT_S <= connect_timeout_s < math.inf:
            raise ValueError(
                f"`connect_timeout_s` must be finite and >= {_LEAST_TIMEOUT_S:g}, "
                f"got {connect_timeout_s}"
            )
        require("postgres")
        from crucible_telemetry.stores.postgres_tables import Tables

        self._address = _Address(url, int(connect_timeout_s))
        self.schema = schema
        self._tables = Tables(schema)
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None
        self._forsaken: object = None
        self._indexed = False
        self._uncertain: dict[tuple[str, str], tuple[int, int]] = {}
        self._engine = self._make_engine()
        try:
            self._migrate()
        except BaseException as error:
            self._engine.dispose()
            if isinstance(error, TelemetryError) or not isinstance(error, Exception):
                raise
            raise self._unavailable(error) from None

    def __repr__(self) -> str:
        return f"PostgresStore({self._address.shown!r})"

    def __enter__(self) -> "PostgresStore":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def after_fork(self) -> None:
        """Leave the parent's connections alone, and forget its locks."""
        self._lock = threading.RLock()
        self._forsaken, self._connection = self._connection, None
        self._engine.dispose(close=False)

    def append(self, rows: Sequence[Row]) -> None:
        """Store all rows or none.

        Raises
        ------
        RowRejectedError
            If a row breaks a constraint or holds a value of the wrong type.
        StoreUnavailableError
            If the connection is lost; the same rows can be given again.
        """
        if not rows:
            return
        import psycopg

        with self._lock:
            resent = self._overlaps(rows)
            try:
                connection = self._connected()
                with connection.transaction(), connection.cursor() as cursor:
                    if resent:
                        self._copy_missing(cursor, rows)
                    else:
                        self._copy(cursor, f'"{self.schema}".{self._tables.events.name}', rows)
            except (psycopg.IntegrityError, psycopg.DataError) as error:
                raise RowRejectedError(f"{type(error).__name__}: {_first_line(error)}") from error
            except (
                TypeError, ValueError, AttributeError, IndexError, OverflowError, struct.error,
            ) as error:  # fmt: skip
                raise RowRejectedError(f"malformed row: {error}") from error
            except psycopg.Error as error:
                self._note_uncertain(rows)
                self._drop_connection()
                raise self._unavailable(error) from None
            except BaseException:
                self._note_uncertain(rows)
                self._drop_connection()
                raise

    def scan(self, query: Query) -> Iterator[Row]:
        """Yield rows ordered by (start_ns, writer_id, seq), through a server-side cursor."""
        if not query.experiments:
            return
        self._build_indexes()
        statement = self._tables.select(query)
        with self._reading() as connection:
            streamed = connection.execution_options(
                stream_results=True, yield_per=_ROWS_PER_FETCH
            ).execute(statement)
            for found in streamed:
                row = list(found)
                for at in (_ALTERED, _ATTRIBUTES):
                    if row[at] is not None:
                        # jsonb has an order and a spacing of its own.
                        row[at] = dump(json.loads(row[at]))
                yield tuple(row)

    def put(self, kind: Kind, key: str, value: Mapping[str, Any]) -> None:
        """Store a document, replacing what was there."""
        from sqlalchemy.dialects.postgresql import insert

        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        statement = insert(self._tables.documents).values(kind=kind, key=key, value=text)
        statement = statement.on_conflict_do_update(
            index_elements=["kind", "key"], set_={"value": text}
        )
        with self._reading() as connection:
            connection.execute(statement)
            connection.commit()

    def get(self, kind: Kind, key: str) -> Mapping[str, Any] | None:
        """Return a document; None if there is none."""
        import sqlalchemy as sa

        c = self._tables.documents.c
        with self._reading() as connection:
            found = connection.execute(
                sa.select(c.value).where(c.kind == kind, c.key == key)
            ).scalar()
        return None if found is None else json.loads(found)

    def list(self, kind: Kind) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield all documents of a kind, ordered by key."""
        import sqlalchemy as sa

        c = self._tables.documents.c
        with self._reading() as connection:
            found = connection.execute(
                sa.select(c.key, c.value).where(c.kind == kind).order_by(c.key)
            ).all()
        for key, text in found:
            yield key, json.loads(text)

    def erase(self, experiment_id: str) -> int:
        """Delete the events of an experiment and return how many there were."""
        import sqlalchemy as sa

        events = self._tables.events
        with self._reading() as connection:
            done = connection.execute(
                sa.delete(events).where(events.c.experiment_id == experiment_id)
            )
            connection.commit()
        return int(done.rowcount)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._lock:
            self._drop_connection()
            self._engine.dispose()

    def _make_engine(self) -> "sa.Engine":
        import sqlalchemy as sa

        return sa.create_engine(
            "postgresql+psycopg://",
            creator=self._address.connect,
            pool_size=2,
            pool_pre_ping=True,  # a server may have been restarted since
        )

    def _connected(self) -> "psycopg.Connection[Any]":
        if self._connection is None or self._connection.closed:
            self._connection = self._address.connect()
            self._connection.autocommit = True
        return self._connection

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _reading(self) -> "Iterator[sa.Connection]":
        import psycopg
        import sqlalchemy.exc

        try:
            with self._engine.connect() as connection:
                yield connection
        except (psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: Exception) -> StoreUnavailableError:
        original = getattr(error, "orig", None) or error
        return StoreUnavailableError(
            self._address.shown, self._address.without_secret(_first_line(original))
        )

    def _copy(self, cursor: "psycopg.Cursor[Any]", table: str, rows: Sequence[Row]) -> None:
        from psycopg.types.json import set_json_dumps

        from crucible_telemetry.stores.postgres_tables import COPY_TYPES, binary_safe

        set_json_dumps(binary_safe, cursor)  # the columns are JSON text already
        names = ", ".join(NAMES)
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(COPY_TYPES)
            for row in rows:
                copy.write_row(row)

    def _copy_missing(self, cursor: "psycopg.Cursor[Any]", rows: Sequence[Row]) -> None:
        from crucible_telemetry.stores.postgres_tables import EVENTS, insert_missing

        like = f'CREATE TEMP TABLE crucible_resent (LIKE "{self.schema}".{EVENTS}) ON COMMIT DROP'
        cursor.execute(like)
        self._copy(cursor, "crucible_resent", rows)
        cursor.execute(insert_missing(self.schema))

    def _overlaps(self, rows: Sequence[Row]) -> bool:
        if not self._uncertain:
            return False
        for row in rows:
            first, last = self._uncertain.get((row[_EXPERIMENT], row[_WRITER]), (1, 0))
            if first <= row[_SEQ] <= last:
                return True
        return False

    def _note_uncertain(self, rows: Sequence[Row]) -> None:
        for row in rows:
            key = row[_EXPERIMENT], row[_WRITER]
            first, last = self._uncertain.get(key, (row[_SEQ], row[_SEQ]))
            self._uncertain[key] = min(first, row[_SEQ]), max(last, row[_SEQ])

    def _build_indexes(self) -> None:
        """Build what queries need, once somebody asks: live indexes halve the write rate."""
        if self._indexed:
            return
        import sqlalchemy as sa

        with self._reading() as connection, connection.begin():
            known = sa.inspect(connection).get_indexes(self._tables.events.name, self.schema)
            if len(known) < len(self._tables.index_statements):
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                for statement in self._tables.index_statements:
                    connection.execute(sa.text(statement))
        self._indexed = True

    def _migrate(self) -> None:
        """Bring the tables of an older version, or of none, to this one in one transaction."""
        import sqlalchemy as sa

        with self._engine.connect() as connection:
            with connection.begin():
                server = connection.dialect.server_version_info or (0,)
                found = self._version(connection)
            if int(server[0]) < _OLDEST_SERVER:
                raise StoreUnavailableError(
                    self._address.shown,
                    f"PostgreSQL >= {_OLDEST_SERVER} is needed, found {server[0]}",
                )
            if found == VERSION:
                return
            with (
                own_span("migrate", from_version=found, to_version=VERSION),
                connection.begin(),
            ):
                # Whoever comes first does it; the others wait here and find it done.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                for upgrade in self._tables.upgrades[self._version(connection) :]:
                    upgrade(connection)
                versions = self._tables.versions
                connection.execute(sa.delete(versions))
                connection.execute(sa.insert(versions).values(version=VERSION))

    def _version(self, connection: "sa.Connection") -> int:
        import sqlalchemy as sa

        versions = self._tables.versions
        if not sa.inspect(connection).has_table(versions.name, schema=self.schema):
            return 0
        found = int(connection.execute(sa.select(versions.c.version)).scalar_one())
        if found > VERSION:
            raise StoreVersionError(found, VERSION)
        return found


class _Address:
    """Where the database is; knows the password and never shows it."""

    def __init__(self, url: str, connect_timeout_s: int) -> None:
        import sqlalchemy as sa

        try:
            parsed = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError):
            parsed = None
        if parsed is None or parsed.get_backend_name() not in ("postgresql", "postgres"):
            # The address is not shown: it may hold a password.
            raise ValueError("`url` must be like postgresql://user@host:5432/database")
        plain = parsed.set(drivername="postgresql")
        self._conninfo = plain.render_as_string(hide_password=False)
        self._secrets = [str(parsed.password)] if parsed.password else []
        self._secrets += [str(v) for k, v in parsed.query.items() if "password" in k and v]
        self._connect_timeout_s = connect_timeout_s
        self.shown = plain.set(password=None, query={}).render_as_string()

    def connect(self) -> "psycopg.Connection[Any]":
        import psycopg

        return psycopg.connect(self._conninfo, connect_timeout=self._connect_timeout_s)

    def without_secret(self, text: str) -> str:
        for secret in self._secrets:
            for form in (secret, unquote(secret)):
                text = text.replace(form, "***")
        return text


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
