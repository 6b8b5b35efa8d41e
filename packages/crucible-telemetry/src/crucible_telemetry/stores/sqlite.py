"""Rows in one SQLite file, written through the standard library."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from crucible_telemetry.errors import RowRejectedError, StoreUnavailableError, StoreVersionError
from crucible_telemetry.schema import INDEX, NAMES, VERSION, Row
from crucible_telemetry.stores import tables
from crucible_telemetry.stores.port import Kind, Query
from crucible_telemetry.suppression import own_span

_ROWS_PER_STATEMENT = 500
# So few that their values are still in the processor's cache when they are looked at.
_ROWS_PER_FETCH = 128
_HEX = ("trace_id", "span_id", "parent_span_id")
_FIRST_HEX = INDEX["trace_id"]
_AFTER_HEX = INDEX["parent_span_id"] + 1
# What the driver raises for a value or a row that cannot be stored, now or later.
_REJECTIONS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)


class SQLiteStore:
    """Keep events in one file that several threads and processes may write.

    Parameters
    ----------
    path : path
        Created with its folder if it does not exist.
    journal : {"wal", "delete"}
        "delete" is for file systems that refuse write-ahead logging, and slower.
    busy_timeout_s : float, > 0
        How long to wait for another process that is writing.

    Raises
    ------
    StoreUnavailableError
        If the file cannot be opened or written, or the file system refuses `journal`.
    StoreVersionError
        If a newer version of this package wrote the file. The tables of an older one are brought
        to this version in one transaction.

    Notes
    -----
    `close` releases the file; whatever is asked later opens it again. After `kill -9` the file
    opens without repair and holds a gap-free prefix of each writer's events.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        journal: Literal["wal", "delete"] = "wal",
        busy_timeout_s: float = 30.0,
    ) -> None:
        if journal not in ("wal", "delete"):
            raise ValueError(f'`journal` must be "wal" or "delete", got {journal!r}')
        if not busy_timeout_s > 0:
            raise ValueError(f"`busy_timeout_s` must be > 0, got {busy_timeout_s}")
        if str(path) in ("", ":memory:"):
            raise ValueError(
                f"`path` must be a file (MemoryStore keeps no file), got {str(path)!r}"
            )
        self.path = Path(path)
        self._journal = journal
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._forking = False
        self._streams: dict[tuple[str, str], int] = {}
        self._indexed = False
        self._open()

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r})"

    def __enter__(self) -> "SQLiteStore":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None and self._pid == os.getpid():
            connection.close()

    def before_fork(self) -> None:
        """Let no transaction be open in a fork: the child would find the file locked for good."""
        self._forking = self._lock.acquire(timeout=self._busy_timeout_s)

    def after_fork_in_parent(self) -> None:
        """Go on writing."""
        if self._forking:
            self._lock.release()

    def after_fork(self) -> None:
        """Forget the locks that threads of the parent process may have held."""
        self._lock = threading.RLock()

    def append(self, rows: Sequence[Row]) -> None:
        """Store all rows or none.

        Raises
        ------
        RowRejectedError
            If a row breaks a constraint or holds a value of the wrong type.
        """
        try:
            with self._writing() as connection:
                streams = self._stream_ids(connection, rows)
                limit = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
                size = max(1, min(_ROWS_PER_STATEMENT, limit // tables.WIDTH))
                for first in range(0, len(rows), size):
                    part = rows[first : first + size]
                    values: list[object] = []
                    for row in part:
                        values.append(streams[row[0], row[1]])
                        values += row[2:_FIRST_HEX]
                        values += [h and bytes.fromhex(h) for h in row[_FIRST_HEX:_AFTER_HEX]]
                        values += row[_AFTER_HEX:]
                    connection.execute(tables.insert(len(part)), values)
        except _REJECTIONS as error:
            raise RowRejectedError(f"{type(error).__name__}: {error}") from error
        except (ValueError, TypeError, IndexError) as error:
            raise RowRejectedError(f"malformed row: {error}") from error
        self._streams.update(streams)

    def scan(self, query: Query) -> Iterator[Row]:
        """Yield rows ordered by (start_ns, writer_id, seq), in bounded memory."""
        for shown, rows in self._fetched(query):
            places = {name: place for place, name in enumerate(shown)}
            hexes = places[_HEX[0]]
            rest = hexes + len(_HEX)
            # From the columns that were asked for, and a None behind them, to all in their order.
            complete = itemgetter(*(places.get(name, len(shown)) for name in NAMES))
            for row in rows:
                trace, span, parent = row[hexes:rest]
                yield complete(
                    (
                        *row[:hexes],
                        trace and trace.hex(),
                        span and span.hex(),
                        parent and parent.hex(),
                        *row[rest:],
                        None,
                    )
                )

    def columns(self, query: Query) -> Iterator[Mapping[str, Sequence[Any]]]:
        """Yield what `scan` yields, some rows at a time: the values of each column."""
        for shown, rows in self._fetched(query):
            found: dict[str, Sequence[Any]] = dict(zip(shown, zip(*rows, strict=True), strict=True))
            for name in _HEX:
                found[name] = [value and value.hex() for value in found[name]]
            yield found

    def _fetched(self, query: Query) -> Iterator[tuple[Sequence[str], Sequence[Row]]]:
        """Yield the names of columns, and some rows of these, as they are on disk."""
        if not query.experiments:
            return
        self._build_indexes()
        connection = self._connect()
        try:
            connection.execute("PRAGMA query_only = ON")
            found = connection.execute(tables.streams(query.experiments), query.experiments)
            streams = [stream for (stream,) in found]
            text, values, shown = tables.select(
                query, stream=streams[0] if len(streams) == 1 else None
            )
            cursor = connection.execute(text, values)
            while rows := cursor.fetchmany(_ROWS_PER_FETCH):
                yield shown, rows
        finally:
            connection.close()

    def put(self, kind: Kind, key: str, value: Mapping[str, Any]) -> None:
        """Store a document, replacing what was there."""
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        with self._writing() as connection:
            connection.execute(tables.PUT, (kind, key, text))

    def get(self, kind: Kind, key: str) -> Mapping[str, Any] | None:
        """Return a document; None if there is none."""
        with self._lock:
            found = self._open().execute(tables.GET, (kind, key)).fetchone()
        return None if found is None else json.loads(found[0])

    def list(self, kind: Kind) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield all documents of a kind, ordered by key."""
        with self._lock:
            found = self._open().execute(tables.LIST, (kind,)).fetchall()
        for key, text in found:
            yield key, json.loads(text)

    def erase(self, experiment_id: str) -> int:
        """Delete the events of an experiment and return how many there were."""
        with self._writing() as connection:
            return connection.execute(tables.ERASE, (experiment_id,)).rowcount

    def close(self) -> None:
        """Release the file; a later call opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock of the file from the start: an upgrade later could not wait."""
        with self._lock:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _stream_ids(
        self, connection: sqlite3.Connection, rows: Sequence[Row]
    ) -> dict[tuple[str, str], int]:
        ids = {}
        for pair in {(row[0], row[1]) for row in rows}:
            known = self._streams.get(pair)
            if known is None:
                connection.execute(tables.ADD_STREAM, pair)
                known = connection.execute(tables.FIND_STREAM, pair).fetchone()[0]
            ids[pair] = known
        return ids

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.path,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )

    def _open(self) -> sqlite3.Connection:
        with self._lock:
            if self._pid != os.getpid():
                # A connection must not cross a fork, and closing it here would drop the
                # parent's locks: it is left alone.
                self._forsaken = self._connection
                self._connection, self._pid = None, os.getpid()
            if self._connection is None:
                self._connection = self._prepare()
            return self._connection

    def _prepare(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < (3, 37):
            raise StoreUnavailableError(
                str(self.path), f"SQLite >= 3.37 is needed, found {sqlite3.sqlite_version}"
            )
        connection = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = self._connect()
            mode = self._set_journal(connection)
            if mode != self._journal:
                raise StoreUnavailableError(
                    str(self.path), f"journal mode {self._journal!r} was refused, got {mode!r}"
                )
            sync = "NORMAL" if self._journal == "wal" else "FULL"
            connection.execute(f"PRAGMA synchronous = {sync}")
            self._migrate(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise StoreUnavailableError(str(self.path), str(error)) from error
            raise
        return connection

    def _set_journal(self, connection: sqlite3.Connection) -> str:
        """Set the journal mode; SQLite does not wait by itself if another process sets it too."""
        deadline = time.monotonic() + self._busy_timeout_s
        while True:
            mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
            if mode == self._journal:
                return mode
            try:
                wanted = f"PRAGMA journal_mode = {self._journal}"
                return str(connection.execute(wanted).fetchone()[0])
            except sqlite3.OperationalError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.02)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the tables of an older version, or of none, to this one in one transaction."""
        found = self._version(connection)
        if found == VERSION:
            return
        with own_span("migrate", from_version=found, to_version=VERSION):
            connection.execute("BEGIN IMMEDIATE")
            try:
                # Another process may have done it while this one waited.
                for statements in tables.UPGRADES[self._version(connection) :]:
                    for statement in statements:
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _version(self, connection: sqlite3.Connection) -> int:
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if found > VERSION:
            raise StoreVersionError(found, VERSION)
        return found

    def _build_indexes(self) -> None:
        """Build what queries need, once somebody asks: three live indexes halve the write rate."""
        if self._indexed:
            return
        with self._lock:
            names = {row[0] for row in self._open().execute(tables.INDEX_NAMES)}
            if not names >= tables.INDEXES.keys():
                with self._writing() as connection:
                    for statement in tables.INDEXES.values():
                        connection.execute(statement)
            self._indexed = True
