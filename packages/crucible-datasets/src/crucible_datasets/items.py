"""A benchmark as a sequence of items with provenance."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

Task = Literal["math", "multiple_choice", "code", "claim", "qa", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question. `expected` is the reference answer as the task writes it."""

    id: str
    input: str
    expected: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {
            "id": self.id,
            "input": self.input,
            "expected": self.expected,
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where items come from. `location` is a file name, never a path of this machine."""

    kind: Literal["file", "generated", "memory"]
    location: str | None = None
    sha256: str | None = None
    license: str | None = None
    citation: str | None = None
    n_total: int | None = None
    derivations: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class Dataset(Sequence[Item]):
    """Items of one benchmark and split, in a fixed order.

    Parameters
    ----------
    items : sequence of Item
        Ids must be unique.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        name: str,
        split: str | None = None,
        task: Task,
        provenance: Provenance,
    ) -> None:
        self._items = tuple(items)
        self.name, self.split, self.task, self.provenance = name, split, task, provenance
        seen: set[str] = set()
        for item in self._items:
            if item.id in seen:
                raise ValueError(f"`items` must have unique ids, got {item.id!r} twice")
            seen.add(item.id)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {len(self)} items)"

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    def __getitem__(self, index: int | slice) -> "Item | Dataset":
        if isinstance(index, int):
            return self._items[index]
        return self.derive(self._items[index], f"[{index.start}:{index.stop}:{index.step}]")

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the items, in order."""
        return tuple(item.id for item in self._items)

    def derive(self, items: Sequence[Item], note: str) -> "Dataset":
        """Return a data set of other items with `note` added to the provenance."""
        provenance = replace(self.provenance, derivations=(*self.provenance.derivations, note))
        return Dataset(
            items, name=self.name, split=self.split, task=self.task, provenance=provenance
        )

    def fingerprint(self) -> str:
        """Return a SHA-256 over the items, whatever file layout they came from."""
        digest = hashlib.sha256()
        for item in self._items:
            line = json.dumps(
                item.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False
            )
            digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
        return digest.hexdigest()
