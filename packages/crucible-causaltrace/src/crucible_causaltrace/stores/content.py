"""What stores share: which ids they take, what they say of a chain, how they read its bytes."""

import json
import re
from collections.abc import Collection
from typing import Any

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.errors import (
    CausalTraceError,
    CorruptChainError,
    InvalidIdError,
    SchemaVersionError,
)
from crucible_causaltrace.stores.port import ChainInfo

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def check_id(id: str) -> str:
    """Return an id that every store can keep.

    Raises
    ------
    InvalidIdError
        If it is not fit for a file name.
    """
    if not ID.fullmatch(id):
        raise InvalidIdError(id)
    return id


def check_types(types: Collection[str] | None) -> None:
    """Refuse one string where several are meant."""
    if isinstance(types, str):
        raise ValueError(f"`types` must be a collection of strings, got {types!r}")


def info_of(chain: Chain, saved_s: float) -> ChainInfo:
    """Return what a store says of a chain."""
    return ChainInfo(
        id=chain.id,
        task=chain.task,
        n_events=len(chain),
        types=tuple(sorted({event.type for event in chain})),
        saved_s=saved_s,
        metadata=chain.metadata,
    )


def read_chain(content: bytes, *, where: str, id: str) -> Chain:
    """Read a chain's JSON.

    Parameters
    ----------
    content : bytes
    where : str
        The place, for errors.
    id : str
        The id under which it is kept.

    Raises
    ------
    CorruptChainError
        If it is no chain, or not that one.
    SchemaVersionError
        If another version wrote it.
    """
    try:
        data: Any = json.loads(content)
        if not isinstance(data, dict):
            raise CorruptChainError(where, "not a JSON object")
        chain = Chain.from_dict(data)
    except SchemaVersionError as error:
        if not isinstance(error.found, str):
            raise CorruptChainError(where, "it names no schema") from None
        raise SchemaVersionError(error.found, error.supported, where) from None
    except CorruptChainError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError, CausalTraceError) as error:
        raise CorruptChainError(where, f"{type(error).__name__}: {error}") from error
    if chain.id != id:
        raise CorruptChainError(where, f"it holds the chain {chain.id!r}")
    return chain
