"""The files of a split: from a path, the cache, a URL or the hub, in this order."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crucible_datasets.cache import Cache, Ref, hashed
from crucible_datasets.errors import (
    DatasetUnavailableError,
    IntegrityError,
    MissingExtraError,
    ReservedNameError,
)
from crucible_datasets.items import FileHash, Kind
from crucible_datasets.registry import BenchmarkCard, Loader
from crucible_datasets.sources import (
    RemoteFile,
    SourceError,
    by_pattern,
    by_split,
    checked_url,
    download,
    file_name,
    hub_files,
    is_archive,
    members,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What `load` was asked for."""

    name: str
    split: str | None
    subset: str | None
    path: Path | None
    url: str | None
    hub: str | None
    revision: str | None
    corpus: bool
    check: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Files to parse, by official name, and where they came from."""

    kind: Kind
    location: str | None
    paths: Mapping[str, Path]
    hashes: tuple[FileHash, ...] = ()
    revision: str | None = None
    cache_hit: bool | None = None
    unofficial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """One remote source that could be tried."""

    kind: Literal["url", "hub"]
    location: str
    key: str
    revision: str | None = None
    sha256: str | None = None


def acquire(
    source: Source,
    card: BenchmarkCard | None,
    loader: Loader,
    cache: Cache | None,
    *,
    offline: bool,
) -> Files:
    """Return the files of a split, verified.

    Raises
    ------
    DatasetUnavailableError
        If no source could be reached, with all that was tried.
    IntegrityError
        If a file is damaged or not the published one.
    """
    if card is not None and card.made_here:
        for argument in ("path", "url", "hub", "revision"):
            if getattr(source, argument) is not None:
                raise ReservedNameError(card.name, argument)
        kind: Kind = "generated" if card.name == "demo-arithmetic" else "handwritten"
        return Files(kind=kind, location=None, paths={})
    wanted = _wanted(source, card)
    if source.path is not None:
        return _local(source, source.path, card, wanted)
    cache = cache or Cache()
    plans = _plans(source, card, loader)
    damage = None
    for plan in plans:
        ref = cache.get(plan.key)
        if ref is None:
            continue
        damaged = cache.damaged(ref)
        if not damaged:
            return _cached(source, cache, plan, ref, hit=True)
        damage = IntegrityError(
            f"cached files of {source.name} are damaged", "the bytes that were downloaded",
            f"others in {', '.join(damaged)}",
        )  # fmt: skip
    if offline and damage is not None:
        raise damage
    attempts: list[tuple[str, str]] = []
    for plan in plans:
        if offline:
            attempts.append((plan.location, "not tried: downloads are switched off"))
            continue
        try:
            with cache.lock(plan.key):
                ref = cache.get(plan.key)  # another process may have been faster
                if ref is None or cache.damaged(ref):
                    ref = _fetch(source, plan, card, wanted, cache)
                    return _cached(source, cache, plan, ref, hit=False)
                return _cached(source, cache, plan, ref, hit=True)
        except (SourceError, MissingExtraError) as error:
            attempts.append((plan.location, str(error)))
    raise DatasetUnavailableError(
        source.name, source.split, attempts, _instruction(source, card, wanted)
    )


def _wanted(source: Source, card: BenchmarkCard | None) -> tuple[str, ...]:
    """Return the official file names that are needed."""
    if card is None:
        return ()
    split = source.split or ""
    files = card.splits[split].files
    if source.subset is not None:
        of_subset = tuple(f for f in files if f.startswith(f"{source.subset}_"))
        return of_subset or files
    return files if source.corpus else tuple(f for f in files if "corpus" not in f)


def _local(
    source: Source, path: Path, card: BenchmarkCard | None, wanted: tuple[str, ...]
) -> Files:
    paths: dict[str, Path] = {}
    if path.is_dir() and card is not None:
        split = source.split or ""
        folders = [path, path / split, path / "data", path / "data" / split]
        for name in wanted:
            found = _named(folders, name)
            if found is not None:
                paths[found.name] = found
        missing = [n for n in wanted if n not in paths and _plain(n) not in map(_plain, paths)]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            _not_there(source, card, wanted, path, f"the folder has no {missing[0]}{more}")
    elif path.is_file():
        paths[path.name] = path
        beside = [name for name in wanted if "corpus" in name]
        for name in beside:  # SciFact: the corpus lies beside the claims
            found = _named([path.parent], name)
            if found is None:
                _not_there(source, card, wanted, path, f"there is no {name} beside it")
            else:
                paths[found.name] = found
    elif path.is_dir():
        raise ValueError(f"`path` must be a file for {source.name!r}, got the folder {str(path)!r}")
    else:
        _not_there(source, card, wanted, path, "no such file")
    hashes = tuple(hashed(found, name) for name, found in paths.items())
    return Files(kind="file", location=path.resolve().name, paths=paths, hashes=hashes)


def _plain(name: str) -> str:
    return name.removesuffix(".gz")


def _named(folders: list[Path], name: str) -> Path | None:
    for folder in folders:
        for spelled in dict.fromkeys((name, f"{name}.gz", _plain(name))):
            if (folder / spelled).is_file():
                return folder / spelled
    return None


def _not_there(
    source: Source, card: BenchmarkCard | None, wanted: tuple[str, ...], path: Path, why: str
) -> None:
    raise DatasetUnavailableError(
        source.name, source.split, [(str(path), why)], _instruction(source, card, wanted)
    )


def _plans(source: Source, card: BenchmarkCard | None, loader: Loader) -> list[_Plan]:
    """Return the remote sources in the order they are tried."""

    def plan(kind: Literal["url", "hub"], location: str, sha256: str | None = None) -> _Plan:
        revision = source.revision if kind == "hub" else None
        what = [source.name, source.split, source.subset, location, revision, loader.version,
                source.corpus]  # fmt: skip
        key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
        return _Plan(kind=kind, location=location, key=key, revision=revision, sha256=sha256)

    if source.url is not None:
        return [plan("url", checked_url(source.url))]
    if source.hub is not None:
        return [plan("hub", source.hub)]
    plans = []
    if card is not None:
        split = card.splits[source.split or ""]
        if split.url is not None and source.revision is None:
            plans.append(plan("url", split.url, split.sha256))
        if card.hub_id is not None and split.hub_files:
            plans.append(plan("hub", card.hub_id))
    return plans


def _fetch(
    source: Source, plan: _Plan, card: BenchmarkCard | None, wanted: tuple[str, ...], cache: Cache
) -> Ref:
    revision, headers = None, dict[str, str]()
    if plan.kind == "hub":
        patterns = card.splits[source.split or ""].hub_files if card is not None else ()
        choose = by_pattern(patterns) if patterns else by_split(source.split, source.subset)
        revision, remote, headers = hub_files(plan.location, revision=plan.revision, choose=choose)
    else:
        remote = (RemoteFile(name=file_name(plan.location), url=plan.location),)
    hashes: list[FileHash] = []
    for file in remote:
        with cache.incoming() as incoming:
            download(file.url, incoming.file, headers=headers)
            if is_archive(file.name):
                incoming.file.flush()
                hashes += _unpacked(incoming.path, file.name, wanted, cache)
            else:
                hashes.append(cache.keep(incoming, file.name))
    ref = Ref(
        key=plan.key, name=source.name, split=source.split, subset=source.subset,
        location=plan.location, revision=revision, files=tuple(hashes),
    )  # fmt: skip
    if not (source.check and _changed(plan, ref)):
        cache.put(ref)
    return ref


def _unpacked(archive: Path, name: str, wanted: tuple[str, ...], cache: Cache) -> list[FileHash]:
    found: dict[str, FileHash] = {}
    with members(archive, name, wanted) as streams:
        for official, stream in streams:
            with cache.incoming() as incoming:
                shutil.copyfileobj(stream, incoming.file)
                found.setdefault(official, cache.keep(incoming, official))
    missing = [file for file in wanted if file not in found]
    if missing or not wanted:
        raise IntegrityError(name, f"an archive with {', '.join(missing[:5]) or 'a table'}", "none")
    return [found[file] for file in wanted]


def _changed(plan: _Plan, ref: Ref) -> bool:
    return plan.sha256 is not None and ref.files[0].sha256 != plan.sha256


def _cached(source: Source, cache: Cache, plan: _Plan, ref: Ref, *, hit: bool) -> Files:
    changed = _changed(plan, ref)
    if changed and source.check:
        raise IntegrityError(
            f"{plan.location} is not the published file (pass check_counts=False to use it)",
            plan.sha256, ref.files[0].sha256,
        )  # fmt: skip
    return Files(
        kind=plan.kind, location=ref.location, revision=ref.revision, paths=cache.paths(ref),
        hashes=ref.files, cache_hit=hit, unofficial=changed,
    )  # fmt: skip


def _instruction(source: Source, card: BenchmarkCard | None, wanted: tuple[str, ...]) -> str:
    if card is None:
        return f'Check the source, or call load("{source.name}", path="...") with a local file.'
    files = " and ".join(wanted[:2]) + (f" and {len(wanted) - 2} more" if len(wanted) > 2 else "")
    url = card.splits[source.split or ""].url
    split = "" if source.split is None else f', split="{source.split}"'
    subset = "" if source.subset is None else f', subset="{source.subset}"'
    place = f" ({url})" if url else ""
    return (
        f"Download {files} from {card.homepage}{place} and call "
        f'load("{card.name}"{split}{subset}, path="...") with the file or its folder.'
    )
