"""When to send a backup: the port of a delay policy, and its implementations."""

from crucible_hedging.delays.adaptive import AdaptiveDelay
from crucible_hedging.delays.backoff import BackoffDelay
from crucible_hedging.delays.fixed import FixedDelay, NoHedge
from crucible_hedging.delays.parse import parse_delay
from crucible_hedging.delays.percentile import PercentileDelay
from crucible_hedging.delays.policy import DelayPolicy
from crucible_hedging.delays.workload import Multipliers, Workload, WorkloadDelays

__all__ = [
    "AdaptiveDelay",
    "BackoffDelay",
    "DelayPolicy",
    "FixedDelay",
    "Multipliers",
    "NoHedge",
    "PercentileDelay",
    "Workload",
    "WorkloadDelays",
    "parse_delay",
]
