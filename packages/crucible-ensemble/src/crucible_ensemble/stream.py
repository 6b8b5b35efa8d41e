"""A vote as it happens: who has answered, how it stands, what was decided."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from crucible_ensemble.prediction import Prediction, Response

if TYPE_CHECKING:
    from crucible_ensemble.asking import Asker
    from crucible_ensemble.model import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberArrived:
    """A member has answered, or failed."""

    response: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """How the vote stands.

    `answer` leads, alone, or is None; `consensus` and `support` are its shares of the valid answers
    and of all that were asked; `decided` says that what is open cannot change it any more.
    """

    answer: str | None
    consensus: float | None
    support: float | None
    decided: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """The vote is over."""

    prediction: Prediction


Event = MemberArrived | Consensus | Complete


@asynccontextmanager
async def open_stream(
    asker: "Asker", prompt: "Prompt", *, early_stop_threshold: float, **options: Any
) -> AsyncIterator[AsyncIterator[Event]]:
    """Ask an ensemble and yield what happens; see `Ensemble.stream`.

    Raises
    ------
    ValueError
        If `early_stop_threshold` is out of range.
    """
    if not 0 < early_stop_threshold <= 1:
        raise ValueError(f"`early_stop_threshold` must be in (0, 1], got {early_stop_threshold}")
    send, receive = anyio.create_memory_object_stream[Event](math.inf)
    watcher = _Watcher(asker, early_stop_threshold, send)
    failed: list[Exception] = []
    fault: Exception | None = None

    async def ask() -> None:
        async with send:
            try:
                prediction = await watcher.predict(prompt, options)
                await send.send(Complete(prediction=prediction))
            except Exception as error:  # noqa: BLE001 - raised below, where the user reads
                failed.append(error)

    async def events() -> AsyncIterator[Event]:
        async for event in receive:
            yield event
        if failed:
            raise failed[0]

    async with receive, anyio.create_task_group() as group:
        group.start_soon(ask)
        try:
            yield events()
        except Exception as error:  # noqa: BLE001 - raised below, without a group around it
            fault = error
        finally:
            group.cancel_scope.cancel()
    if fault is not None:
        raise fault


class _Watcher:
    """Tells of every response, and finishes the vote when enough members agree."""

    def __init__(self, asker: "Asker", threshold: float, send: Any) -> None:
        self._asker, self._threshold, self._send = asker, threshold, send

    async def predict(self, prompt: "Prompt", options: dict[str, Any]) -> Prediction:
        from crucible_ensemble.quorum import checked

        prediction = await self._asker.predict(
            prompt, on_response=self._tell, enough=self._enough, **options
        )
        return checked(prediction, self._asker.panel.quorum)

    async def _tell(self, response: Response, run: Any) -> None:
        await self._send.send(MemberArrived(response=response))
        await self._send.send(self._standing(run.table))

    def _enough(self, run: Any) -> bool:
        if self._threshold == 1.0:
            return False
        support = self._standing(run.table).support
        return support is not None and support >= self._threshold

    def _standing(self, table: Any) -> Consensus:
        panel = self._asker.panel
        ballots, still_open = table.arrived(), table.still_open()
        keys = [b.key for b in ballots if b.key is not None]
        ranked = sorted({k: keys.count(k) for k in keys}.items(), key=lambda kv: -kv[1])
        alone = len(ranked) == 1 or (len(ranked) > 1 and ranked[0][1] > ranked[1][1])
        decided = not still_open
        if not decided and panel.equivalence is None and hasattr(panel.vote, "decided"):
            decided = bool(panel.vote.decided(ballots, still_open))
        if not alone:
            return Consensus(answer=None, consensus=None, support=None, decided=decided)
        key, n = ranked[0]
        return Consensus(
            answer=key, consensus=n / len(keys), support=n / len(panel.seats), decided=decided
        )
