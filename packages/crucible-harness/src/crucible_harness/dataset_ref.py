"""Which items, in words: a data set that is loaded when an experiment is made."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from crucible_datasets import Dataset
    from crucible_datasets.loaders.tabular import FieldMap


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRef:
    """A data set by its name, as a file says it.

    Attributes
    ----------
    name : str
        A benchmark or demo of `crucible_datasets`, or the name of a file of your own.
    split : str, optional
    path : path, optional
        Of the data set's file.
    limit, sample_size : int, >= 1, optional
        The first items, or that many drawn by `seed`; not both.
    seed : int
    fields : FieldMap, optional
        Names of the fields of a file of your own.
    task : {"math", "text"}, optional
    check_counts : bool
        Refuse a file that does not hold as many items as the official one.

    Raises
    ------
    ValueError
        If both `limit` and `sample_size` are given, or one is out of range.
    """

    name: str
    split: str | None = None
    path: Path | str | None = None
    limit: int | None = None
    sample_size: int | None = None
    seed: int = 0
    fields: "FieldMap | None" = None
    task: Literal["math", "text"] | None = None
    check_counts: bool = True

    def __post_init__(self) -> None:
        if self.limit is not None and self.sample_size is not None:
            raise ValueError("dataset: `limit` and `sample_size` must not both be given")
        for name in ("limit", "sample_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"dataset: `{name}` must be >= 1, got {value}")

    def load(self) -> "Dataset":
        """Return the items.

        Raises
        ------
        ValueError
            If there are fewer items than `limit` or `sample_size`.
        DatasetsError, FileNotFoundError
            If the data set cannot be read.
        """
        from crucible_datasets import load, sample

        extra: dict[str, Any] = {}
        if self.fields is not None:
            extra["fields"] = self.fields
        if self.task is not None:
            extra["task"] = self.task
        dataset = load(
            self.name, split=self.split, path=self.path, check_counts=self.check_counts, **extra
        )
        if self.sample_size is not None:
            return sample(dataset, self.sample_size, seed=self.seed)
        if self.limit is None:
            return dataset
        if self.limit > len(dataset):
            raise ValueError(f"dataset: `limit` must be in [1, {len(dataset)}], got {self.limit}")
        return dataset[: self.limit]

    def to_dict(self) -> dict[str, Any]:
        """Return the table of a file; what has its default is left out.

        Raises
        ------
        ValueError
            If `fields` are functions.
        """
        found: dict[str, Any] = {"name": self.name}
        for name in ("split", "limit", "sample_size", "task"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        if self.path is not None:
            found["path"] = str(self.path)
        if self.seed:
            found["seed"] = self.seed
        if not self.check_counts:
            found["check_counts"] = False
        if self.fields is not None:
            f = self.fields
            if callable(f.metadata) or not all(map(_is_name, (f.input, f.expected, f.id))):
                raise ValueError("dataset: `fields` must be names to be written in a file")
            found["fields"] = {"input": f.input, "expected": f.expected}
            found["fields"] |= {} if f.id is None else {"id": f.id}
            found["fields"] |= {"metadata": list(f.metadata)} if f.metadata else {}
        return found


def _is_name(column: object) -> bool:
    return column is None or isinstance(column, str)
