"""What a budget can show."""

import math
from dataclasses import dataclass
from typing import Literal

from crucible_bench.designs import Design
from crucible_bench.results import Alternative, Record
from crucible_bench.sizing import sample_size


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPlan(Record):
    """Whether a budget pays for an answer.

    `n_needed` and `n_affordable` count in `unit`. `power` is None where not even two units can be
    paid for.
    """

    state: Literal["fully_powered", "underpowered", "insufficient"]
    n_affordable: int
    n_needed: int
    unit: str
    power: float | None
    target_power: float
    cost_needed_usd: float


def plan_budget(
    design: Design,
    *,
    effect: float,
    budget_usd: float,
    cost_per_unit_usd: float,
    power: float = 0.80,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> BudgetPlan:
    """Say what a budget can show.

    Parameters
    ----------
    budget_usd : float, >= 0
    cost_per_unit_usd : float, > 0
        What one more unit of n costs: for "pairs" an item under both conditions, for "per group"
        one item in each group. An unknown price is no reason to pass 0.

    Returns
    -------
    BudgetPlan
        "fully_powered" if the n that `sample_size` asks for is affordable, "underpowered" if at
        least 2 are, else "insufficient".

    Examples
    --------
    >>> from crucible_bench.power import PairedT
    >>> plan_budget(PairedT(), effect=0.2, budget_usd=5.0, cost_per_unit_usd=0.05).state
    'underpowered'
    """
    if not 0 <= budget_usd < math.inf:
        raise ValueError(f"`budget_usd` must be >= 0, got {budget_usd}")
    if not 0 < cost_per_unit_usd < math.inf:
        raise ValueError(f"`cost_per_unit_usd` must be > 0, got {cost_per_unit_usd}")
    needed = sample_size(design, effect=effect, power=power, alpha=alpha, alternative=alternative)
    # A budget of .3 at .1 each pays for 3, which the division of binary fractions misses.
    affordable = math.floor(budget_usd / cost_per_unit_usd * (1 + 1e-12))
    state: Literal["fully_powered", "underpowered", "insufficient"]
    if affordable >= needed.n:
        state = "fully_powered"
    elif affordable >= 2:
        state = "underpowered"
    else:
        state = "insufficient"
    return BudgetPlan(
        state=state,
        n_affordable=affordable,
        n_needed=needed.n,
        unit=design.unit,
        power=None if affordable < 2 else design.power(effect, affordable, alpha, alternative),
        target_power=power,
        cost_needed_usd=needed.n * cost_per_unit_usd,
    )
