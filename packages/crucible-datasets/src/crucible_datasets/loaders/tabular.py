"""Data of your own: a table of any supported format, mapped to items field by field."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crucible_datasets.errors import ParseError
from crucible_datasets.items import Item, Task
from crucible_datasets.loaders.files import Format, Row, rows

Column = str | Callable[[Row], Any]


@dataclass(frozen=True, slots=True)
class FieldMap:
    """Which columns of a table make an item.

    Parameters
    ----------
    input, expected : column name, or callable of the row
    id : column name or callable, optional
        Missing ids become "<name>/<row>", counted from 0.
    metadata : tuple of column names, or callable that returns a mapping
    choices : column name, callable, or tuple of column names, optional
        A column of lists; in CSV a JSON array, or one column per choice.
    context : column name or callable, optional
    """

    input: Column = "input"
    expected: Column = "expected"
    id: Column | None = None
    metadata: tuple[str, ...] | Callable[[Row], Mapping[str, Any]] = ()
    choices: Column | tuple[str, ...] | None = None
    context: Column | None = None

    @classmethod
    def of_items(cls) -> "FieldMap":
        """Return the map that reads what `Dataset.to_jsonl` writes."""
        return cls(
            id="id",
            choices=lambda row: row.get("choices"),
            context=lambda row: row.get("context"),
            metadata=_metadata,
        )


def _metadata(row: Row) -> Mapping[str, Any]:
    value = row.get("metadata") or {}
    return json.loads(value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Tabular:
    """The loader of data of your own."""

    name: str
    fields: FieldMap
    task: Task
    format: Format | None = None
    version: int = 1

    def parse(
        self, files: Mapping[str, Path], *, split: str | None, subset: str | None
    ) -> Iterator[Item]:
        """Yield one item per row, files in the order given."""
        total = 0
        for name, path in files.items():
            for number, row in rows(path, format=self.format, name=name):
                yield self.item(row, total, name, number)
                total += 1

    def item(self, row: Row, position: int, file: str, number: int) -> Item:
        """Return the item of a row.

        Raises
        ------
        ParseError
            Naming file and line, if a field is missing or not what it should be.
        """
        f = self.fields

        def get(column: Column) -> Any:
            try:
                return column(row) if callable(column) else row[column]
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                if not callable(column):
                    has = ", ".join(sorted(map(str, row))) or "nothing"
                    reason = f"no field {column!r} (it has {has})"
                else:
                    reason = f"the field function failed ({error!r})"
                raise ParseError(file, number, reason) from None

        choices: Any = None
        if isinstance(f.choices, tuple):
            choices = tuple(str(get(column)) for column in f.choices)
        elif f.choices is not None and (listed := get(f.choices)) is not None:
            choices = _listed(listed, file, number)
        expected = get(f.expected)
        if self.task == "multiple_choice" and expected is not None:
            expected = _index(expected, choices, file, number)
        if callable(f.metadata):
            metadata = dict(get(f.metadata))
        else:
            metadata = {column: get(column) for column in f.metadata}
        context = None if f.context is None else get(f.context)
        text = get(f.input)
        if text is None or not str(text).strip():
            raise ParseError(file, number, "the input is empty")
        return Item(
            id=f"{self.name}/{position}" if f.id is None else str(get(f.id)),
            input=str(text),
            expected=expected,
            choices=choices,
            context=None if context is None else str(context),
            metadata=metadata,
        )


def _listed(value: Any, file: str, number: int) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ParseError(file, number, "the choices are not a JSON array") from None
    if not isinstance(value, list | tuple) or not value:
        raise ParseError(file, number, f"the choices are not a list, but {value!r}")
    return tuple(str(choice) for choice in value)


def _index(expected: Any, choices: tuple[str, ...] | None, file: str, number: int) -> int:
    """Read the right choice: its index, its letter, or its text."""
    if not choices:
        raise ParseError(file, number, "multiple choice needs `choices`")
    text = str(expected).strip()
    if choices.count(text) == 1 and not isinstance(expected, int):
        return choices.index(text)
    place = int(text) if text.isdecimal() else ord(text.upper()) - 65 if len(text) == 1 else -1
    if not 0 <= place < len(choices):
        reason = f"the answer {expected!r} is neither index, letter nor text of a choice"
        raise ParseError(file, number, reason)
    return place


def stream_items(
    path: Path | str, *, fields: FieldMap, format: Format | None = None, task: Task = "text"
) -> Iterator[Item]:
    """Yield the items of a file one by one, in constant memory.

    Parameters
    ----------
    path : path
        JSON Lines, a JSON array, CSV, TSV or Parquet, each but the last optionally gzipped.
    format : str, optional
        By default what the name says.

    Raises
    ------
    ParseError
        Where a line cannot be read, after the items before it.
    """
    path = Path(path)
    loader = Tabular(name=path.name.partition(".")[0], fields=fields, task=task, format=format)
    return loader.parse({path.name: path}, split=None, subset=None)
