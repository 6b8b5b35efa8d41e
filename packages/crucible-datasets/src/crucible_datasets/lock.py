"""A lock file: which bytes and items an experiment was run on, and a refusal of any others."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crucible_datasets.cache import write_atomically
from crucible_datasets.errors import LockFrozenError, LockMismatchError, ParseError
from crucible_datasets.items import Dataset

SCHEMA = "crucible.datasets.lock/1"
_FIELDS = ("files", "n_items", "fingerprint", "loader", "location", "revision")


def pin(path: Path | str, dataset: Dataset, *, variant: str = "") -> None:
    """Hold a data set against the lock file, or write it down the first time.

    Parameters
    ----------
    variant : str
        What else decides on the items, such as the context that was asked for.

    Raises
    ------
    LockMismatchError
        If anything differs from what is locked, naming the first field that does.
    LockFrozenError
        If it would have to be written and CRUCIBLE_DATASETS_FROZEN is 1.
    """
    path = Path(path)
    parts = [
        dataset.name,
        dataset.split or "",
        dataset.subset or "",
        *([variant] if variant else ()),
    ]
    name = "/".join(parts)
    p = dataset.provenance
    found = {
        "location": p.location,
        "revision": p.revision,
        "files": [file.to_dict() for file in p.files],
        "n_items": len(dataset),
        "fingerprint": dataset.fingerprint(),
        "loader": p.loader,
    }
    with _held(path):
        entries = _read(path)
        locked = entries.get(name)
        if locked is None:
            if frozen():
                raise LockFrozenError(path.name, name)
            _write(path, {**entries, name: found})
            return
    for field in _FIELDS:
        if locked.get(field) != found[field]:
            raise LockMismatchError(name, field, locked.get(field), found[field])


def update_lock(path: Path | str, name: str) -> tuple[str, ...]:
    """Let go of a data set, so that its next load is locked anew.

    Parameters
    ----------
    name : str
        Of the data set; all its splits and subsets are let go.

    Returns
    -------
    The entries that were removed.

    Raises
    ------
    LockFrozenError
        If CRUCIBLE_DATASETS_FROZEN is 1.
    ValueError
        If the lock file has no such data set.
    """
    path = Path(path)
    if frozen():
        raise LockFrozenError(path.name, name)
    with _held(path):
        entries = _read(path)
        gone = tuple(key for key in entries if key.partition("/")[0] == name)
        if not gone:
            raise ValueError(f"`name` must be in the lock file {path.name!r}, got {name!r}")
        _write(path, {key: entry for key, entry in entries.items() if key not in gone})
    return gone


def frozen() -> bool:
    """Say whether lock files must not be written."""
    return os.environ.get("CRUCIBLE_DATASETS_FROZEN", "") not in ("", "0")


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ParseError(path.name, None, f"not a lock file ({error})") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ParseError(path.name, None, f"not a lock file of schema {SCHEMA}")
    return dict(data["datasets"])


def _write(path: Path, entries: Mapping[str, Any]) -> None:
    data = {"schema": SCHEMA, "datasets": dict(sorted(entries.items()))}
    write_atomically(path, json.dumps(data, indent=2, sort_keys=True) + "\n")


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Keep other processes from the lock file; leaves nothing beside it."""
    import filelock

    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    with filelock.FileLock(Path(tempfile.gettempdir()) / f"crucible-datasets-{digest}.lock"):
        yield
