"""What a hedger may be told, and how it says what it was told."""

import math
from collections.abc import Callable, Hashable

from crucible_hedging.breaker import Breaker
from crucible_hedging.budget import HedgeBudget
from crucible_hedging.costs import CancelledCost


def as_budget(budget: float | HedgeBudget | None) -> HedgeBudget | None:
    """Return a budget as it is and a share of requests as a budget."""
    if budget is None or isinstance(budget, HedgeBudget):
        return budget
    if isinstance(budget, bool) or not 0 < budget <= 1:
        raise ValueError(f"`budget` must be in (0, 1], a HedgeBudget or None, got {budget}")
    return HedgeBudget(budget)


def check_numbers(
    *,
    explore: float,
    cancelled_cost: CancelledCost,
    max_inflight: int | None,
    max_keys: int,
    stats_window: int,
    drain_s: float,
) -> None:
    """Raise if one is out of its range."""
    for name, count in (("max_keys", max_keys), ("stats_window", stats_window)):
        if count < 1:
            raise ValueError(f"`{name}` must be >= 1, got {count}")
    if max_inflight is not None and max_inflight < 1:
        raise ValueError(f"`max_inflight` must be >= 1 or None, got {max_inflight}")
    if cancelled_cost not in ("full", "unknown"):
        raise ValueError(f'`cancelled_cost` must be "full" or "unknown", got {cancelled_cost!r}')
    if isinstance(explore, bool) or not 0 <= explore <= 1:
        raise ValueError(f"`explore` must be in [0, 1], got {explore}")
    if isinstance(drain_s, bool) or not 0 <= drain_s < math.inf:
        raise ValueError(f"`drain_s` must be a finite number >= 0, got {drain_s}")


def check_shadow(shadow: object, shadow_rate: float) -> None:
    """Raise unless there are both or neither."""
    if isinstance(shadow_rate, bool) or not 0 <= shadow_rate <= 1:
        raise ValueError(f"`shadow_rate` must be in [0, 1], got {shadow_rate}")
    if (shadow is None) != (shadow_rate == 0):
        raise ValueError(
            f"`shadow` and `shadow_rate` must be given together, got {shadow} and {shadow_rate}"
        )


def check_hooks(*, breaker: object, **hooks: object) -> None:
    """Raise if one is not what can be called."""
    if breaker is not None and not isinstance(breaker, Breaker):
        raise TypeError(f"`breaker` must be a Breaker or None, got {breaker!r}")
    for name, hook in hooks.items():
        if hook is not None and not callable(hook):
            raise TypeError(f"`{name}` must be callable, got {hook!r}")


def described(
    policy: str,
    *,
    budget: HedgeBudget | None,
    max_backups: int,
    stagger: float,
    max_inflight: int | None,
    eligible: float | Callable[[Hashable], bool],
    cancel: bool,
    explore: float,
    breaker: Breaker | None,
    shadow_rate: float,
) -> str:
    """Return policy, budget and what differs from the defaults, in words."""
    parts = [policy, "no budget" if budget is None else f"budget {budget.name}"]
    if max_backups != 1:
        parts.append(f"{max_backups} backups")
    if stagger != 1.0:
        parts.append(f"stagger {stagger:g}")
    if max_inflight is not None:
        parts.append(f"at most {max_inflight} in flight")
    if callable(eligible):
        parts.append("for some keys")
    elif eligible != 1.0:
        parts.append(f"for {eligible:g} of requests")
    if not cancel:
        parts.append("losers run on")
    if explore != 0.1:
        parts.append(f"explore {explore:g}")
    if breaker is not None:
        failures, rest = breaker.failures, breaker.reset_s
        parts.append(f"breaker of {breaker.scope} ({failures} failures, {rest:g} s)")
    if shadow_rate:
        parts.append(f"shadow {shadow_rate:g}")
    return ", ".join(parts)
