"""What one can expect of a table. Each function returns an `Expectation` for a `Suite`.

Nulls are skipped and not counted, except by `not_null` and `no_missing`. A missing column or an
empty table fails; what cannot be computed is None, with the reason, and is no pass.
"""

from crucible_datasets.quality.learning_expectations import (
    label_balance,
    label_cardinality,
    max_correlation,
    no_drift,
    no_missing,
    row_count_between,
)
from crucible_datasets.quality.statistic_expectations import (
    length_distribution,
    mean_between,
    median_between,
    normal,
    quantile_between,
    stdev_between,
)
from crucible_datasets.quality.time_expectations import (
    chronological,
    regular_intervals,
    time_between,
    timestamps_valid,
)
from crucible_datasets.quality.value_expectations import (
    all_of,
    any_of,
    at_least,
    between,
    column_count,
    column_exists,
    column_type,
    decreasing,
    email,
    format,
    in_set,
    increasing,
    length_between,
    matches,
    not_null,
    unique,
    url,
    uuid,
)

__all__ = [
    "all_of",
    "any_of",
    "at_least",
    "between",
    "chronological",
    "column_count",
    "column_exists",
    "column_type",
    "decreasing",
    "email",
    "format",
    "in_set",
    "increasing",
    "label_balance",
    "label_cardinality",
    "length_between",
    "length_distribution",
    "matches",
    "max_correlation",
    "mean_between",
    "median_between",
    "no_drift",
    "no_missing",
    "normal",
    "not_null",
    "quantile_between",
    "regular_intervals",
    "row_count_between",
    "stdev_between",
    "time_between",
    "timestamps_valid",
    "unique",
    "url",
    "uuid",
]
