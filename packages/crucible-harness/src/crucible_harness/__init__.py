"""The experiment, from question to publishable answer: design, run, resume, analyse, report."""

from crucible_harness.analysis import Analysis, analyse
from crucible_harness.claims import Criterion, Hypothesis
from crucible_harness.compare import compare
from crucible_harness.conditions import Condition
from crucible_harness.config import load_experiment
from crucible_harness.errors import HarnessError
from crucible_harness.estimate import estimate, estimate_sync
from crucible_harness.experiment import Experiment
from crucible_harness.metrics import Metric
from crucible_harness.options import ErrorPolicy, Limits, RunOptions
from crucible_harness.outcome import RunResult
from crucible_harness.plan import plan
from crucible_harness.prereg import preregister
from crucible_harness.prompts import Prompt
from crucible_harness.report import report
from crucible_harness.runner import resume, resume_sync, run, run_sync
from crucible_harness.status import status
from crucible_harness.verify import verify

__all__ = [
    "Analysis",
    "Condition",
    "Criterion",
    "ErrorPolicy",
    "Experiment",
    "HarnessError",
    "Hypothesis",
    "Limits",
    "Metric",
    "Prompt",
    "RunOptions",
    "RunResult",
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
