"""One call, raced against a backup."""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from crucible_hedging.budget import HedgeBudget
from crucible_hedging.delays.fixed import FixedDelay
from crucible_hedging.delays.policy import DelayPolicy, ask, check_safe
from crucible_hedging.errors import NotIdempotentError
from crucible_hedging.failures import Classifier, default_classify
from crucible_hedging.gates import Gates, Pause
from crucible_hedging.outcome import HedgeOutcome
from crucible_hedging.race import Race
from crucible_hedging.request import Request

T = TypeVar("T")


async def hedge(
    call: Callable[[], Awaitable[T]],
    *,
    delay: float | DelayPolicy,
    backups: Sequence[Callable[[], Awaitable[T]]] = (),
    max_backups: int = 1,
    stagger: float = 1.0,
    budget: HedgeBudget | None = None,
    accept: Callable[[T], bool] | None = None,
    classify: Classifier = default_classify,
    cost: Callable[[T], float | None] | None = None,
    idempotent: bool = True,
) -> HedgeOutcome[T]:
    """Await a call; if it is late, start a copy and take the first success.

    Parameters
    ----------
    call : callable
        Called with no arguments once per attempt; returns an awaitable.
    delay : float, >= 0, or DelayPolicy
        Seconds before the first backup. A policy learns only if the same object is passed each
        time; a word such as "p95" is for a `Hedger`, which keeps one.
    backups : sequence of callable
        The i-th backup's own call, such as another region; beyond the list `call` is repeated.
    max_backups : int, in [0, 5]
    stagger : float, > 0
        Backup k starts delay * stagger^(k-1) seconds after the attempt before it.
    budget : HedgeBudget, optional
        Required by policies that learn.
    accept : callable, optional
        An answer for which it returns False counts as a failed attempt.
    classify : Classifier
        Reads an attempt's exception as retryable, fatal or pushback.
    cost : callable, optional
        The price of an answer in US dollars, None where it is unknown.
    idempotent : bool
        Whether the call may be sent twice.

    Returns
    -------
    HedgeOutcome
        Its `value` is what `call` returned.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or `call` does not return an awaitable.
    NotIdempotentError
        If `idempotent` is False.
    AllAttemptsFailedError
        If more than one attempt was started and none succeeded, or no answer was accepted. The
        failure of a single attempt is raised unchanged.
    PolicyError
        If the policy returns NaN or a negative delay.

    Notes
    -----
    Losers are cancelled, and their clean-up is awaited, before this returns or raises. A failing
    backup never ends a primary that still runs; a failing primary starts its backup at once.
    Cancelling the caller cancels every attempt.
    """
    policy = as_policy(delay)
    check_calls(call, backups, max_backups=max_backups)
    check_options(max_backups=max_backups, stagger=stagger)
    check_safe(policy, budget=budget is not None, capped=False)
    if not idempotent:
        raise NotIdempotentError("hedge() may send the call twice; it must be idempotent")
    if budget is not None:
        budget.arrive()
    delay_s, why_not = ask(policy, call, backups) if max_backups else (None, None)
    race = Race(
        call,
        backups,
        delay_s=delay_s,
        stagger=stagger,
        max_backups=max_backups,
        gates=Gates(budget, Pause()),
        accept=accept,
        classify=classify,
    )
    return await Request(
        race=race,
        policy=policy,
        delay_s=delay_s,
        blocked=why_not if max_backups else "disabled",
        key=None,
        cost=cost,
        cancelled_cost="full",
    ).run()


def as_policy(delay: object) -> DelayPolicy:
    """Return a policy as it is and a number as a fixed delay."""
    if isinstance(delay, str):
        raise TypeError(
            f"`delay` must be a number or a policy object that you keep, got {delay!r}; "
            "words are for Hedger(...)"
        )
    if isinstance(delay, DelayPolicy) and not isinstance(delay, type):
        return delay
    if isinstance(delay, bool) or not isinstance(delay, int | float):
        raise TypeError(f"`delay` must be a number of seconds or a policy object, got {delay!r}")
    if not delay >= 0:
        raise ValueError(f"`delay` must be >= 0 seconds, got {delay}")
    return FixedDelay(delay)


def check_options(*, max_backups: object, stagger: float) -> None:
    """Raise if the number of backups or their spacing is out of range."""
    if isinstance(max_backups, bool) or not isinstance(max_backups, int):
        raise TypeError(f"`max_backups` must be an integer in [0, 5], got {max_backups!r}")
    if not 0 <= max_backups <= 5:
        raise ValueError(f"`max_backups` must be in [0, 5], got {max_backups}")
    if isinstance(stagger, bool) or not 0 < stagger < math.inf:
        raise ValueError(f"`stagger` must be a finite number > 0, got {stagger}")


def check_calls(call: object, backups: Sequence[object], *, max_backups: int) -> None:
    """Raise if something cannot be called, or if there are backups that could never run."""
    if not backups and callable(call):
        return
    for name, one in [("call", call), *((f"backups[{i}]", b) for i, b in enumerate(backups))]:
        if not callable(one):
            raise TypeError(f"`{name}` must be callable, got {type(one).__name__}")
    if len(backups) > max_backups:
        raise ValueError(
            f"`backups` must be at most max_backups = {max_backups} calls, got {len(backups)}"
        )
