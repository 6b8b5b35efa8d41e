"""How checks end: the shapes that all expectations share."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crucible_datasets.quality.suite import Expectation, ExpectationResult
from crucible_datasets.quality.table import Columns, is_usable, rows_of

EXAMPLES = 5


def absent(name: str, columns: Columns, wanted: Sequence[str]) -> ExpectationResult | None:
    """Return the failure for an empty table or a missing column, None if there is neither."""
    label = ", ".join(wanted) or None
    missing = [column for column in wanted if column not in columns]
    if missing:
        return ExpectationResult(
            name=name, column=label, passed=False, reason=f"there is no column {missing[0]!r}"
        )
    if not rows_of(columns):
        return ExpectationResult(name=name, column=label, passed=False, reason="the table is empty")
    return None


def undefined(name: str, column: str | None, reason: str, n: int = 0) -> ExpectationResult:
    """Return the result of a check that cannot be computed."""
    return ExpectationResult(name=name, column=column, passed=None, n_checked=n, reason=reason)


def check_mostly(mostly: float) -> None:
    """Refuse a share outside (0, 1]."""
    if not 0 < mostly <= 1:
        raise ValueError(f"`mostly` must be in (0, 1], got {mostly}")


def check_range(low: Any, high: Any) -> None:
    """Refuse limits that nothing can lie between."""
    if low is None and high is None:
        raise ValueError("`low` and `high` must not both be None")
    if low is not None and high is not None and low > high:
        raise ValueError(f"`low` must be <= `high`, got {low} and {high}")


def within(value: Any, low: Any, high: Any) -> bool:
    """Say whether a value lies in [low, high], where None is no limit."""
    return (low is None or value >= low) and (high is None or value <= high)


def values_check(
    name: str,
    column: str,
    fits: Callable[[Any], bool],
    *,
    mostly: float,
    parameters: Mapping[str, Any],
) -> Expectation:
    """Return the expectation that a share of the values fits; an error counts as no fit."""
    check_mostly(mostly)

    def check(columns: Columns) -> ExpectationResult:
        if (wrong := absent(name, columns, [column])) is not None:
            return wrong
        values = [value for value in columns[column] if value is not None]
        if not values:
            return undefined(name, column, "every value is null")
        failed = [value for value in values if not _safely(fits, value)]
        return share_result(name, column, len(values), failed, mostly)

    return Expectation(
        name=name, column=column, parameters={**parameters, "mostly": mostly}, check=check
    )


def share_result(
    name: str, column: str | None, n: int, failed: Sequence[Any], mostly: float
) -> ExpectationResult:
    """Return the result of a check of single values."""
    share = (n - len(failed)) / n
    return ExpectationResult(
        name=name, column=column, passed=share >= mostly, observed=share, n_checked=n,
        n_failed=len(failed), examples=tuple(failed[:EXAMPLES]),
    )  # fmt: skip


def statistic_check(
    name: str,
    column: str,
    compute: Callable[[list[float]], float | None],
    passes: Callable[[float], bool],
    *,
    parameters: Mapping[str, Any],
    at_least: int = 1,
    needs_scipy: bool = False,
) -> Expectation:
    """Return the expectation about one number of a numeric column."""

    def check(columns: Columns) -> ExpectationResult:
        if (wrong := absent(name, columns, [column])) is not None:
            return wrong
        values = [value for value in columns[column] if value is not None]
        if (why := not_numeric(values)) is not None:
            return undefined(name, column, why, len(values))
        if len(values) < at_least:
            return undefined(name, column, f"it takes {at_least} values, there are {len(values)}")
        observed = compute([float(value) for value in values])
        if observed is None or not math.isfinite(observed):
            return undefined(name, column, "undefined for these values", len(values))
        ok = passes(observed)
        return ExpectationResult(
            name=name, column=column, passed=ok, observed=observed, n_checked=len(values),
            n_failed=0 if ok else len(values),
        )  # fmt: skip

    return Expectation(
        name=name, column=column, parameters=parameters, check=check, needs_scipy=needs_scipy
    )


def not_numeric(values: Sequence[Any]) -> str | None:
    """Return why values are not a numeric column, None if they are."""
    if not values:
        return "every value is null"
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"not numeric: {value!r}"
        if not is_usable(value):
            return "not finite, or beyond 1e100"
    return None


def _safely(fits: Callable[[Any], bool], value: Any) -> bool:
    try:
        return bool(fits(value))
    except (TypeError, ValueError, AttributeError, OverflowError):
        return False
