"""Parquet and Arrow, with the schema that is written down and never guessed from the data."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from crucible_telemetry import query
from crucible_telemetry.experiment import Experiment
from crucible_telemetry.extras import require
from crucible_telemetry.schema import COLUMNS, INDEX, NAMES, Row
from crucible_telemetry.sources import located
from crucible_telemetry.stores.port import Query, Store

_ROW_GROUP = 65_536


def to_arrow(experiment: Experiment | str, *, store: Store | str | Path | None = None) -> Any:
    """Return the events of an experiment as a `pyarrow.Table`.

    `attributes` is JSON text; see `export` for the other parameters.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    UnknownExperimentError
        If the store has no experiment of that id.
    """
    require("parquet")
    import pyarrow as pa

    with located(experiment, store) as (opened, id):
        query.readable(opened, id)
        rows = query.rows(opened, Query(experiments=(id,)))
        return pa.Table.from_batches(_batches(rows, NAMES), schema=_schema(NAMES))


def write(path: Path, rows: Iterator[Row], columns: tuple[str, ...]) -> None:
    """Write rows in groups of 65,536, compressed with zstd."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, _schema(columns), compression="zstd") as file:
        for batch in _batches(rows, columns):
            file.write_batch(batch)


def _schema(columns: tuple[str, ...]) -> Any:
    import pyarrow as pa

    types = {"text": pa.string(), "hex": pa.string(), "integer": pa.int64(), "real": pa.float64()}
    fields = []
    for column in COLUMNS:
        if column.name in columns:
            if column.kind == "json":
                kind = pa.list_(pa.string()) if column.name == "altered" else pa.string()
            else:
                kind = types[column.kind]
            fields.append(pa.field(column.name, kind, nullable=column.null))
    return pa.schema(fields)


def _batches(rows: Iterator[Row], columns: tuple[str, ...]) -> Iterator[Any]:
    import pyarrow as pa

    schema = _schema(columns)
    while chunk := list(islice(rows, _ROW_GROUP)):
        arrays = []
        for field in schema:
            values = [row[INDEX[field.name]] for row in chunk]
            if field.name == "altered":
                values = [None if text is None else json.loads(text) for text in values]
            arrays.append(pa.array(values, type=field.type))
        yield pa.record_batch(arrays, schema=schema)
