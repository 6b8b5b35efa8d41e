"""How fast, how reliable, how expensive: one report per experiment, and differences of reports."""

from crucible_telemetry.metrics.arrays import Arrays, export_arrays
from crucible_telemetry.metrics.calculate import calculate_metrics
from crucible_telemetry.metrics.compare import Comparison, Difference, compare_experiments
from crucible_telemetry.metrics.intervals import percentile, requests_needed, wilson
from crucible_telemetry.metrics.report import (
    Cost,
    Group,
    Latency,
    MetricsReport,
    Percentile,
    Rate,
    Reliability,
    Tokens,
)

__all__ = [
    "Arrays",
    "Comparison",
    "Cost",
    "Difference",
    "Group",
    "Latency",
    "MetricsReport",
    "Percentile",
    "Rate",
    "Reliability",
    "Tokens",
    "calculate_metrics",
    "compare_experiments",
    "export_arrays",
    "percentile",
    "requests_needed",
    "wilson",
]
