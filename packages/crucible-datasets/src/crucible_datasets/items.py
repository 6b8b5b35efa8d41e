"""A benchmark as a sequence of items with provenance."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args, overload

from crucible_datasets.errors import IntegrityError

Task = Literal[
    "math", "multiple_choice", "code", "claim", "qa", "classification", "boolean", "text"
]
TASKS: tuple[str, ...] = get_args(Task)
Kind = Literal["file", "url", "hub", "generated", "handwritten", "memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question.

    Parameters
    ----------
    id : str
        Unique in its data set, e.g. "gsm8k/test/0".
    input : str
        What is asked, without instructions or choices.
    expected : JSON value
        The reference answer as the task writes it; the index for multiple choice; None = unknown.
    choices : tuple of str, optional
    context : str, optional
        Text to be read with the input, such as evidence.
    """

    id: str
    input: str
    expected: Any
    choices: tuple[str, ...] | None = None
    context: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping; lines of it are what the fingerprint is computed over."""
        return {
            "id": self.id,
            "input": self.input,
            "expected": self.expected,
            "choices": None if self.choices is None else list(self.choices),
            "context": self.context,
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHash:
    """A source file: its name without folders, and what its bytes were."""

    name: str
    sha256: str
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {"name": self.name, "sha256": self.sha256, "bytes": self.bytes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where items come from and what was done to them.

    Parameters
    ----------
    kind : str
        "generated" and "handwritten" items were made by this package, "memory" by the caller.
    location : str, optional
        A URL, a hub id or a file name; never a path of this machine.
    revision : str, optional
        Commit of a hub repository.
    loader : str, optional
        Name and version of the parser.
    n_total : int, optional
        Items before any sampling.
    sampling : mapping, optional
        Method, seed, size and field: enough to draw the same items again.
    counts_checked : bool
        Whether the number of items was held against the published one.
    """

    kind: Kind
    location: str | None = None
    revision: str | None = None
    files: tuple[FileHash, ...] = ()
    license: str | None = None
    citation: str | None = None
    loader: str | None = None
    n_total: int | None = None
    sampling: Mapping[str, Any] | None = None
    derivations: tuple[str, ...] = ()
    counts_checked: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        row["files"] = [file.to_dict() for file in self.files]
        row["sampling"] = None if self.sampling is None else dict(self.sampling)
        row["derivations"] = list(self.derivations)
        return {"schema": "crucible.datasets.provenance/1", **row}


class Dataset(Sequence[Item]):
    """Items of one benchmark and split, in a fixed order.

    Slicing returns a data set; whatever derives one from another is noted in
    `provenance.derivations`.

    Parameters
    ----------
    items : sequence of Item
        Ids must be unique.
    task : str
        How answers are read and compared.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        name: str,
        split: str | None = None,
        subset: str | None = None,
        task: Task,
        provenance: Provenance,
    ) -> None:
        if task not in TASKS:
            raise ValueError(f"`task` must be one of {', '.join(TASKS)}, got {task!r}")
        self._items = tuple(items)
        self.name, self.split, self.subset = name, split, subset
        self.task, self.provenance = task, provenance
        self._by_id = {item.id: item for item in self._items}
        if len(self._by_id) != len(self._items):
            twice = [id for id, n in Counter(item.id for item in self._items).items() if n > 1]
            raise ValueError(f"`items` must have unique ids, got {', '.join(twice[:5])} twice")

    @classmethod
    def from_items(cls, name: str, items: Iterable[Item], *, task: Task) -> "Dataset":
        """Make a data set of items in memory."""
        items = tuple(items)
        provenance = Provenance(kind="memory", n_total=len(items))
        return cls(items, name=name, task=task, provenance=provenance)

    def __repr__(self) -> str:
        parts = [
            repr(self.name),
            *(p for p in (self.split, self.subset) if p),
            f"{len(self)} items",
        ]
        return f"Dataset({', '.join(parts)})"

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, Item) and self._by_id.get(value.id) == value

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    def __getitem__(self, index: int | slice) -> "Item | Dataset":
        if isinstance(index, slice):
            note = f"[{index.start}:{index.stop}:{index.step}]".replace("None", "")
            return self.derive(self._items[index], note)
        return self._items[index]

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the items, in order."""
        return tuple(self._by_id)

    def by_id(self, id: str) -> Item:
        """Return the item with that id.

        Raises
        ------
        ValueError
            If there is none.
        """
        if id not in self._by_id:
            raise ValueError(f"`id` must be the id of an item, got {id!r}")
        return self._by_id[id]

    def labels(self, field: str = "expected") -> tuple[Any, ...]:
        """Return one value per item: "expected", or a field of the metadata.

        Raises
        ------
        ValueError
            If items lack the field, with their number.
        """
        return labels_of(self, field, parameter="field")

    def derive(
        self, items: Sequence[Item], note: str, *, sampling: Mapping[str, Any] | None = None
    ) -> "Dataset":
        """Return a data set of other items, with `note` added to the provenance."""
        provenance = replace(self.provenance, derivations=(*self.provenance.derivations, note))
        if sampling is not None:
            provenance = replace(provenance, sampling=dict(sampling))
        return Dataset(
            items, name=self.name, split=self.split, subset=self.subset, task=self.task,
            provenance=provenance,
        )  # fmt: skip

    def filter(self, keep: Callable[[Item], bool], *, note: str = "filtered") -> "Dataset":
        """Return the items for which `keep` is true, in order."""
        items = [item for item in self._items if keep(item)]
        return self.derive(items, f"{note}: {len(items)} of {len(self)}")

    def sorted(self, key: Callable[[Item], Any], *, note: str = "sorted") -> "Dataset":
        """Return the items in the order of `key`, ties in their present order."""
        return self.derive(sorted(self._items, key=key), note)

    def map(self, change: Callable[[Item], Item], *, note: str) -> "Dataset":
        """Return changed items; `note` says what was changed."""
        if not note:
            raise ValueError("`note` must say what was changed, got ''")
        return self.derive([change(item) for item in self._items], note)

    def shuffle_choices(self, seed: int = 0) -> "Dataset":
        """Return the items with their choices in another order, and `expected` moved along.

        Raises
        ------
        ValueError
            If an item has no choices.
        """
        from crucible_datasets.sampling import rank

        def moved(item: Item) -> Item:
            if item.choices is None:
                raise ValueError(
                    f"`dataset` must have choices in every item, got {item.id} without"
                )
            order = sorted(range(len(item.choices)), key=lambda n: rank(f"{item.id}\x1f{n}", seed))
            expected = None if item.expected is None else order.index(item.expected)
            return replace(item, choices=tuple(item.choices[n] for n in order), expected=expected)

        return self.derive([moved(item) for item in self._items], f"choices shuffled, seed {seed}")

    def concat(self, other: "Dataset") -> "Dataset":
        """Return the items of both, this one's first.

        Raises
        ------
        ValueError
            If the tasks differ or an id is in both.
        """
        if other.task != self.task:
            raise ValueError(f"`other` must be of task {self.task!r}, got {other.task!r}")
        note = f"followed by {len(other)} items of {other.name} {other.fingerprint()[:12]}"
        return self.derive((*self._items, *other), note)

    def validate(self) -> None:
        """Check every item: text, JSON-safe values, an index within the choices.

        Raises
        ------
        IntegrityError
            Naming the first five items that are not as promised.
        """
        wrong = []
        for item in self._items:
            reason = _fault(item, self.task)
            if reason:
                wrong.append(f"{item.id} ({reason})")
        if not self._items:
            raise IntegrityError(self.name, "at least one item", "none")
        if wrong:
            raise IntegrityError(
                f"{self.name}, {len(wrong)} items", "valid items", ", ".join(wrong[:5])
            )

    def fingerprint(self) -> str:
        """Return a SHA-256 over the items, whatever file layout they came from.

        One line of JSON per item: sorted keys, separators `,` and `:`, no ASCII escaping.
        """
        digest = hashlib.sha256()
        dumps = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
        for item in self._items:
            digest.update(dumps(item.to_dict()).encode("utf-8", "surrogatepass") + b"\n")
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return counts and lengths: what one wants to see before using a data set."""
        lengths = sorted(len(item.input) for item in self._items)
        answers = Counter(json.dumps(item.expected, ensure_ascii=False) for item in self._items)
        return {
            "name": self.name, "split": self.split, "subset": self.subset, "task": self.task,
            "n_items": len(self), "fingerprint": self.fingerprint(),
            "input_characters": {
                "min": lengths[0], "median": lengths[len(lengths) // 2], "max": lengths[-1]
            } if lengths else None,
            "distinct_answers": len(answers),
            "most_common_answers": dict(answers.most_common(5)),
            "without_answer": sum(item.expected is None for item in self._items),
        }  # fmt: skip

    def to_jsonl(self, path: Path | str) -> None:
        """Write one item per line; `load(name, path=..., fields=FieldMap.of_items())` reads it."""
        with Path(path).open("w", encoding="utf-8", newline="\n") as file:
            for item in self._items:
                file.write(json.dumps(item.to_dict(), sort_keys=True) + "\n")


def _fault(item: Item, task: Task) -> str | None:
    if not item.id or not item.input.strip():
        return "no id" if not item.id else "empty input"
    try:
        json.dumps(item.to_dict(), allow_nan=False)
    except (TypeError, ValueError) as error:
        return f"not JSON: {error}"
    if task == "multiple_choice":
        if not item.choices or len(item.choices) < 2:
            return "fewer than two choices"
        if item.expected is not None and item.expected not in range(len(item.choices)):
            return f"expected {item.expected!r} is not the index of a choice"
    return None


def labels_of(dataset: Dataset, field: str, *, parameter: str) -> tuple[Any, ...]:
    """Return one value per item; an error names the parameter that held the field."""
    if field == "expected":
        return tuple(item.expected for item in dataset)
    lacking = sum(field not in item.metadata for item in dataset)
    if lacking:
        raise ValueError(
            f"`{parameter}` must be 'expected' or in the metadata of every item, got {field!r}, "
            f"which {lacking} of {len(dataset)} items lack"
        )
    return tuple(item.metadata[field] for item in dataset)
