"""Executions: whom to ask when, and when to stop."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from crucible_ensemble.executions.cascade import Cascade
from crucible_ensemble.executions.hedged import FixedHedge
from crucible_ensemble.executions.machine import Execution
from crucible_ensemble.executions.parallel import Parallel, Quorum
from crucible_ensemble.executions.sequential import Sequential
from crucible_ensemble.executions.stops import Consensus, Decided, Posterior, Sprt

ExecutionName = Literal["cascade", "hedged", "parallel", "quorum", "sequential"]
EXECUTIONS: Mapping[str, Execution] = MappingProxyType(
    {
        "cascade": Cascade(),
        "hedged": FixedHedge(),
        "parallel": Parallel(),
        "quorum": Quorum(),
        "sequential": Sequential(),
    }
)

__all__ = [
    "EXECUTIONS",
    "Cascade",
    "Consensus",
    "Decided",
    "ExecutionName",
    "FixedHedge",
    "Parallel",
    "Posterior",
    "Quorum",
    "Sequential",
    "Sprt",
]
