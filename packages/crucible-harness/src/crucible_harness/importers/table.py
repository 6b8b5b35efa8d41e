"""A plain table of scores, CSV or JSON Lines: item, condition, repeat, score."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crucible_harness.errors import ForeignLogError
from crucible_harness.importers.samples import ForeignLog, ForeignSample, digest_of, hash_of

_KEYS = ("item", "condition")
_KNOWN = (*_KEYS, "repeat", "input", "expected", "output", "error", "latency_s", "cost_usd",
          "input_tokens", "output_tokens")  # fmt: skip
_WORDS = {"true": 1.0, "false": 0.0}


def read_table(path: Path) -> list[ForeignLog]:
    """Read a table; each condition in it becomes a log.

    Columns `item` and `condition` must be there, `repeat` where a pair of them stands more than
    once; `input`, `expected`, `output`, `error`, `latency_s`, `cost_usd` and tokens may be. Every
    other column with a number in it is a score: a number, true or false, or empty where there is
    none. A column without any number is metadata of the item.

    Raises
    ------
    ForeignLogError
        If a column is missing, a value is no number, or a row stands twice.
    """
    rows = list(_rows(path))
    if not rows:
        raise ForeignLogError(str(path), "holds no rows")
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    missing = [name for name in _KEYS if name not in columns]
    if missing:
        raise ForeignLogError(
            str(path), f"has no column {missing[0]!r}; it has {', '.join(map(repr, columns))}"
        )
    others = [name for name in columns if name not in _KNOWN]
    scores = [name for name in others if any(_is_number(row.get(name)) for _, row in rows)]
    if not scores:
        raise ForeignLogError(
            str(path), "has no score: a column of numbers beside item and condition"
        )
    facts = [name for name in others if name not in scores]
    by_condition: dict[str, dict[tuple[str, int], ForeignSample]] = {}
    for line, row in rows:
        sample = _sample(path, line, row, scores, facts)
        samples = by_condition.setdefault(str(row["condition"]), {})
        key = sample.item, sample.repeat
        if key in samples:
            raise ForeignLogError(
                str(path),
                f"line {line}: item {sample.item!r} stands twice under {row['condition']!r}; "
                "number the answers in a column `repeat`",
            )
        samples[key] = sample
    digest = digest_of(path)
    return [
        ForeignLog(
            tool="table",
            version="CSV" if path.suffix == ".csv" else "JSON Lines",
            file=path.name,
            sha256=digest,
            names=(condition, f"{path.stem} {condition}"),
            metrics=dict.fromkeys(scores),
            samples=tuple(samples.values()),
            facts={"condition": condition},
        )
        for condition, samples in by_condition.items()
    ]


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                reader = csv.DictReader(file, strict=True)
                for row in reader:
                    if None in row or None in row.values():
                        raise ForeignLogError(
                            str(path), f"line {reader.line_num}: it has not as many fields as names"
                        )
                    yield reader.line_num, row
                return
            for line, text in enumerate(file, 1):
                if text.strip():
                    row = json.loads(text)
                    if not isinstance(row, dict):
                        raise ForeignLogError(str(path), f"line {line}: it is no JSON object")
                    yield line, row
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ForeignLogError(str(path), f"cannot be read: {error}") from error


def _is_number(value: Any) -> bool:
    """Return whether a cell holds a number, or true or false, as pandas writes them too."""
    if isinstance(value, str) and value.lower() in _WORDS:
        return True
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _sample(
    path: Path, line: int, row: Mapping[str, Any], scores: list[str], facts: list[str]
) -> ForeignSample:
    def number(name: str) -> float | None:
        value = row.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            value = _WORDS.get(value.lower(), value)
        try:
            found = float(value)  # type: ignore[arg-type]  # whatever it is, it may be refused
        except (TypeError, ValueError):
            raise ForeignLogError(
                str(path), f"line {line}: `{name}` must be a number, got {value!r}"
            ) from None
        if not math.isfinite(found):
            raise ForeignLogError(str(path), f"line {line}: `{name}` must be finite, got {value!r}")
        return found

    def whole(name: str) -> int | None:
        found = number(name)
        if found is not None and (found != int(found) or found < 0):
            raise ForeignLogError(
                str(path), f"line {line}: `{name}` must be a whole number >= 0, got {row[name]!r}"
            )
        return None if found is None else int(found)

    for name in _KEYS:
        if row.get(name) in (None, ""):
            raise ForeignLogError(str(path), f"line {line}: `{name}` is empty")
    item = str(row["item"])
    text = row.get("input")
    asked = item if text in (None, "") else str(text)
    return ForeignSample(
        item=item,
        content=hash_of(asked),
        input=asked,
        expected=row.get("expected") or None,
        metadata={
            name: value
            for name in facts
            if isinstance(value := row.get(name), str | int | float | bool) and value != ""
        },
        repeat=whole("repeat") or 0,
        output=row.get("output") or None,
        scores={name: number(name) for name in scores},
        error=row.get("error") or None,
        latency_s=number("latency_s"),
        cost_usd=number("cost_usd"),
        input_tokens=whole("input_tokens"),
        output_tokens=whole("output_tokens"),
    )
