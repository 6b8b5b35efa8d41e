"""What all cells of a run share: the journal, the ledger, the limits, and when to send no more."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
import anyio.lowlevel

from crucible_ensemble import Completion, Model
from crucible_harness.clock import Clock, SystemClock
from crucible_harness.errors import HarnessError
from crucible_harness.errors_policy import Retries
from crucible_harness.fingerprints import structure
from crucible_harness.hedgers import Hedgers
from crucible_harness.hooks import HookCaller
from crucible_harness.journal import Journal
from crucible_harness.ledger import Ledger, Prices
from crucible_harness.limits import Providers


class Executor(Protocol):
    """Where leaf calls are made; journal, ledger, limits and schedule stay with the run."""

    async def open(self, models: Sequence[Model], /) -> None:
        """Get ready for calls to these models.

        Raises
        ------
        NotPicklableError
            If a model cannot travel; nothing has been sent then.
        """
        ...

    async def generate(self, model: Model, messages: Any, /, **options: Any) -> Completion:
        """Make one call."""
        ...

    async def close(self) -> None:
        """Give back what `open` took."""
        ...


class Halted(Exception):
    """The run is ending and this call was not sent; its cell is left for the next process."""


class LostCall(Exception):
    """Nobody will ever know how a call ended: what made it is gone. It is sent again."""


@dataclass(slots=True)
class Desk:
    """What all cells of a run share.

    `halted` is True once no new call may be sent; calls in flight then end as usual. `failure` is
    the error that ends the run, if one does.
    """

    journal: Journal
    ledger: Ledger
    prices: Prices
    providers: Providers
    executor: Executor
    timeout_s: float | None
    retries: Retries
    hooks: HookCaller
    fatal: frozenset[str]
    clock: Clock = field(default_factory=SystemClock)
    share_responses: bool = True
    halted: bool = False
    waiting: set[anyio.CancelScope] = field(default_factory=set)
    failure: Exception | None = None
    in_flight: dict[str, anyio.Event] = field(default_factory=dict)
    sent: int = 0
    hedgers: Hedgers = field(default_factory=Hedgers)
    _now: Callable[[], float] | None = None
    _epoch_ns: int | None = None
    _identities: dict[int, tuple[Model, dict[str, Any]]] = field(default_factory=dict)

    def identity(self, model: Model) -> dict[str, Any]:
        """Return what the model is, computed once for each model of the run."""
        if id(model) not in self._identities:
            # The model is kept beside it: an id may be used again once its object is gone.
            self._identities[id(model)] = model, structure(model)
        return self._identities[id(model)][1]

    def now(self) -> float:
        """Return the time of the event loop's clock (seconds); only differences mean something."""
        if self._now is None:
            loop = anyio.lowlevel.current_token().native_token
            # asyncio's loop tells it itself, ten times quicker than by asking which loop this is.
            self._now = getattr(loop, "time", anyio.current_time)
        return self._now()

    def now_ns(self) -> int:
        """Return the time (ns since 1970): differences are those of the event loop's clock."""
        elapsed = round(self.now() * 1e9)
        if self._epoch_ns is None:
            self._epoch_ns = self.clock.time_ns() - elapsed
        return self._epoch_ns + elapsed

    async def notify(self, kind: str, **detail: Any) -> None:
        """Write an event down and tell the hook."""
        await self.journal.note(kind, **detail)
        try:
            await self.hooks("on_event", kind, detail)
        except HarnessError as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End the run with an error; the first one counts."""
        self.failure = self.failure or error
        self.halt()

    def halt(self) -> None:
        """Send no new call; those that wait for their turn give up, those in flight go on."""
        self.halted = True
        for scope in self.waiting:
            scope.cancel()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn inside.

        Raises
        ------
        Halted
            If the run ends meanwhile.
        """
        if self.halted:
            raise Halted
        with anyio.CancelScope() as scope:
            self.waiting.add(scope)
            try:
                yield
            finally:
                self.waiting.discard(scope)
        if self.halted:
            raise Halted
