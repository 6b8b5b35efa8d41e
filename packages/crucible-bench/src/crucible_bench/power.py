"""How many items a question needs, and what a number of items can show: all of it from here."""

from crucible_bench.binary_designs import McNemar, OneProportion, TwoProportions, ZeroFailures
from crucible_bench.budget import BudgetPlan, plan_budget
from crucible_bench.designs import (
    Clustered,
    Design,
    OneSampleT,
    OneWayAnova,
    PairedItems,
    PairedT,
    TwoSampleT,
)
from crucible_bench.simulated_power import QuantileDifference, SimulatedPower, simulate_power
from crucible_bench.sizing import (
    PowerResult,
    achieved_power,
    detectable_effect,
    power_curve,
    sample_size,
)

__all__ = [
    "BudgetPlan",
    "Clustered",
    "Design",
    "McNemar",
    "OneProportion",
    "OneSampleT",
    "OneWayAnova",
    "PairedItems",
    "PairedT",
    "PowerResult",
    "QuantileDifference",
    "SimulatedPower",
    "TwoProportions",
    "TwoSampleT",
    "ZeroFailures",
    "achieved_power",
    "detectable_effect",
    "plan_budget",
    "power_curve",
    "sample_size",
    "simulate_power",
]
