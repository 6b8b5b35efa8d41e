"""Real benchmarks, exactly scored: official files, answer extraction, metrics, data quality.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crucible_datasets.batching import batches
    from crucible_datasets.deduplication import duplicates
    from crucible_datasets.evaluation import evaluate, evaluate_batch
    from crucible_datasets.execution import run_code, run_code_sync
    from crucible_datasets.extraction import extract
    from crucible_datasets.items import Dataset, Item
    from crucible_datasets.loading import load
    from crucible_datasets.prompts import render
    from crucible_datasets.registry import BenchmarkCard, benchmarks
    from crucible_datasets.results import EvaluationResult, Prediction
    from crucible_datasets.sampling import bootstrap_sample, k_fold, sample, train_test_split
    from crucible_datasets.sandbox import SubprocessSandbox

__all__ = [
    "BenchmarkCard",
    "Dataset",
    "EvaluationResult",
    "Item",
    "Prediction",
    "SubprocessSandbox",
    "batches",
    "benchmarks",
    "bootstrap_sample",
    "duplicates",
    "evaluate",
    "evaluate_batch",
    "extract",
    "k_fold",
    "load",
    "render",
    "run_code",
    "run_code_sync",
    "sample",
    "train_test_split",
]

_HOME = {
    "batching": ("batches",),
    "deduplication": ("duplicates",),
    "evaluation": ("evaluate", "evaluate_batch"),
    "execution": ("run_code", "run_code_sync"),
    "extraction": ("extract",),
    "items": ("Dataset", "Item"),
    "loading": ("load",),
    "prompts": ("render",),
    "registry": ("BenchmarkCard", "benchmarks"),
    "results": ("EvaluationResult", "Prediction"),
    "sampling": ("bootstrap_sample", "k_fold", "sample", "train_test_split"),
    "sandbox": ("SubprocessSandbox",),
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
