"""Where a journal's rows are: the port, and which of the two stores a place names."""

from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any, Protocol

from crucible_harness.errors import NotARunError
from crucible_harness.journal_sqlite import Durability, SQLiteStore


class Store(Protocol):
    """Where rows are: a SQLite file or a PostgreSQL database."""

    @property
    def shown(self) -> str:
        """Return its place for messages, without a password."""
        ...

    def create(self) -> None:
        """Make the tables where there are none."""
        ...

    def query(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query with `:named` values."""
        ...

    def rows(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, one by one."""
        ...

    def append(self, table: str, row: tuple[Any, ...]) -> Awaitable[None] | None:
        """Insert a row: durable on return, or where that takes time, once what it returns ends."""
        ...

    def append_now(self, table: str, row: tuple[Any, ...]) -> None:
        """Insert a row; durable on return."""
        ...

    def set_meta(self, design: str, key: str, value: str) -> None:
        """Store a fact that is not there yet."""
        ...

    def lock(self, design: str) -> None:
        """Keep other processes out of a run until this one ends, however it ends."""
        ...

    def release_reserve(self) -> None:
        """Give back what was kept for the moment when nothing more can be written."""
        ...

    def close(self) -> None:
        """Close it and let others in."""
        ...


def open_store(
    where: Path | str, *, folder: Path | None, durability: Durability, create: bool
) -> Store:
    """Open a file, or a database by its URL.

    Raises
    ------
    NotARunError
        If there is no file and it is not to be created.
    ValueError
        If it is a URL of something else, or of a database without a `folder`.
    """
    if isinstance(where, str) and "://" in where:
        if folder is None:
            raise ValueError("`folder` must be given for a journal in a database")
        if not where.startswith(("postgresql://", "postgres://")):
            scheme = where.partition("://")[0]
            raise ValueError(f"`journal` must be a postgresql:// URL, got {scheme}://")
        from crucible_harness.journal_postgres import PostgresStore

        return PostgresStore(where)
    path = Path(where)
    if not create and not path.is_file():
        raise NotARunError(f"{str(path.parent)!r} holds no run (no {path.name})")
    return SQLiteStore(path, durability=durability)
