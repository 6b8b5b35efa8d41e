"""Expectations about times: ISO 8601 texts or datetimes."""

import itertools
import statistics
from collections.abc import Callable
from datetime import datetime
from typing import Any

from crucible_datasets.quality.checking import absent, undefined, values_check, within
from crucible_datasets.quality.suite import Expectation, ExpectationResult
from crucible_datasets.quality.table import Columns


def timestamps_valid(column: str, *, mostly: float = 1.0) -> Expectation:
    """Expect times: datetimes, or ISO 8601 texts."""
    return values_check(
        "timestamps_valid", column, lambda v: moment(v) is not None, mostly=mostly, parameters={}
    )


def chronological(column: str) -> Expectation:
    """Expect no time to be before the one above it."""

    def check(times: list[datetime]) -> ExpectationResult:
        late = [b for a, b in itertools.pairwise(times) if b < a]
        return ExpectationResult(
            name="chronological", column=column, passed=not late, observed=len(late),
            n_checked=len(times) - 1, n_failed=len(late), examples=tuple(late[:5]),
        )  # fmt: skip

    return _times("chronological", column, check, {}, at_least=2)


def time_between(
    column: str, *, start: datetime | str, end: datetime | str, mostly: float = 1.0
) -> Expectation:
    """Expect times in [start, end]."""
    first, last = moment(start), moment(end)
    if first is None or last is None:
        raise ValueError(f"`start` and `end` must be ISO 8601 times, got {start!r} and {end!r}")
    if (first.tzinfo is None) != (last.tzinfo is None) or first > last:
        raise ValueError(f"`start` must be <= `end`, with the same zone, got {start!r} and {end!r}")
    return values_check(
        "time_between", column, lambda v: within(moment(v), first, last), mostly=mostly,
        parameters={"start": str(start), "end": str(end)},
    )  # fmt: skip


def regular_intervals(column: str, *, tolerance: float = 0.05) -> Expectation:
    """Expect every gap within a share of the median gap."""
    if tolerance < 0:
        raise ValueError(f"`tolerance` must be >= 0, got {tolerance}")

    def check(times: list[datetime]) -> ExpectationResult:
        gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(times)]
        median = statistics.median(gaps)
        odd = [gap for gap in gaps if abs(gap - median) > tolerance * abs(median)]
        return ExpectationResult(
            name="regular_intervals", column=column, passed=not odd, observed=median,
            n_checked=len(gaps), n_failed=len(odd), examples=tuple(odd[:5]),
        )  # fmt: skip

    return _times("regular_intervals", column, check, {"tolerance": tolerance}, at_least=3)


def moment(value: Any) -> datetime | None:
    """Return the time that a value is, None if it is none."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _times(
    name: str,
    column: str,
    check_times: Callable[[list[datetime]], ExpectationResult],
    parameters: dict[str, Any],
    *,
    at_least: int,
) -> Expectation:
    def check(columns: Columns) -> ExpectationResult:
        if (wrong := absent(name, columns, [column])) is not None:
            return wrong
        values = [value for value in columns[column] if value is not None]
        times = [time for value in values if (time := moment(value)) is not None]
        if len(times) < len(values):
            bad = next(value for value in values if moment(value) is None)
            return undefined(name, column, f"not a time: {bad!r}", len(values))
        if len(times) < at_least:
            return undefined(name, column, f"it takes {at_least} times, there are {len(times)}")
        if len({time.tzinfo is None for time in times}) > 1:
            return undefined(name, column, "times with and without a zone", len(times))
        return check_times(times)

    return Expectation(name=name, column=column, parameters=parameters, check=check)
