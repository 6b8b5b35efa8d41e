"""Downloaded files, kept by what is in them: atomic, shared by processes, verified on every use."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from crucible_datasets.errors import CacheError
from crucible_datasets.items import FileHash

SCHEMA = "crucible.datasets.ref/1"
_STALE = 24 * 3600.0  # s after which a partial file belongs to nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """What one source held: the files of a split, by digest."""

    key: str
    name: str
    split: str | None
    subset: str | None
    location: str
    revision: str | None
    files: tuple[FileHash, ...]

    @property
    def bytes(self) -> int:
        """Size of its files together."""
        return sum(file.bytes for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        row["files"] = [file.to_dict() for file in self.files]
        return {"schema": SCHEMA, **row}


class Incoming:
    """A file that is being written; it becomes a blob once it is complete."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path = file, path


class Cache:
    """A folder of blobs named by their SHA-256, and of references to them.

    Parameters
    ----------
    path : path, optional
        By default the environment's CRUCIBLE_DATASETS_CACHE, else the user's cache folder.
    max_bytes : int, >= 1
        Beyond it, what was not used for longest is removed after a download.
    """

    def __init__(self, path: Path | str | None = None, *, max_bytes: int = 10 * 2**30) -> None:
        if max_bytes < 1:
            raise ValueError(f"`max_bytes` must be >= 1, got {max_bytes}")
        self.path = Path(path) if path is not None else default_path()
        self.max_bytes = max_bytes

    def __repr__(self) -> str:
        return f"Cache({str(self.path)!r})"

    def list(self) -> tuple[Ref, ...]:
        """Return what is cached, by name."""
        found = [ref for file in self._refs() if (ref := self._read(file)) is not None]
        return tuple(sorted(found, key=lambda ref: (ref.name, ref.split or "", ref.key)))

    def get(self, key: str) -> Ref | None:
        """Return the reference under a key, None if there is none."""
        return self._read(self._ref(key))

    def damaged(self, ref: Ref) -> tuple[str, ...]:
        """Return the names of the files that are missing or not what they were."""
        return tuple(file.name for file in ref.files if not self._intact(file))

    def paths(self, ref: Ref) -> dict[str, Path]:
        """Return where the files are: name -> path. Check `damaged` first."""
        with suppress(OSError):
            os.utime(self._ref(ref.key))  # last used, for `prune`
        return {file.name: self.blob(file.sha256) for file in ref.files}

    def blob(self, sha256: str) -> Path:
        """Return the path of a blob."""
        return self.path / "blobs" / "sha256" / sha256[:2] / sha256

    def verify(self) -> dict[str, tuple[str, ...]]:
        """Return the damaged files of every reference that has any, by `name/split`."""
        wrong = {f"{ref.name}/{ref.split or ''}": self.damaged(ref) for ref in self.list()}
        return {name: files for name, files in wrong.items() if files}

    def remove(self, name: str) -> int:
        """Remove all splits of a data set; return how many bytes that freed."""
        return self._drop([ref for ref in self.list() if ref.name == name])

    def prune(self, *, max_bytes: int | None = None, max_age_days: float | None = None) -> int:
        """Remove what was not used for long; return how many bytes that freed.

        Parameters
        ----------
        max_bytes : int, optional
            Keep the most recently used up to this size; the cache's own limit by default.
        max_age_days : float, optional
            Remove what was not used for longer.
        """
        return self._prune(self.max_bytes if max_bytes is None else max_bytes, max_age_days, None)

    def _prune(self, max_bytes: int, max_age_days: float | None, keep: str | None) -> int:
        self._sweep()
        aged = []
        for ref in self.list():
            with suppress(OSError):
                aged.append((self._ref(ref.key).stat().st_mtime, ref))
        aged.sort(key=lambda pair: -pair[0])
        total, old = 0, []
        for used, ref in aged:
            total += ref.bytes
            late = max_age_days is not None and time.time() - used > max_age_days * 86400
            if ref.key != keep and (total > max_bytes or late):
                total -= ref.bytes
                old.append(ref)
        return self._drop(old)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the lock of a key; it ends with the process that holds it."""
        import filelock

        folder = self.path / "locks"
        with self._said():
            folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(str(folder / f"{key}.lock"))
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """Give a temporary file on the same file system; it is gone afterwards unless kept."""
        folder = self.path / "blobs" / "sha256"
        with self._said():
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".partial-", dir=folder)
            path = Path(name)
            try:
                with os.fdopen(handle, "w+b") as file:
                    yield Incoming(file, path)
            finally:
                path.unlink(missing_ok=True)

    def keep(self, incoming: Incoming, name: str) -> FileHash:
        """Make a complete file a blob, in one step."""
        with self._said():
            incoming.file.flush()
            os.fsync(incoming.file.fileno())
            found = hashed(incoming.path, name)
            target = self.blob(found.sha256)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(incoming.path, target)
        return found

    def put(self, ref: Ref) -> None:
        """Write a reference, in one step, and make room if the cache has grown too large."""
        with self._said():
            target = self._ref(ref.key)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, json.dumps(ref.to_dict(), indent=1, sort_keys=True) + "\n")
        self._prune(self.max_bytes, None, ref.key)

    def _ref(self, key: str) -> Path:
        return self.path / "refs" / f"{key}.json"

    def _refs(self) -> Sequence[Path]:
        return sorted((self.path / "refs").glob("*.json"))

    def _read(self, file: Path) -> Ref | None:
        """Return a reference; a damaged one is none."""
        try:
            row = json.loads(file.read_text(encoding="utf-8"))
            if row.pop("schema") != SCHEMA:
                return None
            row["files"] = tuple(FileHash(**one) for one in row["files"])
            return Ref(**row)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _intact(self, file: FileHash) -> bool:
        path = self.blob(file.sha256)
        try:
            return path.stat().st_size == file.bytes and hashed(path, "").sha256 == file.sha256
        except OSError:
            return False

    def _drop(self, refs: Sequence[Ref]) -> int:
        with self._said():
            for ref in refs:
                self._ref(ref.key).unlink(missing_ok=True)
            used = {file.sha256 for ref in self.list() for file in ref.files}
            freed = 0
            for file in {file.sha256: file for ref in refs for file in ref.files}.values():
                if file.sha256 not in used:
                    self.blob(file.sha256).unlink(missing_ok=True)
                    freed += file.bytes
        return freed

    def _sweep(self) -> None:
        """Remove partial files whose writer must be gone."""
        for partial in (self.path / "blobs" / "sha256").glob(".partial-*"):
            with suppress(OSError):
                if time.time() - partial.stat().st_mtime > _STALE:
                    partial.unlink()

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (
                errno.EROFS,
                errno.EACCES,
                errno.EPERM,
                errno.ENOSPC,
                errno.EDQUOT,
                errno.EIO,
                errno.ENOTDIR,
                errno.EEXIST,
            ):
                raise  # fmt: skip
            raise CacheError(str(self.path), error.strerror or str(error)) from error


def default_path() -> Path:
    """Return the cache folder of this user."""
    named = os.environ.get("CRUCIBLE_DATASETS_CACHE")
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("crucible")) / "datasets"


def hashed(path: Path, name: str) -> FileHash:
    """Return name, SHA-256 and size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileHash(name=name, sha256=digest, bytes=file.tell())


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by one with other text, so that readers see the old or the new one."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):
            shutil.copymode(path, name)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
