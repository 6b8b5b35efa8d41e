"""Where leaf calls are made: in this process, or by actors on several machines."""

from crucible_harness.desk import Executor
from crucible_harness.executors.local import LocalExecutor

__all__ = ["Executor", "LocalExecutor"]
