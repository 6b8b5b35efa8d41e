"""The object to keep: policies per key, one budget, and what it all did."""

import copy
import functools
import itertools
import random
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import blake2b
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload

import anyio

from crucible_hedging.breaker import Breaker, Circuit
from crucible_hedging.budget import HedgeBudget
from crucible_hedging.costs import CancelledCost
from crucible_hedging.delays.policy import DelayPolicy, ask, check_safe, policy_name
from crucible_hedging.errors import CircuitOpenError, HedgerClosedError
from crucible_hedging.events import Events, Outlet
from crucible_hedging.failures import Classifier, default_classify
from crucible_hedging.gates import Gates, Pause
from crucible_hedging.hedge import check_calls, check_options
from crucible_hedging.keys import Kept, Keys, policies_of
from crucible_hedging.outcome import Blocked, HedgeOutcome
from crucible_hedging.pairing import ShadowPairing
from crucible_hedging.race import Keep, Race
from crucible_hedging.recorder import InFlight, Recorder
from crucible_hedging.request import Request
from crucible_hedging.settings import (
    as_budget,
    check_hooks,
    check_numbers,
    check_shadow,
    described,
)
from crucible_hedging.shadow import ShadowLog
from crucible_hedging.statistics import ALL, HedgeStatistics, Tally
from crucible_hedging.stream import HedgedStream, Opening
from crucible_hedging.sync import run_sync, worker
from crucible_hedging.track import Track

T = TypeVar("T")
P = ParamSpec("P")


class Hedger:
    """Race late calls against backups, with delays that learn and a budget that holds.

    Parameters
    ----------
    delay : str, float, DelayPolicy or callable
        A word ("p95", "adaptive", see `parse_delay`), seconds, a policy shared by all keys, or a
        factory `key -> DelayPolicy`. All but a policy object give every key a policy of its own.
    budget : float, HedgeBudget or None
        Backups per request over all keys. None is unlimited, and then policies that learn need
        `max_inflight`.
    max_backups : int, in [0, 5]
        May be set later.
    stagger : float, > 0
        Backup k starts delay * stagger^(k-1) seconds after the attempt before it.
    cancel : bool
        False: losers run on in the background. Only within `async with`.
    explore : float, in [0, 1]
        The share of beaten primaries that run on in the background, within `async with`, so that
        the effect can be measured (`statistics().effect`). It costs no extra request.
    accept : callable, optional
        An answer for which it returns False counts as a failed attempt.
    classify : Classifier
    cost : callable, optional
        The price of an answer in US dollars, None where it is unknown.
    cancelled_cost : {"full", "unknown"}
        What a cancelled attempt costs that did not report: what the winner cost, or unknown.
    breaker : Breaker, optional
        Leaves a key alone after failures in a row.
    max_inflight : int, >= 1, optional
        No backup while that many attempts run.
    eligible : float, in [0, 1], or callable
        The share of requests that may be hedged (nested: what is hedged at 1 % is at 5 %), or a
        function of the key. May be set later.
    max_keys : int, >= 1
        Keys that are remembered; the least recently used is forgotten.
    stats_window : int, >= 1
        Requests that are kept for the percentiles and the effect, per key.
    shadow : ShadowLog, optional
        Where shadowed requests are written; needs `shadow_rate`.
    shadow_rate : float, in [0, 1]
        The share of requests of which both copies start at once and run to their end; the answer is
        the primary's, unless it fails. The budget does not count them. Only within `async with`.
    drain_s : float, >= 0
        On leaving `async with`, background losers may run on for that long; then they are
        cancelled and awaited.
    on_event : Outlet, optional
        Called with the name of each event and its attributes.
    seed : int
        Of the shares: eligible, explored, shadowed, and of "adaptive".

    Attributes
    ----------
    enabled : bool
        The kill switch: False sends no backup, from now on, also for requests under way.

    Notes
    -----
    May be used by many tasks and by several threads at once. `async with hedger` gives all
    requests of its event loop one task group and one timer: a request that needs no backup then
    costs a fraction, and losers may run on in the background. Without it each request that may be
    hedged has a task group of its own.

    Examples
    --------
    >>> Hedger("p95").name
    'percentile(95), budget 0.05'
    """

    def __init__(
        self,
        delay: str | float | DelayPolicy | Callable[[Hashable], DelayPolicy] = "adaptive",
        *,
        budget: float | HedgeBudget | None = 0.05,
        max_backups: int = 1,
        stagger: float = 1.0,
        cancel: bool = True,
        explore: float = 0.1,
        accept: Callable[[Any], bool] | None = None,
        classify: Classifier = default_classify,
        cost: Callable[[Any], float | None] | None = None,
        cancelled_cost: CancelledCost = "full",
        breaker: Breaker | None = None,
        max_inflight: int | None = None,
        eligible: float | Callable[[Hashable], bool] = 1.0,
        max_keys: int = 1_000,
        stats_window: int = 10_000,
        shadow: ShadowLog | None = None,
        shadow_rate: float = 0.0,
        drain_s: float = 5.0,
        on_event: Outlet | None = None,
        seed: int = 0,
    ) -> None:
        budget = as_budget(budget)
        check_numbers(
            explore=explore, cancelled_cost=cancelled_cost, max_inflight=max_inflight,
            max_keys=max_keys, stats_window=stats_window, drain_s=drain_s,
        )  # fmt: skip
        check_shadow(shadow, shadow_rate)
        check_hooks(breaker=breaker, accept=accept, classify=classify, cost=cost, on_event=on_event)
        check_options(max_backups=max_backups, stagger=stagger)
        self.enabled = True
        self._budget = budget
        self.max_backups, self.eligible = max_backups, eligible
        self._shared, self._factory = policies_of(delay, budget, seed)
        check = functools.partial(
            check_safe, budget=budget is not None, capped=max_inflight is not None
        )
        check(self._policy_source)
        self._stagger, self._accept, self._classify = stagger, accept, classify
        self._cost, self._cancelled_cost = cost, cancelled_cost
        self._in_flight, self._seed = InFlight(max_inflight), seed
        self._stats_window = stats_window
        self._check = check
        self._keys = Keys(self._factory, most=max_keys, keep=self._keep)
        self._cancel, self._explore, self._breaker = cancel, explore, breaker
        self._shadow, self._shadow_rate, self._drain_s = shadow, shadow_rate, drain_s
        self._coin = random.Random(f"explore and shadow, {seed}")
        self._events = None if on_event is None else Events(on_event)
        self._track: Track | None = None
        self._thread: int | None = None  # of the event loop that entered
        self._left = False
        self._tally = Tally(stats_window)
        self._lock = threading.RLock()
        self._numbers = itertools.count()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "max_backups":
            check_options(max_backups=value, stagger=1.0)
        if name == "eligible" and not callable(value) and not 0 <= value <= 1:
            raise ValueError(f"`eligible` must be in [0, 1] or callable, got {value}")
        super().__setattr__(name, value)

    @property
    def budget(self) -> HedgeBudget | None:
        """The budget of all keys; its `ratio` may be set at any time."""
        return self._budget

    @property
    def name(self) -> str:
        """Policy and budget in words; equal for equal settings, for an experiment's design."""
        return described(
            policy_name(self._policy_source), budget=self._budget, max_backups=self.max_backups,
            stagger=self._stagger, max_inflight=self._in_flight.most, eligible=self.eligible,
            cancel=self._cancel, explore=self._explore, breaker=self._breaker,
            shadow_rate=self._shadow_rate,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Hedger: {self.name}>"

    async def __call__(
        self,
        call: Callable[[], Awaitable[T]],
        *,
        key: Hashable = None,
        backups: Sequence[Callable[[], Awaitable[T]]] = (),
        idempotent: bool = True,
    ) -> HedgeOutcome[T]:
        """Await a call; if it is late, start a copy and take the first success.

        Parameters
        ----------
        call : callable
            Called with no arguments once per attempt; returns an awaitable.
        key : Hashable
            Requests of one key share a policy, a pause after pushback, and figures.
        backups : sequence of callable
            The i-th backup's own call; beyond the list `call` is repeated.
        idempotent : bool
            False: exactly one attempt is sent.

        Returns
        -------
        HedgeOutcome

        Raises
        ------
        ValueError, TypeError
            If an argument is out of range, or `call` does not return an awaitable.
        AllAttemptsFailedError
            If more than one attempt was started and none succeeded, or no answer was accepted. The
            failure of a single attempt is raised unchanged.
        PolicyError
            If the policy returns NaN or a negative delay.
        CircuitOpenError
            If a breaker keeps the calls of this key back.
        HedgerClosedError
            If the hedger was left.
        """
        track = self._track_here()
        return await self._request(call, key, backups, idempotent, track).run(track)

    def _request(
        self,
        call: Callable[[], Awaitable[T]],
        key: Hashable,
        backups: Sequence[Callable[[], Awaitable[T]]],
        idempotent: bool,
        track: Track | None,
        *,
        alone: bool = False,
    ) -> Request[T]:
        """Plan one request. `alone`: no loser of it may run on, and it casts no shadow."""
        max_backups = self.max_backups
        check_calls(call, backups, max_backups=max_backups)
        delay_s: float | None = None
        shadow = False
        keep: Keep = "nobody"
        with self._lock:
            kept = self._keys.use(key)
            circuit = kept.circuit
            if circuit is not None:
                retry_in_s = circuit.keeps_calls(anyio.current_time())
                if retry_in_s is not None:
                    raise CircuitOpenError(key, retry_in_s)
            blocked = self._closed(key, next(self._numbers), idempotent, max_backups)
            if blocked is None:
                if self._shadow_rate and not alone and self._coin.random() < self._shadow_rate:
                    shadow, keep = True, "all"
                else:
                    delay_s, blocked = ask(kept.policy, call, backups)
                    keep = "nobody" if alone else self._kept_loser(track, delay_s)
        if self._budget is not None:
            self._budget.arrive()
        if self._events is not None:
            self._events("request.start", key, policy=policy_name(kept.policy), delay_s=delay_s)
            if blocked is not None:
                self._events("hedge.blocked", key, blocked=blocked)
        recorder = kept.recorder
        if shadow or self._events is not None:
            recorder = Recorder(
                self._lock, self._in_flight, (self._tally, kept.tally), circuit=circuit,
                events=self._events, key=key, shadow=shadow,
            )  # fmt: skip
        race = Race(
            call,
            backups,
            delay_s=delay_s,
            stagger=self._stagger,
            max_backups=max_backups,
            gates=kept.gates,
            accept=self._accept,
            classify=self._classify,
            watcher=recorder,
            keep=keep,
            shadow=shadow,
        )
        return Request(
            race=race,
            policy=kept.policy,
            delay_s=delay_s,
            blocked=blocked,
            key=key,
            cost=self._cost,
            cancelled_cost=self._cancelled_cost,
            recorder=recorder,
            pairing=ShadowPairing(self._shadow) if shadow and self._shadow is not None else None,
        )

    def session(self) -> "Hedger":
        """Return a hedger to enter, with the same delays, budget, settings and figures.

        A hedger can be entered once. What is done many times with one hedger, such as a run of an
        experiment, enters a session of it each time: `async with hedger.session() as hedger`.

        Raises
        ------
        HedgerClosedError
            If the hedger was left.
        """
        if self._left:
            raise HedgerClosedError("a hedger that was left has no more sessions")
        other = copy.copy(self)
        other._track, other._thread = None, None
        return other

    async def __aenter__(self) -> Self:
        """Open the task group and start the timer that all requests of this event loop share."""
        if self._left:
            raise HedgerClosedError("a hedger that was left cannot be entered again")
        if self._track is not None:
            raise RuntimeError("the hedger is entered already")
        track = Track(drain_s=self._drain_s)
        self._track, self._thread = track, threading.get_ident()
        await track.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give background losers `drain_s` seconds, then cancel and await them."""
        track, self._track, self._left = self._track, None, True
        assert track is not None
        await track.__aexit__(kind, error, trace)

    def _track_here(self) -> Track | None:
        if self._left:
            raise HedgerClosedError("the hedger was used after its `async with` block")
        if self._track is not None and threading.get_ident() == self._thread:
            return self._track
        for needs, name in ((not self._cancel, "cancel=False"), (self._shadow_rate, "shadow_rate")):
            if needs:
                raise ValueError(
                    f"`{name}` must be used within `async with hedger`, in the event loop that "
                    "entered it: losers run on in its task group"
                )
        return None

    def _kept_loser(self, track: Track | None, delay_s: float | None) -> Keep:
        if track is None or delay_s is None:
            return "nobody"
        if not self._cancel:
            return "all"
        return "primary" if self._coin.random() < self._explore else "nobody"

    def _keep(self, policy: DelayPolicy) -> Kept:
        self._check(policy)
        circuit = None if self._breaker is None else Circuit(self._breaker)
        tally = Tally(self._stats_window)
        return Kept(
            policy,
            circuit=circuit,
            gates=Gates(
                self._budget, Pause(), circuit=circuit, enabled=self._is_enabled,
                full=self._in_flight.full,
            ),
            tally=tally,
            recorder=Recorder(self._lock, self._in_flight, (self._tally, tally), circuit=circuit),
        )  # fmt: skip

    def _is_enabled(self) -> bool:
        return self.enabled

    async def race(
        self, calls: Sequence[Callable[[], Awaitable[T]]], /, *, key: Hashable = None
    ) -> tuple[T, int]:
        """Return the first success and the index of its attempt.

        Parameters
        ----------
        calls : sequence of callable
            calls[0] is the primary, the others are the backups' own calls. A primary alone is
            repeated.
        """
        if not calls:
            raise ValueError("`calls` must hold at least the primary, got none")
        outcome = await self(calls[0], key=key, backups=calls[1:])
        return outcome.value, outcome.winner

    def stream(
        self,
        call: Callable[[], AsyncIterable[T]],
        *,
        key: Hashable = None,
        backups: Sequence[Callable[[], AsyncIterable[T]]] = (),
    ) -> AbstractAsyncContextManager[HedgedStream[T]]:
        """Race streams for their first item, and pass the winner's items through.

        Copies of one prompt share their length, so their total times are correlated and a race for
        the end buys little; the times to the first item are close to independent. After the first
        item the losers are closed (`aclose`, awaited), and there is no switch later.

        Parameters
        ----------
        call : callable
            Called with no arguments once per copy; returns an async iterable.
        key : Hashable
        backups : sequence of callable
            The i-th backup's own call; beyond the list `call` is repeated.

        Returns
        -------
        async context manager
            Entering it waits for the first item and returns a `HedgedStream`; leaving it closes
            everything. A stream that ends without an item is a success without items.

        Raises
        ------
        ValueError
            If the hedger has an option that a stream cannot honour: `accept`, `cost` (use
            `report_cost`), `cancel=False` or `shadow_rate`.

        Notes
        -----
        Every copy is iterated in a task of its own, whether the hedger is entered or not. Nothing
        is explored. Latencies, here and in `statistics`, are times to the first item: give streams
        a hedger, or at least a key, of their own.
        """
        for name, given in (
            ("accept", self._accept is not None),
            ("cost", self._cost is not None),
            ("cancel=False", not self._cancel),
            ("shadow_rate", self._shadow_rate > 0),
        ):
            if given:
                raise ValueError(f"`{name}` must not be given to a hedger that races streams")
        check_calls(call, backups, max_backups=self.max_backups)
        if self._left:
            raise HedgerClosedError("the hedger was used after its `async with` block")

        async def ask(
            first: Callable[[], Any], /, *, backups: Sequence[Callable[[], Any]], track: Track
        ) -> HedgeOutcome[Any]:
            return await self._request(first, key, backups, True, track, alone=True).run(track)

        return Opening(ask, call, backups)

    def wrap(self, fn: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """Return an async function whose calls are hedged; usable as a decorator.

        It returns the value only; what the races did is in `statistics()`.
        """

        @functools.wraps(fn)
        async def hedged(*args: P.args, **kwargs: P.kwargs) -> T:
            return (await self(lambda: fn(*args, **kwargs))).value

        return hedged

    @overload
    def call_sync(
        self,
        call: Callable[[], Awaitable[T]],
        *,
        key: Hashable = None,
        backups: Sequence[Callable[[], Awaitable[T]]] = (),
        timeout_s: float | None = None,
    ) -> HedgeOutcome[T]: ...

    @overload
    def call_sync(
        self,
        call: Callable[[], T],
        *,
        key: Hashable = None,
        backups: Sequence[Callable[[], T]] = (),
        timeout_s: float | None = None,
    ) -> HedgeOutcome[T]: ...

    def call_sync(
        self,
        call: Callable[[], Any],
        *,
        key: Hashable = None,
        backups: Sequence[Callable[[], Any]] = (),
        timeout_s: float | None = None,
    ) -> HedgeOutcome[Any]:
        """Do what calling the hedger does, from code that is not async.

        Parameters
        ----------
        call : callable
            Async, or a plain function, which runs in a thread. A thread cannot be stopped: a plain
            function that loses is abandoned, and its thread ends when the function does.
        timeout_s : float, > 0, optional

        Raises
        ------
        TimeoutError
            After `timeout_s` seconds.
        """
        check_calls(call, backups, max_backups=self.max_backups)
        first, *others = worker(call, *backups)
        return run_sync(lambda: self(first, key=key, backups=others), timeout_s=timeout_s)

    def statistics(self, key: Hashable = ALL) -> HedgeStatistics:
        """Return the figures of one key, or of all keys.

        Raises
        ------
        KeyError
            If nothing was sent under that key, or it was forgotten.
        """
        with self._lock:
            if key is ALL:
                return self._tally.summary()
            return self._keys.look_up(key).tally.summary()

    def observe(self, latency_s: float, *, key: Hashable = None) -> None:
        """Tell the key's policy a latency that is already on file."""
        if isinstance(latency_s, bool) or not 0 <= latency_s < float("inf"):
            raise ValueError(f"`latency_s` must be a finite number >= 0, got {latency_s}")
        with self._lock:
            self._keys.use(key).policy.observe(latency_s, censored=False, attempt=0)

    def reset(self, key: Hashable = ALL) -> None:
        """Forget latencies, pauses and counts of one key or of all; settings and budget stay.

        Raises
        ------
        ValueError
            If all keys share one policy and only one key is to be forgotten.
        TypeError
            If the policy was given as an object without `reset()`.
        """
        with self._lock:
            if self._shared is not None:
                if key is not ALL:
                    raise ValueError("`key` must be ALL where all keys share one policy")
                forget = getattr(self._shared, "reset", None)
                if forget is None:
                    name = policy_name(self._shared)
                    raise TypeError(f"{name} has no reset(); give the hedger a factory of it")
                forget()
            if key is ALL:
                self._tally = Tally(self._stats_window)
                self._keys.clear()
            else:
                self._keys.forget(key)

    @property
    def _policy_source(self) -> object:
        return self._factory if self._shared is None else self._shared

    def _closed(
        self, key: Hashable, number: int, idempotent: bool, max_backups: int
    ) -> Blocked | None:
        if not self.enabled or max_backups == 0:
            return "disabled"
        eligible = self.eligible
        if callable(eligible):
            chosen = eligible(key)
        else:
            chosen = eligible == 1 or _share(self._seed, number) < eligible
        if not chosen:
            return "ineligible"
        return None if idempotent else "not_idempotent"


def _share(seed: int, number: int) -> float:
    """Return the request's place in [0, 1), the same whatever the share."""
    digest = blake2b(f"{seed}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
