"""The results table: one row per cell, a pure function of the journal."""

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

from crucible_harness.analysis import Analysis
from crucible_harness.files import replace_file
from crucible_harness.measured import value_of
from crucible_harness.recorded import RecordedCell, RecordedRun

_FACTS = ("unextracted", "latency_s", "cost_usd", "input_tokens", "output_tokens", "calls",
          "hedged", "error_class")  # fmt: skip
# A spreadsheet would run a cell that begins with one of these.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_results(run: RecordedRun, analysis: Analysis) -> None:
    """Write `results.csv` (and `.parquet` where pyarrow is), `analysis.json` and dead letters."""
    columns = _columns(run)
    expected = {
        item.id: None if item.expected is None else str(item.expected) for item in run.items
    }
    rows = [_row(cell, expected[cell.item], columns) for cell in run.cells]
    replace_file(run.path / "results.csv", _csv(columns, rows))
    _parquet(run, columns, rows)
    text = json.dumps(analysis.to_dict(), indent=1, sort_keys=True, allow_nan=False)
    replace_file(run.path / "analysis.json", text + "\n")
    replace_file(run.path / "dead_letters.jsonl", "".join(_dead_letters(run)))


def _columns(run: RecordedRun) -> tuple[str, ...]:
    asked = {metric.name for metric in run.metrics} - set(_FACTS)
    scores = sorted(asked | {name for cell in run.cells for name in cell.scores})
    return ("condition", "item", "repeat", "status", "expected", "answer", *scores, *_FACTS)


def _row(cell: RecordedCell, expected: str | None, columns: tuple[str, ...]) -> dict[str, Any]:
    facts = {name: getattr(cell, name) for name in ("condition", "item", "repeat", "status",
                                                    "answer", *_FACTS)}  # fmt: skip
    facts["expected"] = expected
    facts["unextracted"] = int(cell.unextracted)
    return {name: facts[name] if name in facts else value_of(cell, name) for name in columns}


def _csv(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in columns])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_FORMULA):
        try:
            float(value)  # an answer such as -3 is a number, and no formula
        except ValueError:
            return f"'{value}"
    return repr(value) if isinstance(value, float) else value


def _parquet(run: RecordedRun, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return
    whole = {"repeat", "unextracted", "input_tokens", "output_tokens", "calls", "hedged"}
    words = {"condition", "item", "status", "expected", "answer", "error_class"}
    schema = pa.schema(
        [(n, pa.int64() if n in whole else pa.string() if n in words else pa.float64())
         for n in columns]
    )  # fmt: skip
    table = _table(schema, rows)
    temporary = run.path / ".results.parquet.writing"
    pq.write_table(table, temporary, compression="zstd")
    temporary.replace(run.path / "results.parquet")


def _table(schema: Any, rows: list[dict[str, Any]]) -> Any:
    """Return rows as an Arrow table. By way of JSON: from Python objects it would load pandas."""
    import pyarrow.json as arrow_json

    if not rows:
        return schema.empty_table()
    lines = [json.dumps({n: _finite(v) for n, v in row.items()}) + "\n" for row in rows]
    text = "".join(lines).encode()
    return arrow_json.read_json(
        io.BytesIO(text),
        read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=arrow_json.ParseOptions(explicit_schema=schema),
    ).combine_chunks()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _dead_letters(run: RecordedRun) -> Iterator[str]:
    for cell in run.cells:
        if cell.status != "ok":
            letter = {
                "condition": cell.condition,
                "item": cell.item,
                "repeat": cell.repeat,
                "status": cell.status,
                "error_class": cell.error_class,
                "error_message": cell.error_message,
                "attempts": cell.attempts,
            }
            yield json.dumps(letter, sort_keys=True) + "\n"
