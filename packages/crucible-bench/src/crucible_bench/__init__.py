"""Paired, clustered and always-valid statistics for comparing systems: tests, intervals, power."""

from crucible_bench.corrections import correct
from crucible_bench.errors import BenchError, PseudoReplicationError, UnmatchedPairsError
from crucible_bench.independent import compare
from crucible_bench.intervals import mean_interval, proportion_interval
from crucible_bench.paired import compare_paired
from crucible_bench.power import detectable_effect, sample_size
from crucible_bench.quantiles import quantile
from crucible_bench.resampling import bootstrap
from crucible_bench.results import Comparison, Interval, Verdict

__all__ = [
    "BenchError",
    "Comparison",
    "Interval",
    "PseudoReplicationError",
    "UnmatchedPairsError",
    "Verdict",
    "bootstrap",
    "compare",
    "compare_paired",
    "correct",
    "detectable_effect",
    "mean_interval",
    "proportion_interval",
    "quantile",
    "sample_size",
]
