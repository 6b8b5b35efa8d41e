"""The port of a delay policy, and what may be said about one beyond it."""

import math
from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from crucible_hedging.errors import PolicyError

Settled = Literal["unhedged", "won", "lost", "failed"]
WhyNot = Literal["warmup", "not_sampled"]


@runtime_checkable
class DelayPolicy(Protocol):
    """Decide how long to wait before a backup is sent.

    Beside these two, an implementation may have

    * `settle(result)`: called once per request with "unhedged", "won", "lost" or "failed";
    * `reset()`: forget what was learned; `Hedger.reset` calls it;
    * `name: str`: a name in which equal policies are equal, for the designs of experiments;
    * `learns: bool`: the delay follows the observations; such a policy runs only under a budget or
      a cap on running attempts;
    * `needs_budget: bool`: it runs only under a budget;
    * `backups_differ: bool`: set to True where a request has backups with calls of their own;
    * `why_not`: after a `delay()` of inf, "warmup" or "not_sampled".
    """

    def delay(self) -> float:
        """Return the wait for this request in seconds, >= 0; `math.inf` means no backup."""
        ...

    def observe(self, latency_s: float, *, censored: bool, attempt: int = 0) -> None:
        """Learn from one attempt, on its own clock.

        `censored` marks an attempt that was beaten or cancelled after `latency_s` seconds: it would
        have taken longer. `attempt` is 0 for the primary. Failed attempts are not told.
        """
        ...


def ask(
    policy: DelayPolicy, call: object, backups: Sequence[object]
) -> tuple[float | None, WhyNot | None]:
    """Return the delay (None: never) and, where the policy says it, the reason for never."""
    if hasattr(policy, "backups_differ") and any(b is not call and b != call for b in backups):
        policy.backups_differ = True
    value: object = policy.delay()
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise PolicyError(policy_name(policy), value)
    if value == math.inf:
        return None, getattr(policy, "why_not", None)
    return float(value), None


def policy_name(policy: object) -> str:
    """Return a policy's or a factory's own name, else the name of its class or function."""
    name = getattr(policy, "name", None) or getattr(policy, "__name__", None)
    return str(name or type(policy).__name__)


def check_safe(policy: object, *, budget: bool, capped: bool) -> None:
    """Refuse to run a policy without the guard that it needs."""
    if budget:
        return
    if getattr(policy, "needs_budget", False):
        raise ValueError(f"`budget` must be given with {policy_name(policy)}, got None")
    if getattr(policy, "learns", False) and not capped:
        raise ValueError(
            f"`budget` must be given with {policy_name(policy)}, which learns its delay from "
            "the load that it makes, got None"
        )
