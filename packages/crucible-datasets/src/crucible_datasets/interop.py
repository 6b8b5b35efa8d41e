"""To and from other tools: Hugging Face `datasets`, Parquet and CSV."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crucible_datasets.extras import need
from crucible_datasets.items import Dataset, Item, Provenance, Task
from crucible_datasets.loaders.files import Row
from crucible_datasets.loaders.tabular import FieldMap, Tabular

COLUMNS = ("id", "input", "expected", "choices", "context", "metadata")


def to_rows(dataset: Dataset) -> dict[str, list[str | None]]:
    """Return columns of texts: values of any shape are JSON, so that nothing is lost."""
    rows = [item.to_dict() for item in dataset]
    return {
        name: [
            row.get(name) if name in ("id", "input", "context") else json.dumps(row.get(name))
            for row in rows
        ]
        for name in COLUMNS
    }


def written_fields() -> FieldMap:
    """Return the map that reads what `to_parquet`, `to_csv` and `to_hf` write."""

    def read(name: str) -> Any:
        return lambda row: json.loads(row[name] or "null")

    return FieldMap(
        id="id", expected=read("expected"), choices=read("choices"), context=_context,
        metadata=read("metadata"),
    )  # fmt: skip


def to_parquet(dataset: Dataset, path: Path | str) -> None:
    """Write the items as Parquet; `load(..., fields=written_fields())` reads them.

    Raises
    ------
    MissingExtraError
        If the extra `parquet` is not installed.
    """
    arrow = need("pyarrow", extra="parquet", feature="writing Parquet")
    parquet = need("pyarrow.parquet", extra="parquet", feature="writing Parquet")
    columns = {name: arrow.array(cells, arrow.string()) for name, cells in to_rows(dataset).items()}
    parquet.write_table(arrow.table(columns), path)


def to_csv(dataset: Dataset, path: Path | str) -> None:
    """Write the items as CSV; `load(..., fields=written_fields())` reads them.

    For machines: cells are as they are. An item without context has the cell `N` behind a
    backslash.
    """
    columns = to_rows(dataset)
    columns["context"] = [
        "\\N" if cell is None else f"\\{cell}" if cell.startswith("\\") else cell
        for cell in columns["context"]
    ]
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(COLUMNS)
        writer.writerows(zip(*columns.values(), strict=True))


def _context(row: Row) -> str | None:
    cell = row["context"]
    if cell is None or cell == "\\N":
        return None
    return str(cell)[1:] if str(cell).startswith("\\\\") else str(cell)


def to_hf(dataset: Dataset) -> Any:
    """Return a `datasets.Dataset` with the items; `from_hf` turns it back.

    Raises
    ------
    MissingExtraError
        If the extra `hf` is not installed.
    """
    hf = need("datasets", extra="hf", feature="conversion to Hugging Face datasets")
    info = {
        "name": dataset.name, "split": dataset.split, "subset": dataset.subset,
        "task": dataset.task, "provenance": dataset.provenance.to_dict(),
    }  # fmt: skip
    features = hf.Features({name: hf.Value("string") for name in COLUMNS})
    described = hf.DatasetInfo(description=json.dumps(info), features=features)
    return hf.Dataset.from_dict(to_rows(dataset), info=described)


def from_hf(
    hf_dataset: Any, *, name: str, fields: FieldMap | None = None, task: Task | None = None
) -> Dataset:
    """Return the items of a `datasets.Dataset`.

    Parameters
    ----------
    hf_dataset : datasets.Dataset, or an iterable of rows such as a streamed one
    name : str
        Of the new data set.
    fields : FieldMap, optional
        Which columns make an item; without it, those that `to_hf` writes.
    task : str, optional
        How answers are read; what `to_hf` wrote down, else "text".

    Raises
    ------
    ParseError
        If a row lacks a field.
    """
    described = getattr(getattr(hf_dataset, "info", None), "description", "") or ""
    try:
        info = json.loads(described)
    except ValueError:
        info = {}
    info = info if isinstance(info, Mapping) else {}
    task = task or info.get("task", "text")
    reader = Tabular(name=name, fields=fields or written_fields(), task=task or "text")
    items: list[Item] = [
        reader.item(dict(row), place, name, place + 1) for place, row in enumerate(hf_dataset)
    ]
    provenance = Provenance(kind="memory", location="datasets.Dataset", n_total=len(items))
    return Dataset(
        items, name=name, split=info.get("split"), subset=info.get("subset"), task=reader.task,
        provenance=provenance,
    )  # fmt: skip
