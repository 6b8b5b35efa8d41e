"""What every attempt cost."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from crucible_hedging.attempt import Running
from crucible_hedging.outcome import CostSource

CancelledCost = Literal["full", "unknown"]
Price = tuple[float | None, CostSource | None]


def price(
    attempts: Sequence[Running],
    winner: Running | None,
    *,
    cost: Callable[[Any], float | None] | None,
    cancelled_cost: CancelledCost,
) -> list[Price]:
    """Return what each attempt cost and how that is known.

    Notes
    -----
    A report comes first, then `cost(value)`. An attempt without a value costs what the winner cost
    if it ran the same call: providers go on after a disconnect, and bill it.
    """
    prices = [_own(attempt, cost) for attempt in attempts]
    if winner is None or cancelled_cost == "unknown":
        return prices
    full, _ = prices[winner.index]
    if full is None:
        return prices
    return [
        (full, "assumed_full")
        if usd is None and not attempt.answered and attempt.call_id == winner.call_id
        else (usd, source)
        for attempt, (usd, source) in zip(attempts, prices, strict=True)
    ]


def _own(attempt: Running, cost: Callable[[Any], float | None] | None) -> Price:
    if attempt.reported_usd is not None:
        return attempt.reported_usd, "reported"
    if not attempt.answered or cost is None:
        return None, None
    usd = cost(attempt.value)
    if usd is None:
        return None, None
    if isinstance(usd, bool) or not 0 <= usd < math.inf:
        raise ValueError(f"`cost` must return a finite number >= 0 or None, got {usd}")
    return float(usd), "value"


def total(prices: Sequence[float | None]) -> float | None:
    """Return the sum, or None if any part is unknown."""
    known = [usd for usd in prices if usd is not None]
    return math.fsum(known) if len(known) == len(prices) else None
