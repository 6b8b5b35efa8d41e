"""The experiment, from question to publishable answer: design, run, resume, analyse, report.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crucible_harness.analysis import analyse
    from crucible_harness.claims import Hypothesis
    from crucible_harness.compare import compare
    from crucible_harness.conditions import Condition
    from crucible_harness.config import load_experiment
    from crucible_harness.errors import HarnessError
    from crucible_harness.estimate import estimate, estimate_sync
    from crucible_harness.experiment import Experiment
    from crucible_harness.metrics import Metric
    from crucible_harness.options import RunOptions
    from crucible_harness.plan import plan
    from crucible_harness.prereg import preregister
    from crucible_harness.report import report
    from crucible_harness.runner import resume, resume_sync, run, run_sync
    from crucible_harness.status import status
    from crucible_harness.verify import verify

__all__ = [
    "Condition",
    "Experiment",
    "HarnessError",
    "Hypothesis",
    "Metric",
    "RunOptions",
    "analyse",
    "compare",
    "estimate",
    "estimate_sync",
    "load_experiment",
    "plan",
    "preregister",
    "report",
    "resume",
    "resume_sync",
    "run",
    "run_sync",
    "status",
    "verify",
]

_HOME = {
    "analysis": ("analyse",),
    "claims": ("Hypothesis",),
    "compare": ("compare",),
    "conditions": ("Condition",),
    "config": ("load_experiment",),
    "errors": ("HarnessError",),
    "estimate": ("estimate", "estimate_sync"),
    "experiment": ("Experiment",),
    "metrics": ("Metric",),
    "options": ("RunOptions",),
    "plan": ("plan",),
    "prereg": ("preregister",),
    "report": ("report",),
    "runner": ("resume", "resume_sync", "run", "run_sync"),
    "status": ("status",),
    "verify": ("verify",),
}


class _Package(ModuleType):
    """Keeps `compare`, `plan`, ... functions: Python names each loaded submodule on its package."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in __all__):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names:
            found = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
