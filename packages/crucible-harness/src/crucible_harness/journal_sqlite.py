"""The journal in a SQLite file: one process writes it, and a killed one leaves it readable."""

import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from crucible_harness.errors import JournalCorruptError, JournalLockedError, JournalWriteError
from crucible_harness.journal_checkpoints import Checkpoints
from crucible_harness.tables import TABLES, UNIQUE

Durability = Literal["process", "power"]
_TYPES = {"text": "TEXT", "int": "INTEGER", "real": "REAL"}
# Freed when the disk is full, so that answers in flight can still be written beside the journal.
_RESERVE_BYTES = 1_000_000
# Rows after which the log is folded into the file, on the side. They fill few pages over and over;
# copied less often, fewer are copied.
_FOLDED_EVERY = 2_000
# Pages (of 4 KB) after which the writer itself folds: a log that never rests grows no further.
_LOG_AT_MOST = 16_000


class SQLiteStore:
    """Rows in a file, in a write-ahead log.

    Parameters
    ----------
    path : path of the file
    durability : {"process", "power"}
        "process" survives the death of the process (synchronous=NORMAL), "power" also that of the
        machine (FULL), at about a third of the rate.

    Raises
    ------
    JournalCorruptError
        If the file is no database.
    JournalWriteError
        If it cannot be opened.
    """

    def __init__(self, path: Path, *, durability: Durability = "process") -> None:
        self.path = path
        self.shown = str(path)
        self._lock: Any = None
        self._checkpoints: Checkpoints | None = None
        self._unfolded = 0
        self._reserve = path.with_name(".reserve")
        self._durability = durability
        self._inserts = {table: _insert(table) for table in TABLES}
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("SELECT name FROM sqlite_master LIMIT 1")
        except sqlite3.DatabaseError as error:
            raise self._failed(error) from error

    def create(self) -> None:
        """Make the tables where there are none, and refuse UPDATE and DELETE by triggers."""
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            level = "FULL" if self._durability == "power" else "NORMAL"
            self._db.execute(f"PRAGMA synchronous={level}")
            self._db.execute(f"PRAGMA wal_autocheckpoint={_LOG_AT_MOST}")
            self._db.executescript("BEGIN;" + "".join(_statements()) + "COMMIT;")
        except sqlite3.DatabaseError as error:
            raise self._failed(error) from error

    def query(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query with `:named` values."""
        return list(self.rows(sql, **values))

    def rows(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, one by one."""
        try:
            yield from self._db.execute(sql, values)
        except sqlite3.DatabaseError as error:
            raise JournalCorruptError(self.shown, reason=str(error)) from error

    def append(self, table: str, row: tuple[Any, ...]) -> None:
        """Insert a row; it is durable when this returns, without an await in between.

        Raises
        ------
        JournalWriteError
            If it cannot be written.
        """
        try:
            self._db.execute(self._inserts[table], row)
        except sqlite3.DatabaseError as error:
            raise self._failed(error) from error
        self._unfolded += 1
        if self._unfolded >= _FOLDED_EVERY and self._checkpoints is not None:
            self._unfolded = 0
            self._checkpoints.begin()

    append_now = append

    def set_meta(self, design: str, key: str, value: str) -> None:
        """Store a fact that is not there yet."""
        try:
            self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?, ?)", (design, key, value))
        except sqlite3.DatabaseError as error:
            raise self._failed(error) from error

    def lock(self, design: str) -> None:
        """Keep other processes out until this one ends, however it ends.

        Raises
        ------
        JournalLockedError
            If another live process holds the lock.
        """
        import fcntl

        self._lock = self.path.with_suffix(".lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.seek(0)
            pid, _, host = self._lock.read().strip().partition(" ")
            self._lock.close()
            self._lock = None
            raise JournalLockedError(
                str(self.path.parent), pid=int(pid) if pid.isdigit() else None, host=host or None
            ) from None
        try:
            self._lock.truncate(0)
            self._lock.write(f"{os.getpid()} {socket.gethostname()}\n")
            self._lock.flush()
            if not self._reserve.exists():
                self._reserve.write_bytes(os.urandom(_RESERVE_BYTES))
        except OSError as error:
            raise self._failed(error) from error
        self._checkpoints = Checkpoints(self.path)

    def release_reserve(self) -> None:
        """Give the disk back what was kept for this moment."""
        self._reserve.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; the last one to close folds the write-ahead log into it."""
        if self._checkpoints is not None:
            self._checkpoints.end()
            self._checkpoints = None
        self._db.close()
        if self._lock is not None:
            self._reserve.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _failed(self, error: Exception) -> JournalWriteError | JournalCorruptError:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError | sqlite3.IntegrityError
        ):
            return JournalCorruptError(self.shown, reason=str(error))
        return JournalWriteError(
            f"cannot write {self.shown!r}: {error}. Everything answered so far is kept; make "
            "room and resume"
        )


def _insert(table: str) -> str:
    names = ("n", *TABLES[table], "row_hash")
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


def _statements() -> Iterator[str]:
    yield (
        "CREATE TABLE IF NOT EXISTS meta (design TEXT NOT NULL, key TEXT NOT NULL, "
        "value TEXT NOT NULL, PRIMARY KEY (design, key));"
    )
    for table, columns in TABLES.items():
        fields = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in columns.items())
        unique = f", UNIQUE ({', '.join(UNIQUE[table])})" if table in UNIQUE else ""
        yield (
            f"CREATE TABLE IF NOT EXISTS {table} (n INTEGER PRIMARY KEY, {fields}, "
            f"row_hash TEXT NOT NULL{unique});"
        )
        for verb in ("UPDATE", "DELETE"):
            yield (
                f"CREATE TRIGGER IF NOT EXISTS no_{verb.lower()}_{table} BEFORE {verb} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;"
            )
