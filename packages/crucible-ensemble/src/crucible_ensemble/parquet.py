"""Response matrices as Parquet, for whoever analyses them elsewhere."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crucible_ensemble.errors import MatrixFormatError, ModelNotAvailableError

if TYPE_CHECKING:
    from crucible_ensemble.matrix import ResponseMatrix

_HOW = "Parquet needs pyarrow: pip install crucible-ensemble[parquet]"
_KEY = b"crucible_ensemble"


def write_parquet(matrix: "ResponseMatrix", path: Path) -> None:
    """Write a row per cell; what has no column of its own is JSON in `rest`."""
    pa, pq = _arrow()
    columns: dict[str, list[Any]] = {name: [] for name, _ in _columns(pa)}
    for cell in matrix:
        said = {} if cell.completion is None else cell.completion.to_short_dict()
        columns["item"].append(cell.item)
        columns["model"].append(cell.model)
        columns["sample"].append(cell.sample)
        columns["status"].append(cell.status)
        columns["error"].append(cell.error)
        columns["text"].append(said.pop("text", None))
        for name in ("input_tokens", "output_tokens"):
            columns[name].append(said.pop(name, None))
        said.pop("cost_usd", None)
        said.pop("latency_s", None)
        columns["cost_usd"].append(cell.cost_usd)
        columns["latency_s"].append(cell.latency_s)
        columns["rest"].append(json.dumps(said, sort_keys=True))
    schema = pa.schema(
        _columns(pa), metadata={_KEY: json.dumps(matrix.first_line(), sort_keys=True)}
    )
    part = path.with_name(path.name + ".part")
    pq.write_table(pa.table(columns, schema=schema), part)
    part.replace(path)


def read_parquet(path: Path) -> "ResponseMatrix":
    """Read what `write_parquet` wrote.

    Raises
    ------
    MatrixFormatError
        If it is something else.
    """
    from crucible_ensemble.matrix import Cell, ResponseMatrix, _header

    pa, pq = _arrow()
    try:
        table = pq.read_table(path)
        header = json.loads((table.schema.metadata or {})[_KEY])
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise MatrixFormatError(f"{path}: not a response matrix ({error})") from None
    cells = []
    for row in table.to_pylist():
        data = {"item": row["item"], "model": row["model"], "sample": row["sample"], "status": row["status"]}  # noqa: E501 # fmt: skip
        rest = {"latency_s": row["latency_s"], "cost_usd": row["cost_usd"]}
        if row["text"] is None:
            cells.append(Cell.from_dict({**data, **rest, "error": row["error"]}))
            continue
        tokens = {n: row[n] for n in ("input_tokens", "output_tokens")}
        said = {"text": row["text"], **tokens, **rest, **json.loads(row["rest"])}
        cells.append(Cell.from_dict({**data, "completion": said}))
    return ResponseMatrix.from_parts(_header(header, path), cells)


def _columns(pa: Any) -> list[tuple[str, Any]]:
    return [
        ("item", pa.string()), ("model", pa.string()), ("sample", pa.int32()),
        ("status", pa.string()), ("error", pa.string()), ("text", pa.string()),
        ("input_tokens", pa.int64()), ("output_tokens", pa.int64()), ("cost_usd", pa.float64()),
        ("latency_s", pa.float64()), ("rest", pa.string()),
    ]  # fmt: skip


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ModelNotAvailableError(_HOW) from error
    return pa, pq
