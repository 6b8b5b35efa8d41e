"""Expectations about statistics of a numeric column."""

import statistics
from collections.abc import Sequence

from crucible_datasets.extras import need
from crucible_datasets.quality.checking import (
    absent,
    check_range,
    statistic_check,
    undefined,
    within,
)
from crucible_datasets.quality.suite import Expectation, ExpectationResult
from crucible_datasets.quality.table import Columns

Limits = tuple[float | None, float | None]


def mean_between(
    column: str, *, low: float | None = None, high: float | None = None
) -> Expectation:
    """Expect the mean in [low, high]."""
    check_range(low, high)
    return statistic_check(
        "mean_between", column, statistics.fmean, lambda x: within(x, low, high),
        parameters={"low": low, "high": high},
    )  # fmt: skip


def median_between(
    column: str, *, low: float | None = None, high: float | None = None
) -> Expectation:
    """Expect the median in [low, high]."""
    check_range(low, high)
    return statistic_check(
        "median_between", column, statistics.median, lambda x: within(x, low, high),
        parameters={"low": low, "high": high},
    )  # fmt: skip


def stdev_between(
    column: str, *, low: float | None = None, high: float | None = None
) -> Expectation:
    """Expect the standard deviation (n - 1) in [low, high]."""
    check_range(low, high)
    return statistic_check(
        "stdev_between", column, statistics.stdev, lambda x: within(x, low, high), at_least=2,
        parameters={"low": low, "high": high},
    )  # fmt: skip


def quantile_between(
    column: str, *, q: float, low: float | None = None, high: float | None = None
) -> Expectation:
    """Expect the q-th percentile in [low, high]; q in [0, 100], Hyndman and Fan's type 7."""
    check_range(low, high)
    if not 0 <= q <= 100:
        raise ValueError(f"`q` must be in [0, 100], got {q}")
    return statistic_check(
        "quantile_between", column, lambda values: quantile(sorted(values), q),
        lambda x: within(x, low, high), parameters={"q": q, "low": low, "high": high},
    )  # fmt: skip


def quantile(ordered: Sequence[float], q: float) -> float:
    """Return a percentile of sorted values, by linear interpolation.

    References
    ----------
    .. [1] R. Hyndman and Y. Fan, Sample Quantiles in Statistical Packages, 1996, definition 7.
    """
    place = (len(ordered) - 1) * q / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def normal(column: str, *, alpha: float = 0.05) -> Expectation:
    """Expect values that do not contradict a normal distribution: p > alpha.

    Shapiro and Wilk's test for 3 to 5,000 values, D'Agostino's K^2 above. With few values much
    passes, with many nothing real does.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` must be in (0, 1), got {alpha}")

    def p_value(values: list[float]) -> float | None:
        stats = need("scipy.stats", extra="quality", feature="the test of normality")
        if min(values) == max(values):
            return None
        test = stats.shapiro if len(values) <= 5000 else stats.normaltest
        return float(test(values).pvalue)

    return statistic_check(
        "normal", column, p_value, lambda p: p > alpha, at_least=3, parameters={"alpha": alpha},
        needs_scipy=True,
    )  # fmt: skip


def length_distribution(column: str, *, mean_between: Limits, stdev_between: Limits) -> Expectation:
    """Expect lengths of texts whose mean and standard deviation lie in ranges (low, high)."""
    check_range(*mean_between)
    check_range(*stdev_between)

    def check(columns: Columns) -> ExpectationResult:
        name = "length_distribution"
        if (wrong := absent(name, columns, [column])) is not None:
            return wrong
        values = [value for value in columns[column] if value is not None]
        if any(not hasattr(value, "__len__") for value in values):
            return undefined(name, column, "not all values have a length", len(values))
        if len(values) < 2:
            return undefined(name, column, "fewer than two values")
        lengths = [len(value) for value in values]
        mean, stdev = statistics.fmean(lengths), statistics.stdev(lengths)
        ok = within(mean, *mean_between) and within(stdev, *stdev_between)
        return ExpectationResult(
            name=name, column=column, passed=ok, observed={"mean": mean, "stdev": stdev},
            n_checked=len(values), n_failed=0 if ok else len(values),
        )  # fmt: skip

    return Expectation(
        name="length_distribution", column=column, check=check,
        parameters={"mean_between": mean_between, "stdev_between": stdev_between},
    )  # fmt: skip
