"""Paired, clustered and always-valid statistics for comparing systems: tests, intervals, power.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crucible_bench.betting import confidence_sequence
    from crucible_bench.corrections import correct
    from crucible_bench.description import describe
    from crucible_bench.independent import compare
    from crucible_bench.multiple import compare_multiple
    from crucible_bench.paired import compare_paired
    from crucible_bench.permutations import permutation_test
    from crucible_bench.power import achieved_power, detectable_effect, sample_size
    from crucible_bench.prereg import Preregistration
    from crucible_bench.resampling import bootstrap
    from crucible_bench.results import Comparison, Interval, Verdict
    from crucible_bench.sequential import SequentialComparison
    from crucible_bench.studies import ab_test, ablation, sweep
    from crucible_bench.tost import equivalence

__all__ = [
    "Comparison",
    "Interval",
    "Preregistration",
    "SequentialComparison",
    "Verdict",
    "ab_test",
    "ablation",
    "achieved_power",
    "bootstrap",
    "compare",
    "compare_multiple",
    "compare_paired",
    "confidence_sequence",
    "correct",
    "describe",
    "detectable_effect",
    "equivalence",
    "permutation_test",
    "sample_size",
    "sweep",
]

_HOME = {
    "betting": ("confidence_sequence",),
    "corrections": ("correct",),
    "description": ("describe",),
    "independent": ("compare",),
    "multiple": ("compare_multiple",),
    "paired": ("compare_paired",),
    "permutations": ("permutation_test",),
    "power": ("achieved_power", "detectable_effect", "sample_size"),
    "prereg": ("Preregistration",),
    "resampling": ("bootstrap",),
    "results": ("Comparison", "Interval", "Verdict"),
    "sequential": ("SequentialComparison",),
    "studies": ("ab_test", "ablation", "sweep"),
    "tost": ("equivalence",),
}


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names:
            found = getattr(import_module(f"crucible_bench.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
