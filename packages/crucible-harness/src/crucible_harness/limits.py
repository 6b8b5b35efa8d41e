"""How fast a provider may be asked: calls at a time, requests and tokens per minute."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

_BURST_S = 1.0  # a second's worth may be sent at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one provider.

    Experiments that are given the same object share it: together they keep to the limits, also
    where they run at once.

    Attributes
    ----------
    concurrency : int, >= 1
        Calls in flight at a time.
    requests_per_minute, tokens_per_minute : float, > 0, optional
        Averages; one second's worth may be sent at once. Tokens are those of the prompt, estimated
        at three characters each, and of the longest answer.
    """

    concurrency: int = 10
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    _limiter: "Limiter" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"`concurrency` must be >= 1, got {self.concurrency}")
        for name in ("requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be > 0, got {value}")
        object.__setattr__(self, "_limiter", Limiter(self))

    @property
    def limiter(self) -> "Limiter":
        """Return what keeps to these limits, for every experiment that was given them."""
        return self._limiter


class _Pace:
    """An average rate with a burst of one second (generic cell rate algorithm).

    Every request takes its turn on arrival, so no queue is kept and arrival is order.
    """

    def __init__(self, per_minute: float) -> None:
        self._seconds_each = 60.0 / per_minute
        self._free_at = -float("inf")

    def turn(self, now: float, amount: float = 1.0) -> float:
        """Take a turn for an amount; return the time at which it comes, >= now."""
        length = amount * self._seconds_each
        at = max(now, self._free_at + min(length, _BURST_S) - _BURST_S)
        self._free_at = max(self._free_at, at) + length
        return at

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used."""
        self._free_at -= amount * self._seconds_each


class Limiter:
    """Keeps calls to one provider within its limits; `pause` obeys a Retry-After.

    Attributes
    ----------
    waiting : int
        Calls that wait for a rate or a pause; those that wait for a place are not among them.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop: object = None
        self._slots: Any = None
        self._requests: _Pace | None = None
        self._tokens: _Pace | None = None
        self._paused_until = -float("inf")
        self.waiting = 0

    def slot(self) -> "_Slot":
        """Return a place among the calls in flight: `async with limiter.slot(): ...`."""
        self._begin()
        return _Slot(self._slots)

    @property
    def free(self) -> bool:
        """Say that a request may be sent now, whatever its tokens."""
        self._begin()
        paced = self._requests is not None or self._tokens is not None
        return not paced and self._paused_until <= anyio.current_time()

    async def turn(self, tokens: int) -> None:
        """Wait until a request of that many tokens may be sent."""
        self._begin()
        now = anyio.current_time()
        at = now
        if self._requests is not None:
            at = max(at, self._requests.turn(now))
        if self._tokens is not None:
            at = max(at, self._tokens.turn(now, tokens))
        await self._wait(max(at, self._paused_until))

    async def _wait(self, until: float) -> None:
        if until > anyio.current_time():
            self.waiting += 1
            try:
                await anyio.sleep_until(until)
            finally:
                self.waiting -= 1
            await self._wait(self._paused_until)  # a pause may have begun meanwhile

    def used(self, *, estimated: int, actual: int | None) -> None:
        """Give back the tokens that a call was expected to use and did not."""
        if self._tokens is not None and actual is not None and actual < estimated:
            self._tokens.give_back(estimated - actual)

    def pause(self, seconds: float) -> None:
        """Send nothing for that long; calls that wait already wait as well."""
        self._begin()
        self._paused_until = max(self._paused_until, anyio.current_time() + seconds)

    def _begin(self) -> None:
        """Start afresh in another event loop: its clock is another one."""
        loop = anyio.lowlevel.current_token()
        if loop == self._loop:
            return
        self._loop = loop
        limits = self._limits
        self._slots = anyio.CapacityLimiter(limits.concurrency)
        rpm, tpm = limits.requests_per_minute, limits.tokens_per_minute
        self._requests = None if rpm is None else _Pace(rpm)
        self._tokens = None if tpm is None else _Pace(tpm)
        self._paused_until = -float("inf")
        self.waiting = 0


class _Slot:
    """A place among the calls in flight. One that is free is taken without giving up one's turn."""

    __slots__ = ("_slots",)

    def __init__(self, slots: anyio.CapacityLimiter) -> None:
        self._slots = slots

    async def __aenter__(self) -> None:
        try:
            self._slots.acquire_on_behalf_of_nowait(self)
        except anyio.WouldBlock:
            await self._slots.acquire_on_behalf_of(self)

    async def __aexit__(self, *_: object) -> None:
        self._slots.release_on_behalf_of(self)


class Providers:
    """The limiter of each provider: the part of a model's name before the slash."""

    def __init__(self, limits: Mapping[str, Limits], *, concurrency: int) -> None:
        self._limits = dict(limits)
        self._concurrency = concurrency
        self._found: dict[str, Limiter] = {}

    def waiting(self) -> dict[str, int]:
        """Return how many calls wait for a rate or a pause, by provider; only where some do."""
        return {
            name: limits.limiter.waiting
            for name, limits in self._limits.items()
            if limits.limiter.waiting
        }

    def of(self, model: str) -> Limiter:
        """Return the limiter of a model's provider."""
        if model not in self._found:
            provider = model.partition("/")[0]
            if provider not in self._limits:
                self._limits[provider] = Limits(concurrency=self._concurrency)
            self._found[model] = self._limits[provider].limiter
        return self._found[model]
