"""The journal in a PostgreSQL database that several runs share: the same tables, by design.

Rows go to one thread that commits what has gathered within 5 ms, at most 100 at a time; a row
counts as written once its commit is acknowledged. While the database cannot be reached nothing is
acknowledged, so nothing new is sent, and the thread tries again for a minute.
"""

import hashlib
import os
import queue
import random
import socket
import threading
import time
from collections.abc import Awaitable, Iterator
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from crucible_harness.errors import JournalCorruptError, JournalLockedError, JournalWriteError
from crucible_harness.tables import TABLES, UNIQUE

_GATHER_S = 0.005
_AT_ONCE = 100
_PATIENCE_S = 60.0
_LET_GO_S = 1.0  # a server needs a moment to see that a process was killed
_TYPES = {"text": sa.Text, "int": sa.BigInteger, "real": postgresql.DOUBLE_PRECISION}
_KEEP = """
CREATE OR REPLACE FUNCTION crucible_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$
"""
# Two runs that begin at once would both create the tables.
_CREATING = 4_120_637_418


def _tables() -> tuple[sa.MetaData, dict[str, sa.Table]]:
    metadata = sa.MetaData()
    sa.Table(
        "meta", metadata, sa.Column("design", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False),
    )  # fmt: skip
    made = {}
    for name, columns in TABLES.items():
        unique = UNIQUE.get(name)
        made[name] = sa.Table(
            name,
            metadata,
            sa.Column("n", sa.BigInteger, primary_key=True),
            *(
                sa.Column(column, _TYPES[kind], primary_key=column == "design")
                for column, kind in columns.items()
            ),
            sa.Column("row_hash", sa.Text, nullable=False),
            *([sa.UniqueConstraint("design", *unique)] if unique else []),
        )
    return metadata, made


class _Waiter:
    """Somebody who waits for a row to be acknowledged."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: JournalWriteError | None = None
        self._event: anyio.Event | None = None
        self.token: Any = None

    def on_loop(self) -> Awaitable[None]:
        """Return what a task awaits; it cannot be cancelled, since the row is on its way."""
        self._event = anyio.Event()
        self.token = anyio.lowlevel.current_token()
        return self._wait()

    async def _wait(self) -> None:
        assert self._event is not None
        with anyio.CancelScope(shield=True):
            await self._event.wait()
        self.result()

    def result(self) -> None:
        if self.error is not None:
            raise self.error

    def wake(self) -> None:
        """Let the task go on; called in its event loop."""
        assert self._event is not None
        self._event.set()


class PostgresStore:
    """Rows in a database.

    Parameters
    ----------
    url : str
        `postgresql://user@host/database`; the driver is psycopg 3.
    patience_s : float
        How long a lost connection is tried again.

    Raises
    ------
    JournalWriteError
        If the database cannot be reached.
    """

    def __init__(self, url: str, *, patience_s: float = _PATIENCE_S) -> None:
        scheme, _, rest = url.partition("://")
        del scheme
        parsed = sa.make_url(f"postgresql+psycopg://{rest}")
        self.shown = parsed._replace(password=None).render_as_string()
        self._engine = sa.create_engine(parsed, poolclass=sa.pool.NullPool)
        self._patience_s = patience_s
        self._metadata, self._tables = _tables()
        self._rows: queue.SimpleQueue[tuple[str, tuple[Any, ...], _Waiter] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._writing: sa.Connection | None = None
        self._failed: JournalWriteError | None = None
        self._lock_key: int | None = None
        self._read_lock = threading.Lock()
        self._reading = self._connect()

    # What a journal asks of a store.

    def create(self) -> None:
        """Make the tables where there are none, and refuse UPDATE and DELETE by triggers."""
        with self._engine.begin() as connection:
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_CREATING})"))
            if connection.execute(sa.text("SELECT to_regclass('events')")).scalar() is not None:
                return  # a trigger made again would wait for every run that writes
            self._metadata.create_all(connection)
            connection.execute(sa.text(_KEEP))
            for table in TABLES:
                connection.execute(
                    sa.text(
                        f"CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
                        "FOR EACH STATEMENT EXECUTE FUNCTION crucible_append_only()"
                    )
                )

    def query(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query with `:named` values; a lost connection is tried again."""
        until = time.monotonic() + self._patience_s
        with self._read_lock:
            return self._query(sql, values, until)

    def _query(self, sql: str, values: dict[str, Any], until: float) -> list[tuple[Any, ...]]:
        while True:
            try:
                rows = self._reading.execute(sa.text(sql), values).fetchall()
                self._reading.rollback()
                return [tuple(row) for row in rows]
            except sa.exc.OperationalError as error:
                self._drop(self._reading)
                self._reading = self._reconnect(error, until)
            except sa.exc.DBAPIError as error:
                raise JournalCorruptError(self.shown, reason=_said(error)) from error

    def rows(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query."""
        yield from self.query(sql, **values)

    def append(self, table: str, row: tuple[Any, ...]) -> Awaitable[None]:
        """Queue a row; what is returned ends when it is acknowledged."""
        waiter = _Waiter()
        waiting = waiter.on_loop()
        self._rows.put((table, row, waiter))
        return waiting

    def append_now(self, table: str, row: tuple[Any, ...]) -> None:
        """Write a row and wait for its acknowledgement."""
        waiter = _Waiter()
        self._rows.put((table, row, waiter))
        waiter.done.wait()
        waiter.result()

    def set_meta(self, design: str, key: str, value: str) -> None:
        """Store a fact that is not there yet."""
        table = self._metadata.tables["meta"]
        insert = postgresql.insert(table).values(design=design, key=key, value=value)
        with self._engine.begin() as connection:
            connection.execute(insert.on_conflict_do_nothing())

    def lock(self, design: str) -> None:
        """Keep other processes out of a run: by a lock that ends with the connection.

        Raises
        ------
        JournalLockedError
            If another process holds it.
        """
        self._lock_key = int.from_bytes(hashlib.sha256(design.encode()).digest()[:8], signed=True)
        self._writing = self._connect()
        self._take_lock(self._writing)
        self._thread = threading.Thread(target=self._write, name="crucible-journal", daemon=True)
        self._thread.start()

    def release_reserve(self) -> None:
        """Do nothing: the recovery file is on another disk than the database."""

    def close(self) -> None:
        """Write what is queued, and let other processes in."""
        if self._thread is not None:
            self._rows.put(None)
            self._thread.join()
            self._thread = None
        for connection in (self._writing, self._reading):
            if connection is not None:
                connection.close()
        self._engine.dispose()

    # The thread that writes.

    def _write(self) -> None:
        last = False
        while not last:
            batch = [self._rows.get()]
            until = time.monotonic() + _GATHER_S
            while batch[-1] is not None and len(batch) < _AT_ONCE:
                try:
                    batch.append(self._rows.get(timeout=max(0.0, until - time.monotonic())))
                except queue.Empty:
                    break
            last = batch[-1] is None
            rows = [entry for entry in batch if entry is not None]
            if not rows:
                continue
            if self._failed is None:
                self._commit([(table, row) for table, row, _ in rows])
            for _, _, waiter in rows:
                waiter.error = self._failed
                waiter.done.set()
            self._wake([waiter for _, _, waiter in rows if waiter.token is not None])

    def _wake(self, waiters: list[_Waiter]) -> None:
        if not waiters:
            return

        def wake() -> None:
            for waiter in waiters:
                waiter.wake()

        try:
            anyio.from_thread.run_sync(wake, token=waiters[0].token)
        except RuntimeError:  # the event loop has ended: nobody waits any more
            return

    def _commit(self, rows: list[tuple[str, tuple[Any, ...]]]) -> None:
        """Insert rows in one transaction; those of a lost acknowledgement are there already."""
        until = time.monotonic() + self._patience_s
        while True:
            try:
                assert self._writing is not None
                with self._writing.begin():
                    for table in TABLES:
                        values = [row for name, row in rows if name == table]
                        if values:
                            names = ("n", *TABLES[table], "row_hash")
                            self._writing.execute(
                                postgresql.insert(self._tables[table]).on_conflict_do_nothing(
                                    index_elements=["n", "design"]
                                ),
                                [dict(zip(names, row, strict=True)) for row in values],
                            )
                return
            except sa.exc.OperationalError as error:
                if self._writing is not None:
                    self._drop(self._writing)
                    self._writing = None
                try:
                    self._writing = self._reconnect(error, until)
                    self._take_lock(self._writing)
                except (JournalWriteError, JournalLockedError) as gone:
                    self._failed = JournalWriteError(str(gone))
                    return
            except sa.exc.DBAPIError as error:
                self._failed = JournalWriteError(f"cannot write {self.shown}: {_said(error)}")
                return

    def _take_lock(self, connection: sa.Connection) -> None:
        until = time.monotonic() + _LET_GO_S
        while True:
            taken = connection.execute(
                sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": self._lock_key}
            ).scalar()
            connection.commit()
            if taken:
                return
            if time.monotonic() >= until:
                raise JournalLockedError(self.shown, pid=None, host=None)
            time.sleep(0.05)

    def _connect(self) -> sa.Connection:
        try:
            connection = self._engine.connect()
            name = f"crucible {os.getpid()} on {socket.gethostname()}"
            connection.execute(
                sa.text("SELECT set_config('application_name', :name, false)"), {"name": name}
            )
            connection.commit()
        except sa.exc.OperationalError as error:
            raise JournalWriteError(f"cannot reach {self.shown}: {_said(error)}") from error
        return connection

    def _reconnect(self, error: Exception, until: float) -> sa.Connection:
        """Try again, at growing intervals with jitter, until the time is up."""
        pause_s = 0.05
        while True:
            try:
                return self._connect()
            except JournalWriteError as gone:
                if time.monotonic() >= until:
                    raise JournalWriteError(
                        f"{self.shown} could not be reached for {self._patience_s:g} s: "
                        f"{_said(error)}. Everything acknowledged is kept; resume once it is back"
                    ) from gone
            time.sleep(pause_s * (1 + random.random()))  # full jitter; no result depends on it
            pause_s = min(1.0, 2 * pause_s)

    def _drop(self, connection: sa.Connection) -> None:
        try:
            connection.invalidate()
            connection.close()
        except sa.exc.SQLAlchemyError:
            return


def _said(error: Exception) -> str:
    """Return the first line of what the database said, without the statement."""
    return str(getattr(error, "orig", error) or error).strip().partition("\n")[0]
