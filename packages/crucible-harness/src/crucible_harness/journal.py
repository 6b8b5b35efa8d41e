"""The journal: each finished call is one durable row, and rows are never changed."""

import hashlib
import json
import os
import socket
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crucible_harness.errors import (
    DesignMismatchError,
    JournalCorruptError,
    JournalLockedError,
    JournalWriteError,
    NotARunError,
)
from crucible_harness.experiment import canonical

SCHEMA = "crucible-harness/journal/1"
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS intents (
  n INTEGER PRIMARY KEY, leaf_key TEXT NOT NULL, attempt INTEGER NOT NULL,
  UNIQUE (leaf_key, attempt));
CREATE TABLE IF NOT EXISTS calls (
  n INTEGER PRIMARY KEY, leaf_key TEXT NOT NULL, attempt INTEGER NOT NULL,
  item TEXT NOT NULL, repeat INTEGER NOT NULL, status TEXT NOT NULL,
  request TEXT NOT NULL, response TEXT, error_class TEXT, error_message TEXT,
  input_tokens INTEGER, output_tokens INTEGER, cost_usd REAL, billed_usd REAL, latency_s REAL,
  started_ns INTEGER NOT NULL, simulated INTEGER, row_hash TEXT NOT NULL,
  UNIQUE (leaf_key, attempt));
CREATE TABLE IF NOT EXISTS cells (
  n INTEGER PRIMARY KEY, condition TEXT NOT NULL, item TEXT NOT NULL, repeat INTEGER NOT NULL,
  attempt INTEGER NOT NULL, status TEXT NOT NULL, record TEXT NOT NULL, row_hash TEXT NOT NULL,
  UNIQUE (condition, item, repeat, attempt));
"""
_COLUMNS = {
    "calls": (
        "leaf_key", "attempt", "item", "repeat", "status", "request", "response", "error_class",
        "error_message", "input_tokens", "output_tokens", "cost_usd", "billed_usd", "latency_s",
        "started_ns", "simulated",
    ),
    "cells": ("condition", "item", "repeat", "attempt", "status", "record"),
}  # fmt: skip
# Freed when the disk is full, so that answers in flight can still be written beside the journal.
_RESERVE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One finished request to a leaf model: what was asked, and how it ended."""

    leaf_key: str
    attempt: int
    item: str
    repeat: int
    status: str
    request: Mapping[str, Any]
    response: Mapping[str, Any] | None = None
    error_class: str | None = None
    error_message: str | None = None
    started_ns: int

    def row(self) -> tuple[Any, ...]:
        """Return the values in the order of the table."""
        answer = self.response or {}
        facts = [answer.get(n) for n in _COLUMNS["calls"][9:14]]
        return (
            self.leaf_key, self.attempt, self.item, self.repeat, self.status,
            canonical(self.request), None if self.response is None else canonical(self.response),
            self.error_class, self.error_message, *facts, self.started_ns,
            None if self.response is None else int(bool(answer.get("simulated"))),
        )  # fmt: skip


class Journal:
    """Append-only SQLite file of one run.

    Parameters
    ----------
    path : path of the file
    design : mapping, optional
        Creates the file, or checks that it is a run of this design. Without, the file must exist.

    Raises
    ------
    NotARunError, JournalCorruptError
        If there is no journal, or it cannot be read.
    DesignMismatchError
        If the file holds a run of another design.

    Notes
    -----
    Write-ahead log with synchronous=NORMAL: a committed row survives `kill -9`. UPDATE and DELETE
    are refused by triggers, and each row carries the hash of the row before it. When a write fails,
    `failure` is set, answers that still arrive go to `recovery.jsonl` beside the file, and the next
    `Journal` on it reads them back.
    """

    def __init__(self, path: Path, *, design: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.failure: JournalWriteError | None = None
        self._lock: Any = None
        self._recovery = path.with_name("recovery.jsonl")
        self._reserve = path.with_name(".reserve")
        if design is None and not path.is_file():
            raise NotARunError(f"{str(path.parent)!r} holds no run (no {path.name})")
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            if design is not None:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._create(design)
            self._hash = {table: self._last_hash(table) for table in _COLUMNS}
        except sqlite3.OperationalError as error:
            raise self._write_error(error) from error
        except sqlite3.DatabaseError as error:
            raise JournalCorruptError(f"{str(path)!r} is damaged: {error}") from error

    def _create(self, design: Mapping[str, Any]) -> None:
        self._db.executescript(_TABLES)
        for table in ("intents", "calls", "cells"):
            for verb in ("UPDATE", "DELETE"):
                self._db.execute(
                    f"CREATE TRIGGER IF NOT EXISTS no_{verb.lower()}_{table} BEFORE {verb} ON "
                    f"{table} BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
                )
        wanted = canonical(design)
        for key, value in (("schema", SCHEMA), ("design", wanted)):
            self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, value))
        stored = self.meta("design")
        if stored != wanted:
            old = json.loads(stored)
            fields = tuple(k for k in {**old, **design} if old.get(k) != design.get(k))
            raise DesignMismatchError(str(self.path.parent), fields)

    def lock(self) -> None:
        """Keep other processes out until this one ends, however it ends; take back what was saved.

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
            holder = self._lock.read().strip() or "unknown"
            self._lock.close()
            self._lock = None
            raise JournalLockedError(str(self.path.parent), holder) from None
        try:
            self._lock.truncate(0)
            self._lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            self._lock.flush()
            self._take_back()
            if not self._reserve.exists():
                self._reserve.write_bytes(os.urandom(_RESERVE_BYTES))
        except OSError as error:
            raise self._write_error(error) from error

    def close(self) -> None:
        """Close the file; the last one to close folds the write-ahead log into it."""
        self._db.close()
        if self._lock is not None:
            self._reserve.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def meta(self, key: str) -> str:
        """Return one fact about the run."""
        try:
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise JournalCorruptError(f"{str(self.path)!r} is no journal: {error}") from error
        if row is None:
            raise JournalCorruptError(f"{str(self.path)!r} is not a journal of this version")
        return str(row[0])

    def intend(self, leaf_key: str) -> int:
        """Note that a call is about to be sent; return its attempt number.

        Raises
        ------
        JournalWriteError
            If it cannot be noted: then the call must not be sent.
        """
        if self.failure is not None:
            raise self.failure
        row = self._db.execute(
            "SELECT COUNT(*) FROM intents WHERE leaf_key = ?", (leaf_key,)
        ).fetchone()
        attempt = int(row[0])
        try:
            self._db.execute(
                "INSERT INTO intents (leaf_key, attempt) VALUES (?, ?)", (leaf_key, attempt)
            )
        except sqlite3.OperationalError as error:
            self.failure = self._write_error(error)
            raise self.failure from error
        return attempt

    def finish_call(self, call: Call) -> None:
        """Write down how a call ended; on a full disk, into the recovery file."""
        if self.failure is None:
            try:
                self._append("calls", call.row())
                return
            except sqlite3.OperationalError as error:
                self.failure = self._write_error(error)
        self._reserve.unlink(missing_ok=True)
        with self._recovery.open("a", encoding="utf-8") as file:
            file.write(json.dumps(call.row()) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def answer(self, leaf_key: str) -> dict[str, Any] | None:
        """Return the answer of a call that has succeeded."""
        row = self._db.execute(
            "SELECT response FROM calls WHERE leaf_key = ? AND status = 'ok'", (leaf_key,)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def finish_cell(
        self, condition: str, item: str, repeat: int, status: str, record: Mapping[str, Any]
    ) -> None:
        """Write down the outcome of a cell.

        After a failed write it does nothing: the cell is computed again from its calls.
        """
        if self.failure is not None:
            return
        row = self._db.execute(
            "SELECT COUNT(*) FROM cells WHERE condition = ? AND item = ? AND repeat = ?",
            (condition, item, repeat),
        ).fetchone()
        values = (condition, item, repeat, int(row[0]), status, canonical(record))
        try:
            self._append("cells", values)
        except sqlite3.OperationalError as error:
            self.failure = self._write_error(error)

    def cells(self) -> dict[tuple[str, str, int], tuple[str, dict[str, Any]]]:
        """Return status and record of every finished cell, the latest attempt of each."""
        rows = self._db.execute(
            "SELECT condition, item, repeat, status, record FROM cells ORDER BY n"
        )
        return {(c, i, r): (status, json.loads(text)) for c, i, r, status, text in rows}

    def answered(self) -> int:
        """Return how many calls were answered."""
        row = self._db.execute("SELECT COUNT(*) FROM calls WHERE status = 'ok'").fetchone()
        return int(row[0])

    def possibly_billed(self) -> tuple[str, ...]:
        """Return keys of calls that were sent and whose end was never seen, by a crash."""
        rows = self._db.execute(
            "SELECT i.leaf_key FROM intents i LEFT JOIN calls c USING (leaf_key, attempt) "
            "WHERE c.n IS NULL ORDER BY i.n"
        )
        return tuple(str(row[0]) for row in rows)

    def broken_row(self) -> str | None:
        """Return the first row whose hash does not follow from those before it, if any."""
        for table, columns in _COLUMNS.items():
            last = ""
            for n, stored, *values in self._db.execute(
                f"SELECT n, row_hash, {', '.join(columns)} FROM {table} ORDER BY n"
            ):
                if _digest(last, *values) != stored:
                    return f"{table} row {n}"
                last = stored
        return None

    def _take_back(self) -> None:
        """Append what an earlier process could only write beside the journal."""
        if not self._recovery.is_file():
            return
        for line in self._recovery.read_text(encoding="utf-8").splitlines():
            try:
                row = tuple(json.loads(line))
            except ValueError:
                break  # torn by a second failure while it was written
            known = self._db.execute(
                "SELECT 1 FROM calls WHERE leaf_key = ? AND attempt = ?", row[:2]
            ).fetchone()
            if known is None:
                self._append("calls", row)
        self._recovery.unlink()

    def _append(self, table: str, values: tuple[Any, ...]) -> None:
        columns = _COLUMNS[table]
        digest = _digest(self._hash[table], *values)
        self._db.execute(
            f"INSERT INTO {table} ({', '.join(columns)}, row_hash) "
            f"VALUES ({', '.join('?' * len(columns))}, ?)",
            (*values, digest),
        )
        self._hash[table] = digest

    def _last_hash(self, table: str) -> str:
        row = self._db.execute(f"SELECT row_hash FROM {table} ORDER BY n DESC LIMIT 1").fetchone()
        return "" if row is None else str(row[0])

    def _write_error(self, error: Exception) -> JournalWriteError:
        return JournalWriteError(
            f"cannot write {str(self.path)!r}: {error}. Everything answered so far is kept; make "
            "room and resume"
        )


def _digest(previous: str, *values: object) -> str:
    return hashlib.sha256(canonical([previous, *values]).encode()).hexdigest()
