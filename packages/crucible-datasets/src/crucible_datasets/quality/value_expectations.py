"""Expectations about columns and single values."""

import itertools
import re
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from crucible_datasets.quality.checking import (
    absent,
    check_mostly,
    check_range,
    share_result,
    undefined,
    values_check,
    within,
)
from crucible_datasets.quality.suite import Expectation, ExpectationResult
from crucible_datasets.quality.table import Columns, hashable

Type = Literal["int", "float", "str", "bool", "datetime", "list"]
_TYPES: dict[str, Callable[[Any], bool]] = {
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "float": lambda v: isinstance(v, float),
    "str": lambda v: isinstance(v, str),
    "bool": lambda v: isinstance(v, bool),
    "datetime": lambda v: isinstance(v, datetime),
    "list": lambda v: isinstance(v, list | tuple),
}


def column_exists(column: str) -> Expectation:
    """Expect a column, in a table with rows."""

    def check(columns: Columns) -> ExpectationResult:
        wrong = absent("column_exists", columns, [column])
        return wrong or ExpectationResult(
            name="column_exists", column=column, passed=True, observed=True, n_checked=1
        )

    return Expectation(name="column_exists", column=column, check=check)


def column_type(column: str, *, type: Type) -> Expectation:
    """Expect every value that is not null to be of a type; a bool is no int, an int no float."""
    if type not in _TYPES:
        raise ValueError(f"`type` must be one of {', '.join(_TYPES)}, got {type!r}")
    return values_check("column_type", column, _TYPES[type], mostly=1.0, parameters={"type": type})


def column_count(*, low: int | None = None, high: int | None = None) -> Expectation:
    """Expect a number of columns, in a table with rows."""
    check_range(low, high)

    def check(columns: Columns) -> ExpectationResult:
        n = len(columns)
        wrong = absent("column_count", columns, [])
        return wrong or ExpectationResult(
            name="column_count", column=None, passed=within(n, low, high), observed=n, n_checked=n
        )

    parameters = {"low": low, "high": high}
    return Expectation(name="column_count", column=None, parameters=parameters, check=check)


def between(column: str, *, low: Any = None, high: Any = None, mostly: float = 1.0) -> Expectation:
    """Expect values in [low, high]; None is no limit."""
    check_range(low, high)
    return values_check(
        "between", column, lambda v: within(v, low, high), mostly=mostly,
        parameters={"low": low, "high": high},
    )  # fmt: skip


def in_set(column: str, *, values: Collection[Any], mostly: float = 1.0) -> Expectation:
    """Expect values of a set."""
    allowed = {hashable(value) for value in values}
    return values_check(
        "in_set", column, lambda v: hashable(v) in allowed, mostly=mostly,
        parameters={"values": list(values)},
    )  # fmt: skip


def matches(column: str, *, pattern: str, mostly: float = 1.0) -> Expectation:
    """Expect texts that match a regular expression from end to end."""
    compiled = re.compile(pattern)
    return values_check(
        "matches", column, lambda v: compiled.fullmatch(v) is not None, mostly=mostly,
        parameters={"pattern": pattern},
    )  # fmt: skip


def not_null(column: str, *, mostly: float = 1.0) -> Expectation:
    """Expect values; None and NaN are none."""
    check_mostly(mostly)

    def check(columns: Columns) -> ExpectationResult:
        if (wrong := absent("not_null", columns, [column])) is not None:
            return wrong
        values = columns[column]
        failed = [place for place, value in enumerate(values) if value is None]
        return share_result("not_null", column, len(values), failed, mostly)

    return Expectation(name="not_null", column=column, parameters={"mostly": mostly}, check=check)


def unique(column: str | Sequence[str], *, mostly: float = 1.0) -> Expectation:
    """Expect values, or rows of several columns, that do not repeat; the first of equals passes."""
    check_mostly(mostly)
    wanted = [column] if isinstance(column, str) else list(column)
    label = ", ".join(wanted)

    def check(columns: Columns) -> ExpectationResult:
        if (wrong := absent("unique", columns, wanted)) is not None:
            return wrong
        rows = [row for row in zip(*(columns[c] for c in wanted), strict=True) if None not in row]
        if not rows:
            return undefined("unique", label, "every value is null")
        seen: set[Any] = set()
        failed = []
        for row in rows:
            key = hashable(row)
            if key in seen:
                failed.append(row[0] if len(row) == 1 else row)
            seen.add(key)
        return share_result("unique", label, len(rows), failed, mostly)

    return Expectation(name="unique", column=label, parameters={"mostly": mostly}, check=check)


def increasing(column: str, *, strict: bool = False, mostly: float = 1.0) -> Expectation:
    """Expect each value to be at least, or if strict more than, the one before it."""
    return _monotone("increasing", column, strict, mostly, falling=False)


def decreasing(column: str, *, strict: bool = False, mostly: float = 1.0) -> Expectation:
    """Expect each value to be at most, or if strict less than, the one before it."""
    return _monotone("decreasing", column, strict, mostly, falling=True)


def _monotone(name: str, column: str, strict: bool, mostly: float, *, falling: bool) -> Expectation:
    check_mostly(mostly)

    def check(columns: Columns) -> ExpectationResult:
        if (wrong := absent(name, columns, [column])) is not None:
            return wrong
        values = [value for value in columns[column] if value is not None]
        if len(values) < 2:
            return undefined(name, column, "fewer than two values")
        failed = []
        try:
            for before, after in itertools.pairwise(values):
                low, high = (after, before) if falling else (before, after)
                if high < low or (strict and high == low):
                    failed.append(after)
        except TypeError as error:
            return undefined(name, column, f"values cannot be compared: {error}", len(values))
        return share_result(name, column, len(values) - 1, failed, mostly)

    parameters = {"strict": strict, "mostly": mostly}
    return Expectation(name=name, column=column, parameters=parameters, check=check)


def length_between(
    column: str, *, low: int | None = None, high: int | None = None, mostly: float = 1.0
) -> Expectation:
    """Expect texts or lists of a length."""
    check_range(low, high)
    return values_check(
        "length_between", column, lambda v: within(len(v), low, high), mostly=mostly,
        parameters={"low": low, "high": high},
    )  # fmt: skip


_EMAIL = re.compile(r"[^@\s\"(),:;<>\[\]\\]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,63}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def email(column: str, *, mostly: float = 1.0) -> Expectation:
    """Expect addresses of the usual form (not the whole of RFC 5322)."""
    return values_check(
        "email", column, lambda v: _EMAIL.fullmatch(v) is not None, mostly=mostly, parameters={}
    )


def url(column: str, *, mostly: float = 1.0) -> Expectation:
    """Expect http or https URLs with a host."""

    def fits(value: str) -> bool:
        parts = urlsplit(value)
        spaceless = not any(sign.isspace() for sign in value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and spaceless

    return values_check("url", column, fits, mostly=mostly, parameters={})


def uuid(column: str, *, mostly: float = 1.0) -> Expectation:
    """Expect UUIDs with hyphens."""
    return values_check(
        "uuid", column, lambda v: _UUID.fullmatch(v) is not None, mostly=mostly, parameters={}
    )


def format(column: str, *, pattern: str, mostly: float = 1.0) -> Expectation:
    """Expect texts like a pattern, in which 9 stands for a digit and A for a letter: "AA-9999"."""
    kinds = {"9": "[0-9]", "A": "[A-Za-z]"}
    compiled = re.compile("".join(kinds.get(sign, re.escape(sign)) for sign in pattern))
    return values_check(
        "format", column, lambda v: compiled.fullmatch(v) is not None, mostly=mostly,
        parameters={"pattern": pattern},
    )  # fmt: skip


def all_of(*children: Expectation) -> Expectation:
    """Expect all of several expectations."""
    return _composite("all_of", children, len(children))


def any_of(*children: Expectation) -> Expectation:
    """Expect at least one of several expectations."""
    return _composite("any_of", children, 1)


def at_least(k: int, *children: Expectation) -> Expectation:
    """Expect at least k of several expectations."""
    if not 1 <= k <= len(children):
        raise ValueError(f"`k` must be in [1, {len(children)}], got {k}")
    return _composite("at_least", children, k)


def _composite(name: str, children: Sequence[Expectation], k: int) -> Expectation:
    if not children:
        raise ValueError("`children` must hold at least one expectation, got none")

    def check(columns: Columns) -> ExpectationResult:
        results = [child.check(columns) for child in children]
        passed = sum(result.passed is True for result in results)
        failed = [result.name for result in results if result.passed is not True]
        reasons = "; ".join(f"{r.name}: {r.reason}" for r in results if r.reason is not None)
        return ExpectationResult(
            name=name, column=None, passed=passed >= k, observed=passed, n_checked=len(results),
            n_failed=len(failed), examples=tuple(failed[:5]), reason=reasons or None,
        )  # fmt: skip

    return Expectation(
        name=name, column=None, check=check,
        parameters={"k": k, "children": [child.to_dict() for child in children]},
        needs_scipy=any(child.needs_scipy for child in children),
    )  # fmt: skip
