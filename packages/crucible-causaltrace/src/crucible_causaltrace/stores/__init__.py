"""Where chains are kept: the port, a directory of JSON files, a database, and the default."""

import os

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.stores.archives import read_archive
from crucible_causaltrace.stores.json_files import JSONStore
from crucible_causaltrace.stores.port import ChainInfo, ChainStore, CorruptChainWarning
from crucible_causaltrace.stores.sql import SQLStore

__all__ = [
    "ChainInfo",
    "ChainStore",
    "CorruptChainWarning",
    "JSONStore",
    "SQLStore",
    "load",
    "read_archive",
    "save",
]


def save(chain: Chain, *, store: ChainStore | None = None, overwrite: bool = False) -> str:
    """Keep a chain and return its id.

    Parameters
    ----------
    chain : Chain
    store : ChainStore, optional
        By default the directory that `CRUCIBLE_TRACES` names, else `.crucible/traces`.
    overwrite : bool
        Replace a chain of the same id.

    Raises
    ------
    ChainExistsError
        If the id is taken and `overwrite` is False.
    InvalidIdError
        If the id is not fit for a file name.
    """
    return (_default() if store is None else store).save(chain, overwrite=overwrite)


def load(id: str, *, store: ChainStore | None = None) -> Chain:
    """Return the chain of this id, from the same store as `save` by default.

    Raises
    ------
    ChainNotFoundError, InvalidIdError, CorruptChainError, SchemaVersionError
    """
    return (_default() if store is None else store).load(id)


def _default() -> JSONStore:
    return JSONStore(os.environ.get("CRUCIBLE_TRACES") or ".crucible/traces")
