"""The journal: each finished call is one durable row, and rows are never changed."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crucible_harness.chain import broken_row
from crucible_harness.clock import Clock, SystemClock
from crucible_harness.errors import (
    DesignMismatchError,
    JournalCorruptError,
    JournalVersionError,
    JournalWriteError,
    NotARunError,
)
from crucible_harness.journal_sqlite import Durability, SQLiteStore
from crucible_harness.journal_store import open_store
from crucible_harness.recovery import Recovery
from crucible_harness.tables import (
    SCHEMA,
    TABLES,
    Call,
    CallKey,
    Outcome,
    chained,
    line,
    storable,
)

Key = tuple[str, str, int]


class Journal:
    """Append-only record of one run.

    Parameters
    ----------
    where : path or str
        A file, or the URL of a PostgreSQL database (`postgresql://...`).
    design : mapping, optional
        Creates the journal, or checks that it is of this design. Without, it must exist.
    digest : str, optional
        Of the run, where several share a database and `design` is not given.
    folder : path, optional
        Where answers go that cannot be written down; the file's own by default.
    durability : {"process", "power"}
        What a written row survives, in a file; a database has its own setting.

    Raises
    ------
    NotARunError
        If there is no journal.
    JournalCorruptError
        If it cannot be read.
    JournalVersionError
        If another version of this package wrote it.
    DesignMismatchError
        If it is a run of another design.

    Notes
    -----
    UPDATE and DELETE are refused by triggers, and each row carries the hash of the row before it.
    With a file, a call's row is committed without an await after its answer: no crash can come
    between them. When a write fails, `failure` is set, answers that still arrive go to
    `recovery.jsonl`, and the next `Journal` that is locked reads them back.
    """

    def __init__(
        self,
        where: Path | str,
        *,
        design: Mapping[str, Any] | None = None,
        digest: str | None = None,
        folder: Path | None = None,
        durability: Durability = "process",
    ) -> None:
        self.failure: JournalWriteError | None = None
        self.clock: Clock = SystemClock()
        self._store = open_store(
            where, folder=folder, durability=durability, create=design is not None
        )
        self.path = None if folder is not None else Path(where)
        self.folder = folder or Path(where).parent
        self._recovery = Recovery(self.folder)
        self._attempts: dict[bytes, int] | None = None
        self._tries: dict[Key, int] | None = None
        try:
            if design is not None:
                self._store.create()
            self.digest = self._identify(design, digest)
            self._last = {table: self._end(table) for table in TABLES}
        except BaseException:
            self._store.close()
            raise

    def _identify(self, design: Mapping[str, Any] | None, digest: str | None) -> str:
        """Return the digest of the run, after checking that this is the journal of it."""
        if design is not None:
            wanted = line(design)
            mine = hashlib.sha256(wanted.encode()).hexdigest()
            found = self._meta_of(mine)
            if not found:
                others = self._store.query("SELECT value FROM meta WHERE key = 'design'")
                if others and isinstance(self._store, SQLiteStore):
                    raise DesignMismatchError(str(self.folder), _differ(others[0][0], design))
                for key, value in (("schema", SCHEMA), ("design", wanted)):
                    self._store.set_meta(mine, key, value)
                return mine
        elif digest is None:
            designs = self._store.query("SELECT design FROM meta WHERE key = 'design'")
            if len(designs) != 1:
                raise JournalCorruptError(self._store.shown, reason="it names no design")
            mine = str(designs[0][0])
        else:
            mine = digest
        schema = self._meta_of(mine).get("schema")
        if schema is None:
            raise NotARunError(f"{self._store.shown!r} holds no run {mine[:8]}")
        if schema != SCHEMA:
            raise JournalVersionError(self._store.shown, found=schema, known=SCHEMA)
        return mine

    def _meta_of(self, digest: str) -> dict[str, str]:
        rows = self._store.query("SELECT key, value FROM meta WHERE design = :d", d=digest)
        return {str(key): str(value) for key, value in rows}

    def lock(self) -> None:
        """Keep other processes out until this one ends; take back what could not be written.

        Raises
        ------
        JournalLockedError
            If another live process holds the lock.
        """
        self._store.lock(self.digest)
        self._last = {table: self._end(table) for table in TABLES}
        self._take_back()

    def close(self) -> None:
        """Close it and let other processes in."""
        self._store.close()

    def meta(self, key: str) -> str:
        """Return one fact about the run.

        Raises
        ------
        JournalCorruptError
            If it is not there.
        """
        found = self._meta_of(self.digest)
        if key not in found:
            raise JournalCorruptError(self._store.shown, reason=f"it holds no {key}")
        return found[key]

    # Writing. Nothing here awaits where the store is a file.

    async def intend(
        self,
        leaf_key: str,
        *,
        condition: str,
        item: str,
        repeat: int = 0,
        sample: int | None = None,
        reserved_usd: float | None = None,
    ) -> int:
        """Note that a call is about to be sent; return its attempt number.

        Raises
        ------
        JournalWriteError
            If it cannot be noted: then the call must not be sent.
        """
        if self.failure is not None:
            raise self.failure
        known = self._known()
        short = bytes.fromhex(leaf_key)
        attempt = known.get(short, 0)
        known[short] = attempt + 1
        row = (self.digest, leaf_key, attempt, condition, item, repeat, sample, reserved_usd)
        try:
            await self._append("intents", row)
        except JournalWriteError as error:
            self.failure = error
            raise
        return attempt

    async def finish_call(self, call: Call) -> None:
        """Write down how a call ended; where that fails, into the recovery file."""
        await self._keep("calls", call.row(self.digest))

    async def finish_cell(self, outcome: Outcome) -> None:
        """Write down the outcome of a cell.

        After a failed write it does nothing: the cell is computed again from its calls.
        """
        if self.failure is not None:
            return
        if self._tries is None:
            self.states()
        assert self._tries is not None
        key = (outcome.condition, outcome.item, outcome.repeat)
        attempt = self._tries.get(key, 0)
        self._tries[key] = attempt + 1
        try:
            await self._append("cells", outcome.row(self.digest, attempt))
        except JournalWriteError as error:
            self.failure = error

    async def note(self, kind: str, **detail: Any) -> None:
        """Write down an event; where that fails, nothing is lost but the note."""
        if self.failure is None:
            row = (self.digest, kind, self.clock.time_ns(), storable(line(detail)))
            try:
                await self._append("events", row)
            except JournalWriteError as error:
                self.failure = error

    # Reading.

    async def answer(self, leaf_key: str) -> dict[str, Any] | None:
        """Return the answer of a call that has succeeded."""
        if bytes.fromhex(leaf_key) not in self._known():
            return None  # never asked; a database is not asked, either
        import anyio

        sql = (
            "SELECT response FROM calls WHERE leaf_key = :k AND design = :d "
            "AND response IS NOT NULL"
        )
        if isinstance(self._store, SQLiteStore):
            rows = self._store.query(sql, k=leaf_key, d=self.digest)
        else:
            rows = await anyio.to_thread.run_sync(
                lambda: self._store.query(sql, k=leaf_key, d=self.digest)
            )
        return json.loads(rows[0][0]) if rows else None

    def states(self) -> dict[Key, str]:
        """Return the status of every finished cell, the latest attempt of each."""
        found: dict[Key, str] = {}
        tries: dict[Key, int] = {}
        for c, i, r, status in self._store.rows(
            "SELECT condition, item, repeat, status FROM cells WHERE design = :d ORDER BY n",
            d=self.digest,
        ):
            key = (c, i, r)
            found[key] = status
            tries[key] = tries.get(key, 0) + 1
        self._tries = tries
        return found

    def cells(self) -> dict[Key, tuple[str, dict[str, Any]]]:
        """Return status and record of every finished cell, the latest attempt of each."""
        found: dict[Key, tuple[str, dict[str, Any]]] = {}
        for c, i, r, attempt, status, output, scores, keys, cost, latency in self._store.rows(
            "SELECT condition, item, repeat, attempt, status, output, scores, call_keys, "
            "cost_usd, latency_s FROM cells WHERE design = :d ORDER BY n",
            d=self.digest,
        ):
            found[c, i, r] = status, {
                **json.loads(output), "scores": json.loads(scores), "call_keys": json.loads(keys),
                "attempts": attempt + 1, "cost_usd": cost, "latency_s": latency,
            }  # fmt: skip
        return found

    def events(self) -> list[dict[str, Any]]:
        """Return what happened to the run: kind, time (ns since 1970) and details of each."""
        rows = self._store.query(
            "SELECT kind, time_ns, detail FROM events WHERE design = :d ORDER BY n", d=self.digest
        )
        return [{"kind": k, "time_ns": t, **json.loads(detail)} for k, t, detail in rows]

    def answered(self) -> int:
        """Return how many calls were answered."""
        return self._count("SELECT COUNT(*) FROM calls WHERE design = :d AND response IS NOT NULL")

    def possibly_billed(self) -> tuple[CallKey, ...]:
        """Return the calls that were sent and whose end was never seen, by a crash."""
        return tuple(key for key, _ in self.lost())

    def lost(self) -> list[tuple[CallKey, float | None]]:
        """Return calls whose end was never seen, with what was reserved for each in dollars."""
        rows = self._store.query(
            "SELECT i.condition, i.item, i.repeat, i.sample, i.leaf_key, i.reserved_usd "
            "FROM intents i LEFT JOIN calls c ON c.leaf_key = i.leaf_key AND c.attempt = i.attempt "
            "AND c.design = i.design WHERE c.n IS NULL AND i.design = :d ORDER BY i.n",
            d=self.digest,
        )
        return [
            (CallKey(condition=c, item=i, repeat=r, sample=s, leaf_key=k), reserved)
            for c, i, r, s, k, reserved in rows
        ]

    def bills(self) -> Iterator[tuple[str, str, str, str, float | None, float | None]]:
        """Yield condition that paid, item, model, status, bill and reservation of each call."""
        yield from self._store.rows(
            "SELECT i.condition, i.item, c.request, c.status, COALESCE(c.billed_usd, c.cost_usd), "
            "c.reserved_usd FROM calls c JOIN intents i ON i.leaf_key = c.leaf_key AND "
            "i.attempt = c.attempt AND i.design = c.design WHERE c.design = :d ORDER BY c.n",
            d=self.digest,
        )

    def sent(self) -> Iterator[dict[str, Any]]:
        """Yield every call in the order in which they ended, with the condition that sent it."""
        columns = {
            "n": "c.n",
            "condition": "i.condition",
            "leaf_key": "c.leaf_key",
            "request": "c.request",
            "status": "c.status",
            "latency_s": "c.latency_s",
            "started_ns": "c.started_ns",
            "cost_usd": "COALESCE(c.billed_usd, c.cost_usd)",
        }
        for row in self._store.rows(
            f"SELECT {', '.join(columns.values())} FROM calls c JOIN intents i ON "
            "i.leaf_key = c.leaf_key AND i.attempt = c.attempt AND i.design = c.design "
            "WHERE c.design = :d ORDER BY c.n",
            d=self.digest,
        ):
            yield dict(zip(columns, row, strict=True))

    def calls(self) -> Iterator[dict[str, Any]]:
        """Yield every call's row, in the order in which they ended."""
        names = tuple(TABLES["calls"])
        for row in self._store.rows(
            f"SELECT {', '.join(names)} FROM calls WHERE design = :d ORDER BY n", d=self.digest
        ):
            yield dict(zip(names, row, strict=True))

    def broken_row(self) -> str | None:
        """Return the first row whose hash does not follow from those before it, if any."""
        return broken_row(self._store, self.digest)

    def check(self) -> None:
        """Raise if a row is not what was written.

        Raises
        ------
        JournalCorruptError
            With `table` and `row` of the first one.
        """
        broken = self.broken_row()
        if broken is not None:
            table, _, row = broken.split()
            raise JournalCorruptError(self._store.shown, table=table, row=int(row))

    # How rows get there.

    async def _keep(self, table: str, values: tuple[Any, ...]) -> None:
        if self.failure is None:
            try:
                await self._append(table, values)
                return
            except JournalWriteError as error:
                self.failure = error
        self._store.release_reserve()
        self._recovery.keep(table, values)

    async def _append(self, table: str, values: tuple[Any, ...]) -> None:
        written = self._store.append(table, self._row(table, values))
        if written is not None:
            await written

    def _row(self, table: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the whole row: its number, its values, and its hash, which follows the last."""
        n, last = self._last[table]
        digest = chained(last, values)
        self._last[table] = (n + 1, digest)
        return (n + 1, *values, digest)

    def _take_back(self) -> None:
        """Append what an earlier process could only write beside the journal."""
        for table, values in self._recovery.rows():
            row = dict(zip(TABLES[table], values, strict=True))
            known = self._store.query(
                "SELECT 1 FROM calls WHERE leaf_key = :k AND attempt = :a AND design = :d",
                k=row["leaf_key"], a=row["attempt"], d=self.digest,
            )  # fmt: skip
            if not known:
                self._store.append_now(table, self._row(table, values))
        self._recovery.forget()

    def _known(self) -> dict[bytes, int]:
        """Return how often each call was begun."""
        if self._attempts is None:
            self._attempts = {
                bytes.fromhex(key): int(most) + 1
                for key, most in self._store.rows(
                    "SELECT leaf_key, MAX(attempt) FROM (SELECT leaf_key, attempt FROM intents "
                    "WHERE design = :d UNION ALL SELECT leaf_key, attempt FROM calls WHERE "
                    "design = :d) AS begun GROUP BY leaf_key",
                    d=self.digest,
                )
            }
        return self._attempts

    def _end(self, table: str) -> tuple[int, str]:
        rows = self._store.query(
            f"SELECT n, row_hash FROM {table} WHERE design = :d ORDER BY n DESC LIMIT 1",
            d=self.digest,
        )
        return (int(rows[0][0]), str(rows[0][1])) if rows else (0, "")

    def _count(self, sql: str) -> int:
        return int(self._store.query(sql, d=self.digest)[0][0])


def _differ(stored: str, design: Mapping[str, Any]) -> tuple[str, ...]:
    old = json.loads(stored)
    new = json.loads(line(design))
    return tuple(k for k in {**old, **new} if old.get(k) != new.get(k))
