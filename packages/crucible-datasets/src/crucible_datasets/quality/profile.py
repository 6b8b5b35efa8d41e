"""A table in numbers: each column, and how complete, valid and free of repeats the whole is."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crucible_datasets.quality.statistic_expectations import quantile
from crucible_datasets.quality.suite import Suite
from crucible_datasets.quality.table import (
    Table,
    columns_of,
    hashable,
    is_number,
    is_usable,
    rows_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """One column. Statistics are None where values are not numeric, or beyond 1e100.

    Parameters
    ----------
    type : str
        "int", "float", "bool", "str", "datetime", "list", "mixed", or "empty".
    stdev, skewness : float, optional
        With n - 1, and adjusted for bias (Fisher and Pearson's G1).
    outliers : int, optional
        Values more than 1.5 interquartile ranges outside the quartiles.
    top : tuple of (value, count)
        The five most frequent values.
    """

    name: str
    type: str
    count: int
    missing: int
    distinct: int
    min: Any = None
    max: Any = None
    mean: float | None = None
    median: float | None = None
    stdev: float | None = None
    skewness: float | None = None
    outliers: int | None = None
    top: tuple[tuple[Any, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain = {key: row[key] if is_number(row[key]) else row[key] and str(row[key])
                 for key in ("min", "max")}  # fmt: skip
        return {**row, **plain, "top": [[str(value), n] for value, n in self.top]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A table.

    Parameters
    ----------
    completeness : float
        Share of values that are not null.
    validity : float, optional
        Share of a suite's expectations that passed; None without a suite.
    uniqueness : float
        1 - share of rows that repeat an earlier one.
    quality_score : float
        Mean of those of the three that are known.
    """

    n_rows: int
    columns: tuple[ColumnProfile, ...]
    completeness: float
    validity: float | None
    uniqueness: float
    quality_score: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        columns = [column.to_dict() for column in self.columns]
        return {"schema": "crucible.datasets.profile/1", **row, "columns": columns}

    def markdown(self) -> str:
        """Return a table of the columns; the parts of the score stand beside it."""
        from crucible_datasets.rendering import cell

        lines = ["| column | type | count | missing | distinct | mean | stdev | outliers |",
                 "|---|" + "---|" * 7]  # fmt: skip
        for c in self.columns:
            numbers = ["" if v is None else f"{v:.4g}" for v in (c.mean, c.stdev)]
            shown = [c.name, c.type, c.count, c.missing, c.distinct, *numbers,
                     "" if c.outliers is None else c.outliers]  # fmt: skip
            lines.append("| " + " | ".join(cell(str(value)) for value in shown) + " |")
        valid = "not checked" if self.validity is None else f"{self.validity:.3f}"
        lines += ["", f"Quality {self.quality_score:.3f}: completeness {self.completeness:.3f}, "
                      f"validity {valid}, uniqueness {self.uniqueness:.3f}."]  # fmt: skip
        return "\n".join(lines) + "\n"


def profile(table: Table, *, suite: Suite | None = None) -> Profile:
    """Describe a table.

    Parameters
    ----------
    suite : Suite, optional
        Whose share of passed expectations is the validity.

    Raises
    ------
    ValueError
        If it is no table, or has no rows.
    """
    columns = columns_of(table)
    n = rows_of(columns)
    if not n:
        raise ValueError("`table` must have rows, got none")
    rows = Counter(hashable(row) for row in zip(*columns.values(), strict=True))
    missing = sum(value is None for values in columns.values() for value in values)
    completeness = 1 - missing / (n * len(columns))
    uniqueness = len(rows) / n
    validity = None if suite is None else suite.run(table).share_passed
    known = [part for part in (completeness, validity, uniqueness) if part is not None]
    return Profile(
        n_rows=n, columns=tuple(_column(name, values) for name, values in columns.items()),
        completeness=completeness, validity=validity, uniqueness=uniqueness,
        quality_score=statistics.fmean(known),
    )  # fmt: skip


def _column(name: str, values: Sequence[Any]) -> ColumnProfile:
    known = [value for value in values if value is not None]
    counts = Counter(hashable(value) for value in known)
    top = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))[:5]
    kind = _type(known)
    row: dict[str, Any] = {}
    if kind in ("int", "float") and all(map(is_usable, known)):
        ordered = sorted(known)
        first, third = quantile(ordered, 25), quantile(ordered, 75)
        reach = 1.5 * (third - first)
        row = {
            "mean": statistics.fmean(known), "median": statistics.median(known),
            "stdev": statistics.stdev(known) if len(known) > 1 else None,
            "skewness": _skewness(known),
            "outliers": sum(v < first - reach or v > third + reach for v in known),
        }  # fmt: skip
    if kind in ("int", "float", "str", "datetime"):
        row |= {"min": min(known), "max": max(known)}
    return ColumnProfile(
        name=name, type=kind, count=len(known), missing=len(values) - len(known),
        distinct=len(counts), top=tuple(top), **row,
    )  # fmt: skip


def _type(known: Sequence[Any]) -> str:
    if not known:
        return "empty"
    for name, types in (("bool", bool), ("int", int), ("str", str), ("list", list | tuple)):
        if all(isinstance(value, types) for value in known):
            return name
    if all(map(is_number, known)):
        return "float"
    aware = {v.tzinfo is None for v in known if isinstance(v, datetime)}
    all_times = all(isinstance(value, datetime) for value in known)
    return "datetime" if all_times and len(aware) == 1 else "mixed"


def _skewness(values: Sequence[float]) -> float | None:
    """Compute G1 = sqrt(n (n - 1)) / (n - 2) * m3 / m2^1.5; None below three different values."""
    n, mean = len(values), statistics.fmean(values)
    m2 = statistics.fmean((value - mean) ** 2 for value in values)
    if n < 3 or m2 == 0:
        return None
    m3 = statistics.fmean((value - mean) ** 3 for value in values)
    return float((n * (n - 1)) ** 0.5 / (n - 2) * m3 / m2**1.5)
