"""The port of a place for chains."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any, Protocol

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import Json


class CorruptChainWarning(UserWarning):
    """Something in a store is no chain that this version reads; it was passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainInfo:
    """What a store says of a chain without handing it out; `saved_s` is the store's, Unix time."""

    id: str
    task: str
    n_events: int
    types: tuple[str, ...]
    saved_s: float
    metadata: Mapping[str, Json]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self) | {"types": list(self.types)}


class ChainStore(Protocol):
    """Keeps chains by id."""

    def save(self, chain: Chain, *, overwrite: bool = False) -> str:
        """Keep a chain, whole or not at all; `ChainExistsError` if its id is taken."""
        ...

    def load(self, id: str) -> Chain:
        """Return a chain; `ChainNotFoundError` if there is none of this id."""
        ...

    def delete(self, id: str) -> None:
        """Forget a chain; `ChainNotFoundError` if there is none of this id."""
        ...

    def list(self) -> Iterator[ChainInfo]:
        """Go through all chains by id; what is no chain is passed over with a warning."""
        ...

    def search(
        self,
        *,
        text: str | None = None,
        task: str | None = None,
        types: Collection[str] | None = None,
        created_after_s: float | None = None,
        created_before_s: float | None = None,
        min_events: int | None = None,
        max_events: int | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> Iterator[ChainInfo]:
        """Go through the chains that satisfy every condition given.

        `text` stands in decision, reasoning or alternatives of an event, `task` in the task, in any
        case and letter by letter; the chain has an event of each of `types`, and each key of
        `metadata` with that value.
        """
        ...

    def archive(self, *, before_s: float, path: str | PathLike[str]) -> int:
        """Move chains saved before a time into a zip file, verified before they are deleted."""
        ...
