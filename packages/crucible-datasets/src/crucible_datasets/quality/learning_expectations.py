"""Expectations about data that something will be learned from."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal

from crucible_datasets.extras import need
from crucible_datasets.quality.checking import absent, check_range, not_numeric, undefined, within
from crucible_datasets.quality.drift import Baseline, detect_drift
from crucible_datasets.quality.suite import Expectation, ExpectationResult
from crucible_datasets.quality.table import Columns, hashable, is_number, rows_of


def label_balance(column: str, *, min_share: float = 0.1) -> Expectation:
    """Expect the rarest label to have a share of the rows."""
    if not 0 < min_share <= 1:
        raise ValueError(f"`min_share` must be in (0, 1], got {min_share}")

    def check(columns: Columns) -> ExpectationResult:
        name = "label_balance"
        if (wrong := absent(name, columns, [column])) is not None:
            return wrong
        counts = _labels(columns[column])
        if not counts:
            return undefined(name, column, "every value is null")
        n = counts.total()
        rare = [label for label, count in counts.items() if count / n < min_share]
        return ExpectationResult(
            name=name, column=column, passed=not rare, observed=min(counts.values()) / n,
            n_checked=n, n_failed=sum(counts[label] for label in rare), examples=tuple(rare[:5]),
        )  # fmt: skip

    parameters = {"min_share": min_share}
    return Expectation(name="label_balance", column=column, parameters=parameters, check=check)


def label_cardinality(column: str, *, low: int = 2, high: int = 100) -> Expectation:
    """Expect a number of different labels."""
    check_range(low, high)

    def check(columns: Columns) -> ExpectationResult:
        name = "label_cardinality"
        if (wrong := absent(name, columns, [column])) is not None:
            return wrong
        counts = _labels(columns[column])
        if not counts:
            return undefined(name, column, "every value is null")
        ok = within(len(counts), low, high)
        return ExpectationResult(
            name=name, column=column, passed=ok, observed=len(counts), n_checked=counts.total()
        )

    parameters = {"low": low, "high": high}
    return Expectation(name="label_cardinality", column=column, parameters=parameters, check=check)


def _labels(values: Sequence[Any]) -> Counter[Any]:
    return Counter(hashable(value) for value in values if value is not None)


def max_correlation(
    columns: Sequence[str] | None = None,
    *,
    limit: float = 0.95,
    method: Literal["pearson", "spearman"] = "pearson",
) -> Expectation:
    """Expect no two numeric columns to be correlated beyond a limit, in either direction.

    Parameters
    ----------
    columns : sequence of str, optional
        All numeric columns by default.
    method : {"pearson", "spearman"}
        Over the rows where both have a value; Spearman ranks ties by their mean.
    """
    if not 0 <= limit <= 1:
        raise ValueError(f"`limit` must be in [0, 1], got {limit}")
    if method not in ("pearson", "spearman"):
        raise ValueError(f"`method` must be 'pearson' or 'spearman', got {method!r}")
    name, label = "max_correlation", None if columns is None else ", ".join(columns)

    def check(table: Columns) -> ExpectationResult:
        if (wrong := absent(name, table, list(columns or ()))) is not None:
            return wrong
        numeric = list(columns) if columns is not None else _numeric(table)
        for column in numeric:
            why = not_numeric([value for value in table[column] if value is not None])
            if why is not None:
                return undefined(name, label, f"{column}: {why}")
        found = []
        for a, b in combinations(numeric, 2):
            r = _correlation(table[a], table[b], method)
            if r is not None:
                found.append((abs(r), a, b))
        if not found:
            return undefined(name, label, "no two numeric columns that vary")
        largest, a, b = max(found, key=lambda one: one[0])
        above = [(one[1], one[2]) for one in found if one[0] > limit]
        return ExpectationResult(
            name=name, column=label, passed=not above, observed=largest, n_checked=len(found),
            n_failed=len(above), examples=tuple(above[:5]), reason=f"largest: {a} and {b}",
        )  # fmt: skip

    parameters = {"limit": limit, "method": method}
    return Expectation(
        name=name, column=label, parameters=parameters, check=check, needs_scipy=True
    )


def _numeric(table: Columns) -> list[str]:
    return [
        name for name, values in table.items()
        if (known := [v for v in values if v is not None]) and all(map(is_number, known))
    ]  # fmt: skip


def _correlation(a: Sequence[Any], b: Sequence[Any], method: str) -> float | None:
    stats = need("scipy.stats", extra="quality", feature="correlation")
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if len(both) < 3:
        return None
    x, y = ([float(value) for value in side] for side in zip(*both, strict=True))
    if min(x) == max(x) or min(y) == max(y):
        return None
    test = stats.pearsonr if method == "pearson" else stats.spearmanr
    return float(test(x, y).statistic)


def no_missing(columns: Sequence[str] | None = None) -> Expectation:
    """Expect no null in some columns, or in any."""
    label = None if columns is None else ", ".join(columns)

    def check(table: Columns) -> ExpectationResult:
        if (wrong := absent("no_missing", table, list(columns or ()))) is not None:
            return wrong
        wanted = list(columns) if columns is not None else list(table)
        counts = {name: sum(v is None for v in table[name]) for name in wanted}
        missing = {name: n for name, n in counts.items() if n}
        return ExpectationResult(
            name="no_missing", column=label, passed=not missing, observed=sum(counts.values()),
            n_checked=len(wanted) * rows_of(table), n_failed=sum(counts.values()),
            examples=tuple(missing.items())[:5],
        )  # fmt: skip

    return Expectation(name="no_missing", column=label, check=check)


def row_count_between(*, low: int | None = None, high: int | None = None) -> Expectation:
    """Expect a number of rows; an empty table fails."""
    check_range(low, high)

    def check(table: Columns) -> ExpectationResult:
        if (wrong := absent("row_count_between", table, [])) is not None:
            return wrong
        n = rows_of(table)
        return ExpectationResult(
            name="row_count_between", column=None, passed=within(n, low, high), observed=n,
            n_checked=n,
        )  # fmt: skip

    parameters = {"low": low, "high": high}
    return Expectation(name="row_count_between", column=None, parameters=parameters, check=check)


def no_drift(baseline: Baseline, *, alpha: float = 0.05, min_effect: float = 0.1) -> Expectation:
    """Expect no column to have drifted from a baseline, and none of its columns to be missing."""

    def check(table: Columns) -> ExpectationResult:
        if (wrong := absent("no_drift", table, list(baseline.columns))) is not None:
            return wrong
        report = detect_drift(baseline, table, alpha=alpha, min_effect=min_effect)
        moved = [c.column for c in report.columns if c.drifted]
        unknown = [c.column for c in report.columns if c.drifted is None]
        return ExpectationResult(
            name="no_drift", column=None, passed=None if unknown and not moved else not moved,
            observed=len(moved), n_checked=len(report.columns), n_failed=len(moved),
            examples=tuple(moved[:5]),
            reason=f"not computed for {', '.join(unknown[:5])}" if unknown else None,
        )  # fmt: skip

    parameters = {"alpha": alpha, "min_effect": min_effect}
    return Expectation(
        name="no_drift", column=None, parameters=parameters, check=check, needs_scipy=True
    )
