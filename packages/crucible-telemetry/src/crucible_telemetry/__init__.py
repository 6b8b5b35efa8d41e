"""Lossless, isolated capture of what happens in an experiment: store, measure, export.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crucible_telemetry.context import bind, current_experiment
    from crucible_telemetry.event import Event
    from crucible_telemetry.executor import ContextExecutor
    from crucible_telemetry.experiment import Experiment
    from crucible_telemetry.exports import export, export_async
    from crucible_telemetry.filters import F
    from crucible_telemetry.metrics import calculate_metrics, compare_experiments, export_arrays
    from crucible_telemetry.remote import join_experiment
    from crucible_telemetry.starting import (
        start_experiment,
        stop_experiment,
        stop_experiment_async,
    )
    from crucible_telemetry.stores.memory import MemoryStore
    from crucible_telemetry.stores.opening import open_store
    from crucible_telemetry.stores.port import Store
    from crucible_telemetry.stores.postgres import PostgresStore
    from crucible_telemetry.stores.sqlite import SQLiteStore

__all__ = [
    "ContextExecutor",
    "Event",
    "Experiment",
    "F",
    "MemoryStore",
    "PostgresStore",
    "SQLiteStore",
    "Store",
    "bind",
    "calculate_metrics",
    "compare_experiments",
    "current_experiment",
    "export",
    "export_arrays",
    "export_async",
    "join_experiment",
    "open_store",
    "start_experiment",
    "stop_experiment",
    "stop_experiment_async",
]

_HOME = {
    "context": ("bind", "current_experiment"),
    "event": ("Event",),
    "executor": ("ContextExecutor",),
    "experiment": ("Experiment",),
    "exports": ("export", "export_async"),
    "filters": ("F",),
    "metrics": ("calculate_metrics", "compare_experiments", "export_arrays"),
    "remote": ("join_experiment",),
    "starting": ("start_experiment", "stop_experiment", "stop_experiment_async"),
    "stores.memory": ("MemoryStore",),
    "stores.opening": ("open_store",),
    "stores.port": ("Store",),
    "stores.postgres": ("PostgresStore",),
    "stores.sqlite": ("SQLiteStore",),
}
_SUBMODULES = (
    "alerts",
    "dashboard",
    "errors",
    "exports",
    "live",
    "metrics",
    "otlp",
    "query",
    "redaction",
    "registry",
    "streaming",
    "testing",
    "training",
    "windows",
)


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return import_module(f"crucible_telemetry.{name}")
    for module, names in _HOME.items():
        if name in names:
            found = getattr(import_module(f"crucible_telemetry.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
