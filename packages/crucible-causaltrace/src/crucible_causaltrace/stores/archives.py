"""Zip files of chains: each file's SHA-256 in a manifest, read back before anyone relies on it."""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.errors import CorruptChainError
from crucible_causaltrace.event import SCHEMA
from crucible_causaltrace.stores.content import read_chain

_MANIFEST = "manifest.json"


def write_archive(path: str | PathLike[str], contents: Mapping[str, bytes]) -> None:
    """Write a new zip file and compare it with what should be in it.

    Parameters
    ----------
    path : path
        Must not exist.
    contents : mapping of str to bytes
        Chain id -> JSON.

    Raises
    ------
    FileExistsError
        If there is a file.
    CorruptChainError
        If what was written cannot be read back.
    """
    hashes = {f"{id}.json": _hash(content) for id, content in contents.items()}
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
        for id, content in contents.items():
            archive.writestr(f"{id}.json", content)
        manifest = {"schema": SCHEMA, "sha256": hashes}
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
    with zipfile.ZipFile(path) as archive:
        for name, expected in hashes.items():
            if _hash(archive.read(name)) != expected:
                raise CorruptChainError(f"{path}: {name}", "not what was written")


def read_archive(path: str | PathLike[str]) -> Iterator[Chain]:
    """Go through the chains of an archive, each compared with the manifest first.

    Raises
    ------
    CorruptChainError
        If the file is no archive, or a chain is not what the manifest says.
    SchemaVersionError
        If another version wrote a chain.
    """
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise CorruptChainError(str(path), str(error)) from error
    with archive:
        for name, expected in _manifest(archive, str(path)).items():
            where = f"{path}: {name}"
            try:
                content = archive.read(name)
            except (KeyError, zipfile.BadZipFile) as error:
                raise CorruptChainError(where, str(error)) from error
            if _hash(content) != expected:
                raise CorruptChainError(where, "not what the manifest says")
            yield read_chain(content, where=where, id=name.removesuffix(".json"))


def _manifest(archive: zipfile.ZipFile, where: str) -> dict[str, str]:
    try:
        manifest: Any = json.loads(archive.read(_MANIFEST))
        return dict(manifest["sha256"])
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise CorruptChainError(where, f"its manifest cannot be read: {error!r}") from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
