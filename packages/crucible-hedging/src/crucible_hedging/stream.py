"""Race streams for their first item, then pass the winner's items through."""

import contextvars
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

import anyio

from crucible_hedging.outcome import HedgeOutcome
from crucible_hedging.track import Track

T = TypeVar("T")


class Asks(Protocol):
    """Sends one request on a track: what a hedger does for a stream."""

    async def __call__(
        self,
        call: Callable[[], Any],
        /,
        *,
        backups: Sequence[Callable[[], Any]],
        track: Track,
    ) -> HedgeOutcome[Any]:
        """Return the outcome of racing the calls."""
        ...


class HedgedStream(Generic[T]):
    """The items of the copy that was first to yield one.

    Attributes
    ----------
    outcome : HedgeOutcome
        Of the race for the first item, which is its value (None if the stream was empty);
        `latency_s` is the time to it.
    """

    def __init__(self, pump: "Pump[T]", outcome: HedgeOutcome[T | None]) -> None:
        self._pump, self.outcome = pump, outcome

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        return await self._pump.next()


class Pump(Generic[T]):
    """One copy of the stream, iterated from its start to its end in one task of its own.

    A generator may hold cancel scopes and task groups open across its items, which only the task
    that opened them may leave; so the items are handed over, one at a time.
    """

    def __init__(self, call: Callable[[], AsyncIterable[T]]) -> None:
        self._call = call
        self._send, self._receive = anyio.create_memory_object_stream[T](0)
        self._scope = anyio.CancelScope()
        self._closed = anyio.Event()
        self._ready = anyio.Event()
        self._error: Exception | None = None
        self._any = False
        self.first: T | None = None

    async def run(self) -> None:
        """Iterate; close the generator in any case."""
        try:
            with self._scope:
                await self._iterate()
        except Exception as error:  # noqa: BLE001  # raised where the items are asked for
            self._error = error
        finally:
            self._send.close()
            self._ready.set()
            self._closed.set()

    async def _iterate(self) -> None:
        source: Any = self._call()
        if not hasattr(source, "__aiter__"):
            kind = type(source).__name__
            close = getattr(source, "close", None)
            if close is not None:
                close()  # a coroutine, most likely: not to be warned of as well
            raise TypeError(f"`call` must return an async iterable, got {kind}")
        iterator = aiter(source)
        try:
            async for item in iterator:
                if not self._any:
                    self.first, self._any = item, True
                    self._ready.set()
                await self._send.send(item)
        finally:
            aclose = getattr(iterator, "aclose", None)
            if aclose is not None:
                with anyio.CancelScope(shield=True):
                    await aclose()

    async def started(self) -> None:
        """Wait for the first item or the end; closes the copy if this is cancelled."""
        try:
            await self._ready.wait()
        except BaseException:
            await self.close()
            raise
        if self._error is not None and not self._any:
            raise self._error

    async def close(self) -> None:
        """Stop, and wait until the generator is closed."""
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._closed.wait()
        self._receive.close()

    async def next(self) -> T:
        """Return the next item; raise what the generator raised, or StopAsyncIteration."""
        try:
            return await self._receive.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None


class Opening(Generic[T]):
    """The context manager that `Hedger.stream` returns."""

    def __init__(
        self,
        ask: Asks,
        call: Callable[[], AsyncIterable[T]],
        backups: Sequence[Callable[[], AsyncIterable[T]]],
    ) -> None:
        self._ask, self._call, self._backups = ask, call, backups
        self._track = Track()
        self._pumps: list[Pump[T]] = []

    async def __aenter__(self) -> HedgedStream[T]:
        await self._track.__aenter__()
        try:
            first = partial(self._open, self._call)
            openers = [
                first if backup is self._call or backup == self._call else
                partial(self._open, backup)
                for backup in self._backups
            ]  # fmt: skip
            outcome = await self._ask(first, backups=openers, track=self._track)
            winner: Pump[T] = outcome.value
            for pump in self._pumps:
                if pump is not winner:
                    await pump.close()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return HedgedStream(winner, replace(outcome, value=winner.first))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._track.__aexit__(kind, error, trace)
        finally:
            for pump in self._pumps:
                pump._receive.close()

    async def _open(self, call: Callable[[], AsyncIterable[T]]) -> Pump[T]:
        pump = Pump(call)
        self._pumps.append(pump)
        self._track.spawn(contextvars.copy_context(), pump.run)
        await pump.started()
        return pump
