"""How much may be sent at a time: a limiter shared by calls, a breaker for a model that is down."""

import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from crucible_ensemble.errors import CircuitOpenError


class Slot:
    """One admitted call; `queued_s` is what it waited."""

    __slots__ = ("queued_s", "reserved", "used")

    def __init__(self, queued_s: float, reserved: int) -> None:
        self.queued_s, self.reserved = queued_s, reserved
        self.used: int | None = None


class Limiter:
    """Calls at a time, requests per minute and tokens per minute, shared by whoever holds it.

    Parameters
    ----------
    concurrency : int, >= 1
    requests_per_minute, tokens_per_minute : float, > 0, optional
        Bursts are at most one second's worth, and at least one request.

    Notes
    -----
    First in, first out; waiting can be cancelled. Tokens are reserved before a call (an estimate
    of its prompt plus `max_tokens`) and settled with what was used. Not for several threads.
    """

    def __init__(
        self,
        concurrency: int = 10,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"`concurrency` must be >= 1, got {concurrency}")
        rates = {
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
        }
        for name, rate in rates.items():
            if rate is not None and not 0 < rate < math.inf:
                raise ValueError(f"`{name}` must be > 0, got {rate}")
        self._concurrency, self._running = concurrency, 0
        self._requests = None if requests_per_minute is None else _Bucket(requests_per_minute / 60)
        self._tokens = None if tokens_per_minute is None else _Bucket(tokens_per_minute / 60)
        self._waiting: deque[object] = deque()
        self._paused_until = -math.inf

    def __repr__(self) -> str:
        return f"Limiter({self._concurrency}, running={self._running}, waiting={len(self._waiting)})"  # fmt: skip # noqa: E501

    @property
    def running(self) -> int:
        """Calls that are admitted at the moment."""
        return self._running

    def pause(self, seconds: float) -> None:
        """Admit nobody for a while: the provider asked to wait."""
        import anyio

        self._paused_until = max(self._paused_until, anyio.current_time() + seconds)

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[Slot]:
        """Wait to be admitted.

        Parameters
        ----------
        tokens : int
            Reserved; set `used` of the slot to settle.
        """
        import anyio

        began = anyio.current_time()
        await self._admit(tokens)
        slot = Slot(anyio.current_time() - began, tokens)
        try:
            yield slot
        finally:
            self._running -= 1
            if self._tokens is not None and slot.used is not None:
                self._tokens.take(slot.used - slot.reserved, anyio.current_time())
            self._wake()

    async def _admit(self, tokens: int) -> None:
        import anyio

        if not self._waiting and self._delay(anyio.current_time()) == 0.0:
            self._enter(tokens, anyio.current_time())
            return
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            while True:
                if self._waiting[0] is not turn:
                    await turn.wait()
                    turn = self._waiting[0] = anyio.Event()
                delay = self._delay(anyio.current_time())
                if delay == 0.0:
                    break
                # Woken early when a call ends; a pause or a rate has its time.
                with anyio.move_on_after(None if delay == math.inf else delay):
                    await turn.wait()
                    turn = self._waiting[0] = anyio.Event()
            self._enter(tokens, anyio.current_time())
        finally:
            self._waiting.remove(turn)
            self._wake()

    def _enter(self, tokens: int, now: float) -> None:
        self._running += 1
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)

    def _delay(self, now: float) -> float:
        """Return the seconds until the next call may go; inf until one ends."""
        if self._running >= self._concurrency:
            return math.inf
        waits = [self._paused_until - now]
        waits += [b.delay(now) for b in (self._requests, self._tokens) if b is not None]
        return max(0.0, *waits)

    def _wake(self) -> None:
        if self._waiting:
            self._waiting[0].set()  # type: ignore[attr-defined] # an anyio.Event


class _Bucket:
    """A token bucket that may go into debt: whoever is admitted takes what it needs."""

    def __init__(self, per_second: float) -> None:
        self._rate, self._burst = per_second, max(1.0, per_second)
        self._level, self._at = self._burst, -math.inf

    def take(self, amount: float, now: float) -> None:
        self._refill(now)
        self._level = min(self._burst, self._level - amount)

    def delay(self, now: float) -> float:
        self._refill(now)
        # A full bucket admits even what is larger than it.
        needed = min(1.0, self._burst)
        return 0.0 if self._level >= needed - 1e-9 else (needed - self._level) / self._rate

    def _refill(self, now: float) -> None:
        if self._at > -math.inf:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now


class Breaker:
    """Refuses calls to a model that fails in a row.

    Parameters
    ----------
    failures : int, >= 1
        Failed calls in a row that open the circuit.
    reset_s : float, > 0
        Then one probe is let through; its success closes the circuit.
    """

    def __init__(self, failures: int = 5, *, reset_s: float = 30.0) -> None:
        if failures < 1:
            raise ValueError(f"`failures` must be >= 1, got {failures}")
        if not reset_s > 0:
            raise ValueError(f"`reset_s` must be > 0, got {reset_s}")
        self._most, self._reset_s = failures, reset_s
        self._failed, self._open_until, self._probing = 0, -math.inf, False

    def check(self, model: str) -> None:
        """Raise `CircuitOpenError` while the circuit is open."""
        import anyio

        if self._failed < self._most:
            return
        left = self._open_until - anyio.current_time()
        if left > 0 or self._probing:
            wait = max(0.0, left)
            raise CircuitOpenError(
                f"{model} failed {self._failed} times in a row; next probe in {wait:.0f} s",
                model=model,
                retry_in_s=wait,
            )
        self._probing = True

    def succeeded(self) -> None:
        """Close the circuit."""
        self._failed, self._probing = 0, False

    def failed(self) -> None:
        """Count a failure of the model's server."""
        import anyio

        self._failed += 1
        self._probing = False
        if self._failed >= self._most:
            self._open_until = anyio.current_time() + self._reset_s

    def undecided(self) -> None:
        """Note that a call ended without saying anything about the server (it was cancelled)."""
        self._probing = False
