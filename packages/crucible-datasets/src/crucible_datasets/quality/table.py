"""One view of all kinds of tables: columns of equal length, with None for what is missing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from crucible_datasets.deduplication import words
from crucible_datasets.items import Dataset

Columns = dict[str, list[Any]]
Table = Any  # Mapping[str, Sequence] | Dataset | pyarrow.Table


def columns_of(table: Table) -> Columns:
    """Return the columns of a table.

    A data set has `id`, `input`, `expected`, `context`, the metadata's fields, and two columns that
    are derived from the text: `input_words` (how many) and `input_vocabulary` (share of different
    ones).

    Raises
    ------
    ValueError
        If it is no table, or its columns differ in length.
    """
    found: Columns
    if isinstance(table, Dataset):
        found = _of_dataset(table)
    elif isinstance(table, Mapping):
        for name, values in table.items():
            if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
                raise ValueError(
                    f"`table` must have sequences as columns, got {values!r} in {name!r}"
                )
        found = {str(name): [_known(v) for v in values] for name, values in table.items()}
    elif hasattr(table, "to_pydict"):
        found = {name: [_known(v) for v in values] for name, values in table.to_pydict().items()}
    else:
        raise ValueError(f"`table` must be a mapping, a Dataset or an Arrow table, got {table!r}")
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"`table` must have columns of one length, got {lengths}")
    return found


def rows_of(columns: Columns) -> int:
    """Return the number of rows."""
    return len(next(iter(columns.values()), ()))


def is_number(value: Any) -> bool:
    """Say whether a value is an int or a float, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_usable(value: float) -> bool:
    """Say whether statistics can be computed with a number: third powers must stay finite."""
    return -1e100 < value < 1e100


def hashable(value: Any) -> Any:
    """Return something that can be counted, equal for equal values."""
    if isinstance(value, Mapping):
        return tuple(sorted((str(k), hashable(v)) for k, v in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(hashable(one) for one in value)
    return value


def _known(value: Any) -> Any:
    """Return a plain value: numpy scalars unwrapped, NaN as None."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        value = item()
    return None if isinstance(value, float) and math.isnan(value) else value


def _of_dataset(dataset: Dataset) -> Columns:
    found: Columns = {
        "id": list(dataset.ids),
        "input": [item.input for item in dataset],
        "expected": [_known(item.expected) for item in dataset],
    }
    if any(item.context is not None for item in dataset):
        found["context"] = [item.context for item in dataset]
    for name in dict.fromkeys(key for item in dataset for key in item.metadata):
        column = name if name not in found else f"metadata.{name}"
        found[column] = [_known(item.metadata.get(name)) for item in dataset]
    texts = [words(item.input) for item in dataset]
    found["input_words"] = [len(text) for text in texts]
    found["input_vocabulary"] = [len(set(t)) / len(t) if t else None for t in texts]
    return found
