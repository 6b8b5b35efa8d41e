"""The same races for code that is not async."""

import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar, overload

import anyio
from anyio import to_thread

from crucible_hedging.attempt import abandon_current
from crucible_hedging.budget import HedgeBudget
from crucible_hedging.delays.policy import DelayPolicy
from crucible_hedging.failures import Classifier, default_classify
from crucible_hedging.hedge import check_calls, check_options, hedge
from crucible_hedging.outcome import HedgeOutcome

T = TypeVar("T")


@overload
def hedge_sync(
    call: Callable[[], Awaitable[T]],
    *,
    delay: float | DelayPolicy,
    timeout_s: float | None = None,
    backups: Sequence[Callable[[], Awaitable[T]]] = (),
    max_backups: int = 1,
    stagger: float = 1.0,
    budget: HedgeBudget | None = None,
    accept: Callable[[T], bool] | None = None,
    classify: Classifier = default_classify,
    cost: Callable[[T], float | None] | None = None,
    idempotent: bool = True,
) -> HedgeOutcome[T]: ...


@overload
def hedge_sync(
    call: Callable[[], T],
    *,
    delay: float | DelayPolicy,
    timeout_s: float | None = None,
    backups: Sequence[Callable[[], T]] = (),
    max_backups: int = 1,
    stagger: float = 1.0,
    budget: HedgeBudget | None = None,
    accept: Callable[[T], bool] | None = None,
    classify: Classifier = default_classify,
    cost: Callable[[T], float | None] | None = None,
    idempotent: bool = True,
) -> HedgeOutcome[T]: ...


def hedge_sync(
    call: Callable[[], Any],
    *,
    delay: float | DelayPolicy,
    timeout_s: float | None = None,
    backups: Sequence[Callable[[], Any]] = (),
    max_backups: int = 1,
    stagger: float = 1.0,
    budget: HedgeBudget | None = None,
    accept: Callable[[Any], bool] | None = None,
    classify: Classifier = default_classify,
    cost: Callable[[Any], float | None] | None = None,
    idempotent: bool = True,
) -> HedgeOutcome[Any]:
    """Do what `hedge` does, from code that is not async.

    Parameters
    ----------
    call : callable
        Async, or a plain function, which runs in a thread. A thread cannot be stopped: a plain
        function that loses is abandoned, and its thread ends when the function does.
    timeout_s : float, > 0, optional
    delay, backups, max_backups, stagger, budget, accept, classify, cost, idempotent
        As in `hedge`.

    Raises
    ------
    TimeoutError
        After `timeout_s` seconds.

    Notes
    -----
    Where an event loop runs already, as in a notebook, a thread with a loop of its own does the
    work. Context variables are the caller's everywhere.
    """
    check_options(max_backups=max_backups, stagger=stagger)
    check_calls(call, backups, max_backups=max_backups)
    first, *others = worker(call, *backups)
    return run_sync(
        partial(
            hedge,
            first,
            delay=delay,
            backups=others,
            max_backups=max_backups,
            stagger=stagger,
            budget=budget,
            accept=accept,
            classify=classify,
            cost=cost,
            idempotent=idempotent,
        ),
        timeout_s=timeout_s,
    )


def worker(*calls: Callable[[], Any]) -> list[Callable[[], Awaitable[Any]]]:
    """Return the calls as async ones; equal calls stay equal."""
    made: list[tuple[Callable[[], Any], Callable[[], Awaitable[Any]]]] = []
    for call in calls:
        known = next((done for source, done in made if source is call or source == call), None)
        made.append((call, known or (call if _is_async(call) else partial(_in_thread, call))))
    return [done for _, done in made]


def _is_async(call: Callable[[], Any]) -> bool:
    while isinstance(call, partial):
        call = call.func
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004  # an object whose __call__ is async
    )


async def _in_thread(call: Callable[[], Any]) -> Any:
    try:
        value = await to_thread.run_sync(call, abandon_on_cancel=True)
    except anyio.get_cancelled_exc_class():
        abandon_current()
        raise
    return await value if inspect.isawaitable(value) else value


def run_sync(main: Callable[[], Awaitable[T]], *, timeout_s: float | None) -> T:
    """Run an async function to its end, here or, where a loop runs already, in a thread."""
    if timeout_s is not None and (isinstance(timeout_s, bool) or not timeout_s > 0):
        raise ValueError(f"`timeout_s` must be > 0 or None, got {timeout_s}")

    async def bounded() -> T:
        with anyio.fail_after(timeout_s):
            return await main()

    return _in_helper_thread(bounded) if _loop_is_running() else anyio.run(bounded)


def _loop_is_running() -> bool:
    try:
        anyio.get_cancelled_exc_class()
    except RuntimeError:  # whatever its name in this version of anyio
        return False
    return True


def _in_helper_thread(main: Callable[[], Awaitable[T]]) -> T:
    context = contextvars.copy_context()
    values: list[T] = []
    errors: list[BaseException] = []

    async def in_context() -> T:
        here = contextvars.copy_context()
        for variable in context:
            if variable not in here:  # what names the running loop is this thread's own
                variable.set(context[variable])
        return await main()

    def work() -> None:
        try:
            values.append(anyio.run(in_context))
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=work, name="crucible-hedging")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return values[0]
