"""The object to keep: policies per key, one budget, and what it all did."""

import functools
import threading
from collections.abc import Awaitable, Callable, Hashable, Sequence
from hashlib import blake2b
from typing import Any, ParamSpec, TypeVar, overload

from crucible_hedging.budget import HedgeBudget
from crucible_hedging.costs import CancelledCost
from crucible_hedging.delays.policy import DelayPolicy, ask, check_safe, policy_name
from crucible_hedging.failures import Classifier, default_classify
from crucible_hedging.gates import Gates
from crucible_hedging.hedge import check_calls, check_options
from crucible_hedging.keys import Keys, policies_of
from crucible_hedging.outcome import Blocked, HedgeOutcome
from crucible_hedging.race import Race
from crucible_hedging.recorder import InFlight, Recorder
from crucible_hedging.request import Request
from crucible_hedging.statistics import ALL, HedgeStatistics, Tally
from crucible_hedging.sync import run_sync, worker

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
    accept : callable, optional
        An answer for which it returns False counts as a failed attempt.
    classify : Classifier
    cost : callable, optional
        The price of an answer in US dollars, None where it is unknown.
    cancelled_cost : {"full", "unknown"}
        What a cancelled attempt costs that did not report: what the winner cost, or unknown.
    max_inflight : int, >= 1, optional
        No backup while that many attempts run.
    eligible : float, in [0, 1], or callable
        The share of requests that may be hedged (nested: what is hedged at 1 % is at 5 %), or a
        function of the key. May be set later.
    max_keys : int, >= 1
        Keys that are remembered; the least recently used is forgotten.
    stats_window : int, >= 1
        Latencies that are kept for the percentiles, per key.
    seed : int

    Attributes
    ----------
    enabled : bool
        The kill switch: False sends no backup, from now on, also for requests under way.

    Notes
    -----
    May be used by many tasks and by several threads at once.

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
        accept: Callable[[Any], bool] | None = None,
        classify: Classifier = default_classify,
        cost: Callable[[Any], float | None] | None = None,
        cancelled_cost: CancelledCost = "full",
        max_inflight: int | None = None,
        eligible: float | Callable[[Hashable], bool] = 1.0,
        max_keys: int = 1_000,
        stats_window: int = 10_000,
        seed: int = 0,
    ) -> None:
        if budget is not None and not isinstance(budget, HedgeBudget):
            if isinstance(budget, bool) or not 0 < budget <= 1:
                raise ValueError(f"`budget` must be in (0, 1], a HedgeBudget or None, got {budget}")
            budget = HedgeBudget(budget)
        for name, count in (("max_keys", max_keys), ("stats_window", stats_window)):
            if count < 1:
                raise ValueError(f"`{name}` must be >= 1, got {count}")
        if max_inflight is not None and max_inflight < 1:
            raise ValueError(f"`max_inflight` must be >= 1 or None, got {max_inflight}")
        if cancelled_cost not in ("full", "unknown"):
            raise ValueError(
                f'`cancelled_cost` must be "full" or "unknown", got {cancelled_cost!r}'
            )
        check_options(max_backups=max_backups, stagger=stagger)
        self.enabled = True
        self.budget = budget
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
        self._keys = Keys(self._factory, most=max_keys, stats_window=stats_window, check=check)
        self._tally = Tally(stats_window)
        self._lock = threading.RLock()
        self._arrived = 0

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "max_backups":
            check_options(max_backups=value, stagger=1.0)
        if name == "eligible" and not callable(value) and not 0 <= value <= 1:
            raise ValueError(f"`eligible` must be in [0, 1] or callable, got {value}")
        super().__setattr__(name, value)

    @property
    def name(self) -> str:
        """Policy and budget in words; equal for equal settings, for an experiment's design."""
        parts = [policy_name(self._policy_source)]
        parts.append("no budget" if self.budget is None else f"budget {self.budget.name}")
        if self.max_backups != 1:
            parts.append(f"{self.max_backups} backups")
        if self._stagger != 1.0:
            parts.append(f"stagger {self._stagger:g}")
        if self._in_flight.most is not None:
            parts.append(f"at most {self._in_flight.most} in flight")
        if self.eligible != 1.0:
            share = "some keys" if callable(self.eligible) else f"{self.eligible:g} of requests"
            parts.append(f"for {share}")
        return ", ".join(parts)

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
        """
        max_backups = self.max_backups
        check_calls(call, backups, max_backups=max_backups)
        with self._lock:
            kept = self._keys.use(key)
            blocked = self._closed(key, self._arrived, idempotent, max_backups)
            delay_s = None
            if blocked is None:
                delay_s, blocked = ask(kept.policy, call, backups)
            self._arrived += 1
        if self.budget is not None:
            self.budget.arrive()
        recorder = Recorder(self._lock, self._in_flight, (self._tally, kept.tally))
        race = Race(
            call,
            backups,
            delay_s=delay_s,
            stagger=self._stagger,
            max_backups=max_backups,
            gates=Gates(
                self.budget, kept.pause, enabled=lambda: self.enabled, full=self._in_flight.full
            ),
            accept=self._accept,
            classify=self._classify,
            watcher=recorder,
        )
        return await Request(
            race=race,
            policy=kept.policy,
            delay_s=delay_s,
            blocked=blocked,
            key=key,
            cost=self._cost,
            cancelled_cost=self._cancelled_cost,
            recorder=recorder,
        ).run()

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
                self._keys.clear()
                self._tally = Tally(self._stats_window)
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
