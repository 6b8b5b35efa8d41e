"""A store from its address."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crucible_telemetry.errors import StoreUnavailableError, TelemetryError
from crucible_telemetry.stores.memory import MemoryStore
from crucible_telemetry.stores.port import Store
from crucible_telemetry.stores.postgres import PostgresStore
from crucible_telemetry.stores.sqlite import SQLiteStore

VARIABLE = "CRUCIBLE_TELEMETRY_STORE"
DEFAULT = Path(".crucible") / "telemetry.sqlite"


def open_store(url: str | Path | None = None) -> Store:
    """Open a store.

    Parameters
    ----------
    url : str or path, optional
        "memory:", a path, or "sqlite:///path" (three slashes before a relative path, four before
        an absolute one), or "postgresql://user:password@host/database". None reads the environment
        variable CRUCIBLE_TELEMETRY_STORE, and falls back to `.crucible/telemetry.sqlite` under the
        working directory.

    Raises
    ------
    ValueError
        If the scheme is unknown.
    StoreUnavailableError
        If the store cannot be opened.
    MissingExtraError
        If it is PostgreSQL and the extra "postgres" is not installed.
    """
    if url is None:
        url = os.environ.get(VARIABLE) or DEFAULT
    if isinstance(url, Path):
        return SQLiteStore(url)
    if url == "memory:":
        return MemoryStore()
    scheme, separator, rest = url.partition("://")
    if not separator:
        return SQLiteStore(url)
    if scheme == "sqlite":
        if not rest.startswith("/") or len(rest) == 1:
            raise ValueError('`url` must be like "sqlite:///relative/path", got ' + repr(url))
        return SQLiteStore(rest[1:])
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        return PostgresStore(url)
    raise ValueError(
        '`url` must be "memory:", a path, "sqlite:///path" or "postgresql://...", '
        f"got scheme {scheme!r}"
    )


@contextmanager
def reachable(store: Store) -> Iterator[None]:
    """Raise `StoreUnavailableError` for whatever a store's own errors are."""
    try:
        yield
    except TelemetryError:
        raise
    except Exception as error:
        target = str(getattr(store, "path", type(store).__name__))
        raise StoreUnavailableError(target, f"{type(error).__name__}: {error}") from error
