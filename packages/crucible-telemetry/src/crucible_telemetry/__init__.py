"""Lossless, isolated capture of what happens in an experiment: store, measure, export."""

from crucible_telemetry.context import bind, current_experiment
from crucible_telemetry.event import Event
from crucible_telemetry.executor import ContextExecutor
from crucible_telemetry.experiment import Experiment
from crucible_telemetry.exports import export, export_async
from crucible_telemetry.filters import F
from crucible_telemetry.metrics import calculate_metrics, compare_experiments, export_arrays
from crucible_telemetry.remote import join_experiment
from crucible_telemetry.starting import start_experiment, stop_experiment, stop_experiment_async
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
