"""The options of an ensemble, for functions that pass them on: type checkers know every one."""

from collections.abc import Sequence
from typing import Literal, TypedDict

from crucible_ensemble.confidence import ConfidenceSource
from crucible_ensemble.executions import ExecutionName
from crucible_ensemble.executions.machine import Execution
from crucible_ensemble.model import Equivalence, Hedger, Normaliser, Vote
from crucible_ensemble.normalise import NormaliserName
from crucible_ensemble.panel import Tie
from crucible_ensemble.votes import VoteName


class RarerOptions(TypedDict, total=False):
    """Options of `Ensemble` that `predict` does not name."""

    equivalence: Equivalence | None
    quorum: int | None
    timeout_s: float
    deadline_s: float | None
    tie: Tie
    confidence: ConfidenceSource | None
    hedger: Hedger | None
    unsupported: Literal["raise", "record"]
    weights: Sequence[float] | None
    name: str


class MostOptions(RarerOptions, total=False):
    """Options of `Ensemble` that `create` does not name."""

    execution: ExecutionName | Execution
    normalise: NormaliserName | Normaliser
    samples: int
    seed: int


class AllOptions(MostOptions, total=False):
    """Every option of `Ensemble`."""

    vote: VoteName | Vote
