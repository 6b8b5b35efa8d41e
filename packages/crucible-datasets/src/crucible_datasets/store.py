"""Evaluations kept in one SQLite file: one row each, answers compressed beside it."""

import gzip
import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crucible_datasets.results import EvaluationResult, ItemResult, MetricValue

_TABLE = """
CREATE TABLE IF NOT EXISTS evaluations (
    id TEXT PRIMARY KEY, saved_at TEXT NOT NULL, model TEXT, dataset TEXT NOT NULL, split TEXT,
    fingerprint TEXT NOT NULL, accuracy REAL, n_items INTEGER NOT NULL,
    result TEXT NOT NULL, items BLOB NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvaluation:
    """One row: what it is about, without the answers."""

    id: str
    saved_at: datetime
    model: str | None
    dataset: str
    split: str | None
    fingerprint: str
    accuracy: float | None
    n_items: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**row, "saved_at": self.saved_at.isoformat()}


class ResultStore:
    """Evaluations in a file that several processes may use.

    Parameters
    ----------
    path : path
        Created if it is not there; its folder must be.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with self._open() as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(_TABLE)

    def save(self, result: EvaluationResult) -> str:
        """Keep a result; return its id, which is random."""
        id = secrets.token_hex(8)
        row = result.to_dict()
        items = gzip.compress(json.dumps(row.pop("items")).encode(), mtime=0)
        row["labels"] = {key: dict(labels) for key, labels in result.labels.items()}
        with self._open() as db:
            db.execute(
                "INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (id, datetime.now(UTC).isoformat(), result.model, result.dataset, result.split,
                 result.fingerprint, result.accuracy, result.n_items, json.dumps(row), items),
            )  # fmt: skip
        return id

    def get(self, id: str) -> EvaluationResult:
        """Return a result as it was saved.

        Raises
        ------
        ValueError
            If there is none of that id.
        """
        with self._open() as db:
            found = db.execute(
                "SELECT result, items FROM evaluations WHERE id = ?", (id,)
            ).fetchone()
        if found is None:
            raise ValueError(f"`id` must be the id of a stored result, got {id!r}")
        return _restored(json.loads(found[0]), json.loads(gzip.decompress(found[1])))

    def query(
        self,
        *,
        model: str | None = None,
        dataset: str | None = None,
        min_accuracy: float | None = None,
        max_accuracy: float | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[StoredEvaluation, ...]:
        """Return the rows that fit all conditions, the oldest first.

        Parameters
        ----------
        since, until : datetime with a time zone, optional
            Both inclusive.
        """
        conditions: list[tuple[str, Any]] = [
            ("model = ?", model), ("dataset = ?", dataset), ("accuracy >= ?", min_accuracy),
            ("accuracy <= ?", max_accuracy), ("saved_at >= ?", _utc("since", since)),
            ("saved_at <= ?", _utc("until", until)),
        ]  # fmt: skip
        asked = [(clause, value) for clause, value in conditions if value is not None]
        where = " AND ".join(clause for clause, _ in asked) or "1"
        with self._open() as db:
            rows = db.execute(
                "SELECT id, saved_at, model, dataset, split, fingerprint, accuracy, n_items "
                f"FROM evaluations WHERE {where} ORDER BY saved_at, id",
                [value for _, value in asked],
            ).fetchall()
        return tuple(
            StoredEvaluation(
                id=r[0], saved_at=datetime.fromisoformat(r[1]), model=r[2], dataset=r[3],
                split=r[4], fingerprint=r[5], accuracy=r[6], n_items=r[7],
            )
            for r in rows
        )  # fmt: skip

    def list(self) -> tuple[StoredEvaluation, ...]:
        """Return all rows, the oldest first."""
        return self.query()

    def delete(self, id: str) -> None:
        """Remove a result.

        Raises
        ------
        ValueError
            If there is none of that id.
        """
        with self._open() as db:
            if not db.execute("DELETE FROM evaluations WHERE id = ?", (id,)).rowcount:
                raise ValueError(f"`id` must be the id of a stored result, got {id!r}")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=30)
        try:
            with db:
                yield db
        finally:
            db.close()


def _utc(name: str, moment: datetime | None) -> str | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"`{name}` must have a time zone, got {moment!r}")
    return moment.astimezone(UTC).isoformat()


def _restored(row: Mapping[str, Any], items: Any) -> EvaluationResult:
    fields = {key: value for key, value in row.items() if key != "schema"}
    metrics = {
        name: MetricValue(**{**value, "interval": value["interval"] and tuple(value["interval"])})
        for name, value in fields.pop("metrics").items()
    }
    interval = fields.pop("accuracy_interval")
    return EvaluationResult(
        **fields, metrics=metrics, accuracy_interval=interval and tuple(interval),
        items=tuple(ItemResult(**item) for item in items),
    )  # fmt: skip
