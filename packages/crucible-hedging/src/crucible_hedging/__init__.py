"""Shorter tail latency for any async call: race a late call against a backup, within a budget."""

from crucible_hedging.attempt import report_cost
from crucible_hedging.breaker import Breaker
from crucible_hedging.budget import HedgeBudget
from crucible_hedging.calibrate import calibrate
from crucible_hedging.delays.adaptive import AdaptiveDelay
from crucible_hedging.delays.backoff import BackoffDelay
from crucible_hedging.delays.fixed import FixedDelay, NoHedge
from crucible_hedging.delays.percentile import PercentileDelay
from crucible_hedging.delays.policy import DelayPolicy
from crucible_hedging.delays.workload import Workload, WorkloadDelays
from crucible_hedging.hedge import hedge
from crucible_hedging.hedger import Hedger
from crucible_hedging.outcome import HedgeOutcome
from crucible_hedging.shadow import ShadowLog
from crucible_hedging.sync import hedge_sync
from crucible_hedging.tiers import Tier, hedge_tiers
from crucible_hedging.whatif import what_if

__all__ = [
    "AdaptiveDelay",
    "BackoffDelay",
    "Breaker",
    "DelayPolicy",
    "FixedDelay",
    "HedgeBudget",
    "HedgeOutcome",
    "Hedger",
    "NoHedge",
    "PercentileDelay",
    "ShadowLog",
    "Tier",
    "Workload",
    "WorkloadDelays",
    "calibrate",
    "hedge",
    "hedge_sync",
    "hedge_tiers",
    "report_cost",
    "what_if",
]
