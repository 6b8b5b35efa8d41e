"""Bytes from elsewhere: downloads, files of the hub, members of archives. Nothing is executed."""

import fnmatch
import os
import socket
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from crucible_datasets.errors import DatasetsError, IntegrityError
from crucible_datasets.extras import need
from crucible_datasets.loaders.files import MAX_DECOMPRESSED, format_of
from crucible_datasets.tracing import span

MAX_DOWNLOAD = 2 * 2**30  # bytes
MAX_REDIRECTS = 5
TRIES = 3
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


class SourceError(DatasetsError):
    """One source could not be reached; `load` gathers these and tries the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file of the hub, at a commit."""

    name: str
    url: str


def checked_url(url: str) -> str:
    """Return an http or https URL.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"`url` must be an http or https URL, got {url!r}")
    return url


def file_name(url: str) -> str:
    """Return the last part of a URL's path."""
    return PurePosixPath(urlsplit(url).path).name or "download"


def is_archive(name: str) -> bool:
    """Say whether a file holds other files."""
    return name.lower().endswith(_ARCHIVES)


def download(url: str, target: IO[bytes], *, headers: Mapping[str, str] | None = None) -> int:
    """Write what a URL holds into a file that can be rewound; return the number of bytes.

    Busy servers (429 with Retry-After, 5xx) and broken connections are tried three times; a name
    that cannot be resolved is not, since that is what being offline looks like.

    Raises
    ------
    SourceError
        If the URL cannot be read, or holds more than 2 GiB.
    """
    import httpx
    import stamina

    host = urlsplit(url).hostname or "?"
    attempts = 0
    with span("download") as here:
        here.put("server.address", host)
        try:
            retry = stamina.retry_context(
                on=_wait_or_give_up, attempts=TRIES, wait_initial=0.2, wait_max=5.0, timeout=None
            )
            for attempt in retry:
                with attempt:
                    attempts += 1
                    target.seek(0)
                    target.truncate()
                    return _once(url, target, dict(headers or {}), here)
        except httpx.HTTPStatusError as error:
            raise SourceError(f"HTTP {error.response.status_code} from {host}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            said = str(error) or type(error).__name__
            raise SourceError(f"{said} ({host})") from error
        finally:
            here.set(attempts=attempts)
    raise AssertionError  # pragma: no cover - the loop returns or raises


def _once(url: str, target: IO[bytes], headers: dict[str, str], here: Any) -> int:
    import httpx

    headers = {"accept-encoding": "identity", "user-agent": "crucible-datasets", **headers}
    size = 0
    with (
        httpx.Client(follow_redirects=True, max_redirects=MAX_REDIRECTS, timeout=30.0) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        here.put("http.response.status_code", response.status_code)
        response.raise_for_status()
        promised = response.headers.get("content-length", "0")
        if promised.isdecimal() and int(promised) > MAX_DOWNLOAD:
            raise SourceError(f"{promised} bytes, more than the limit of {MAX_DOWNLOAD}")
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > MAX_DOWNLOAD:
                raise SourceError(f"more than the limit of {MAX_DOWNLOAD} bytes")
            target.write(chunk)
    here.set(bytes=size)
    return size


def _wait_or_give_up(error: Exception) -> bool | float:
    """Return whether to try again, or after how many seconds."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        after = error.response.headers.get("retry-after", "")
        if status == 429 and after.isdecimal():
            return min(float(after), 30.0)
        return status == 429 or status >= 500
    if isinstance(error, httpx.TransportError):
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, socket.gaierror | httpx.UnsupportedProtocol):
                return False
            cause = cause.__cause__ or cause.__context__
        return True
    return False


def hub_files(
    repo: str, *, revision: str | None, choose: Callable[[Sequence[str]], Sequence[str]]
) -> tuple[str, tuple[RemoteFile, ...], dict[str, str]]:
    """Find files of a data set on the Hugging Face hub.

    Parameters
    ----------
    revision : str, optional
        Branch, tag or commit; "main" by default. It is resolved to a commit.
    choose : callable
        Picks file names from the list of the repository's files.

    Returns
    -------
    commit, files, headers to send along

    Raises
    ------
    SourceError
        If the hub cannot be reached, or has no such repository, revision or file.
    MissingExtraError
        If the extra `hub` is not installed.
    """
    hub = need("huggingface_hub", extra="hub", feature="loading from the hub")
    endpoint = os.environ.get("HF_ENDPOINT")
    try:
        info = hub.HfApi(endpoint=endpoint).dataset_info(repo, revision=revision, timeout=30.0)
    except Exception as error:  # whatever its HTTP library raises, by version
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise SourceError(f"{said[:300]}") from error
    commit = str(info.sha)
    names = choose([file.rfilename for file in info.siblings or ()])
    files = tuple(
        RemoteFile(
            name=name,
            url=hub.hf_hub_url(repo, name, repo_type="dataset", revision=commit, endpoint=endpoint),
        )
        for name in names
    )
    headers = {str(k): str(v) for k, v in hub.utils.build_hf_headers().items()}
    return commit, files, headers


def by_pattern(patterns: Sequence[str]) -> Callable[[Sequence[str]], Sequence[str]]:
    """Return a chooser of the files that match any pattern, by name."""

    def choose(names: Sequence[str]) -> Sequence[str]:
        found = sorted(n for n in names if any(fnmatch.fnmatchcase(n, p) for p in patterns))
        if not found:
            raise SourceError(f"no file like {', '.join(patterns)}; it has {_some(names)}")
        return found

    return choose


def by_split(split: str | None, subset: str | None) -> Callable[[Sequence[str]], Sequence[str]]:
    """Return a chooser of the data files of a split, as repositories of the hub name them."""

    def choose(names: Sequence[str]) -> Sequence[str]:
        data = [name for name in names if format_of(name) is not None]
        if subset is not None:
            data = [n for n in data if subset in PurePosixPath(n).parts[:-1]]
        if split is not None:
            data = [n for n in data if split in _words(n)]
        for format in ("parquet", "jsonl", "json", "csv", "tsv"):
            found = sorted(name for name in data if format_of(name) == format)
            if found:
                break
        else:
            raise SourceError(
                f"no data file for split {split!r}, subset {subset!r}; it has {_some(names)}"
            )
        folders = {str(PurePosixPath(name).parent) for name in found}
        if len(folders) > 1:
            raise SourceError(f"several subsets, pass `subset`: {', '.join(sorted(folders))}")
        return found

    return choose


def _words(name: str) -> set[str]:
    path = PurePosixPath(name)
    return {*path.parts[:-1], *path.name.replace("_", "-").replace(".", "-").split("-")}


def _some(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:8]) + (" ..." if len(names) > 8 else "")


@contextmanager
def members(archive: Path, name: str, wanted: Sequence[str]) -> Iterator[Iterator[tuple[str, Any]]]:
    """Open an archive for the wanted members: an iterator over (official name, stream).

    A member counts as wanted by its last part, or that part with `.gz` added. Nothing is ever
    written to a place that the archive names.

    Raises
    ------
    IntegrityError
        If any member has an absolute path or leads out of the archive, is a link, or if all
        members together would unfold to more than 4 GiB.
    """
    names = {**{file: file for file in wanted}, **{f"{file}.gz": file for file in wanted}}
    total = 0

    def inspect(member: str, size: int, *, regular: bool, link: bool) -> str | None:
        nonlocal total
        path = PurePosixPath(member.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1]:
            raise IntegrityError(name, "members inside the archive", member)
        if link:
            raise IntegrityError(name, "an archive without links", member)
        total += size
        if total > MAX_DECOMPRESSED:
            raise IntegrityError(name, f"at most {MAX_DECOMPRESSED} bytes unfolded", "more")
        hidden = path.name.startswith("._")
        return names.get(path.name) if regular and not hidden else None

    def from_tar(tar: tarfile.TarFile) -> Iterator[tuple[str, Any]]:
        for entry in tar:
            official = inspect(
                entry.name, entry.size, regular=entry.isreg(), link=entry.issym() or entry.islnk()
            )
            if official is not None:
                yield official, tar.extractfile(entry)

    def from_zip(zipped: zipfile.ZipFile) -> Iterator[tuple[str, Any]]:
        for entry in zipped.infolist():
            link = (entry.external_attr >> 28) == 0xA
            official = inspect(
                entry.filename, entry.file_size, regular=not entry.is_dir(), link=link
            )
            if official is not None:
                with zipped.open(entry) as stream:
                    yield official, stream

    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                yield from_zip(zipped)
        else:
            with tarfile.open(archive) as tar:
                yield from_tar(tar)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise IntegrityError(name, "a readable archive", str(error) or "a damaged one") from error
