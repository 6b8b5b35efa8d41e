"""Leaf calls: sent once, reserved before, written down before anything else happens."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from crucible_ensemble import Completion, Model
from crucible_ensemble.errors import ModelTimeoutError, RateLimitError
from crucible_ensemble.model import Prompt
from crucible_ensemble.prompts import to_messages
from crucible_ensemble.seeds import sample_seed
from crucible_harness.desk import Desk, Halted, LostCall
from crucible_harness.errors import HarnessError, JournalWriteError, ProviderRefusedError
from crucible_harness.ledger import Hold, Refused, name_of
from crucible_harness.limits import Limiter
from crucible_harness.schedule import Cell
from crucible_harness.tables import Call, CallStatus, line

_LOST_AT_MOST = 3  # times; whatever it is that kills what makes the call, it will not stop
_SAMPLES_NAMED = 100  # seeds of a cell's samples are looked up that far


@dataclass(slots=True)
class Used:
    """What one cell used, whoever paid for it; `halted` if a call of it could not be sent."""

    cell: Cell
    seed: int | None
    keys: list[str] = field(default_factory=list)
    calls: int = 0
    backups: int = 0
    from_journal: int = 0
    simulated: bool = False
    served_by: set[str] = field(default_factory=set)
    halted: Halted | Refused | HarnessError | None = None
    bills: dict[str, float] = field(default_factory=dict)
    _arrivals: Counter[str] = field(default_factory=Counter)
    _samples: dict[int | None, int] = field(default_factory=dict)

    def arrival(self, request: str) -> int:
        """Return how many equal calls without a seed this cell has made before."""
        self._arrivals[request] += 1
        return self._arrivals[request] - 1

    def sample(self, seed: int | None) -> int | None:
        """Return which of the cell's samples has this seed; None for seeds of another making."""
        if seed == self.seed:
            return 0
        if not self._samples:
            self._samples = {sample_seed(self.seed, n): n for n in range(1, _SAMPLES_NAMED)}
        return self._samples.get(seed)


class JournaledModel:
    """A leaf model whose finished calls are never sent again.

    Equal requests are one call: it is paid once, whichever conditions need it. A request is the
    model's fingerprint, messages, options, seed and repeat. Above temperature 0 and without a seed,
    equal requests are different draws, told apart by their number inside the cell.
    """

    def __init__(self, model: Model, desk: Desk, used: Used, copy: int) -> None:
        self._model, self._desk, self._used, self._copy = model, desk, used, copy
        self.name = name_of(model)
        self.family = getattr(model, "family", None)
        supports = getattr(model, "supports", None)
        if supports is not None:
            # A seed is always taken: it tells draws apart in the journal. To a model that has
            # none it is not sent, and the answer says so.
            self.supports = frozenset({*supports, "seed"} - {"stream"})

    async def generate(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """Answer from the journal, or ask and write the answer down before anything else."""
        desk, used = self._desk, self._used
        request: dict[str, Any] = {
            "model": desk.identity(self._model),
            "messages": to_messages(prompt),
            "temperature": temperature,
            "max_tokens": max_tokens,
            "seed": seed,
            "stop": list(stop),
            "repeat": used.cell.repeat,
        }
        sample = used.sample(seed)
        if seed is None and temperature != 0:
            sample = used.arrival(line(request))
            request |= {"item": used.cell.item, "arrival": sample}
        if not desk.share_responses:
            request["condition"] = used.cell.condition
        same = line(request)
        text = same
        if self._copy:  # a hedge is a call of its own
            text = line({**request, "copy": self._copy})
        key = hashlib.sha256(text.encode()).hexdigest()
        used.calls += 1
        used.backups += self._copy > 0
        used.keys.append(key)
        while True:
            stored = await desk.journal.answer(key)
            if stored is not None:
                used.from_journal += 1
                return self._note(Completion.from_dict(stored), same)
            running = desk.in_flight.get(key)
            if running is None:
                break
            await running.wait()
        done = desk.in_flight[key] = anyio.Event()
        try:
            return self._note(await self._sent(key, text, same, sample, request), same)
        except (Halted, Refused, HarnessError) as error:
            # An ensemble takes this for a member's failure; the cell must not be counted then.
            used.halted = used.halted or error
            raise
        finally:
            del desk.in_flight[key]
            done.set()

    async def _sent(
        self, key: str, text: str, same: str, sample: int | None, request: Mapping[str, Any]
    ) -> Completion:
        """Send it, and again where it was lost: each time possibly billed."""
        for _ in range(_LOST_AT_MOST - 1):
            try:
                return await self._send(key, text, same, sample, request)
            except LostCall:
                continue
        return await self._send(key, text, same, sample, request)

    async def _send(
        self, key: str, text: str, same: str, sample: int | None, request: Mapping[str, Any]
    ) -> Completion:
        desk, used = self._desk, self._used
        arrived = desk.now()
        limiter = desk.providers.of(self.name)
        characters = sum(len(message["content"]) for message in request["messages"])
        tokens = -(-characters // 3) + request["max_tokens"]
        worst = desk.prices.worst_usd(self._model, characters, request["max_tokens"])
        async with limiter.slot():
            hold: Hold | None = None
            asked: dict[str, Any] = {
                "condition": used.cell.condition,
                "item": used.cell.item,
                "model": self.name,
                "worst_usd": worst,
            }
            try:
                if desk.halted:
                    raise Halted
                hold = desk.ledger.hold_at_once(**asked)
                if hold is None or not limiter.free:
                    with desk.turn():
                        hold = hold or await desk.ledger.hold(**asked)
                        await limiter.turn(tokens)
                assert hold is not None  # the turn came, or Halted was raised
                sent = _Sent(self, hold, key, text, same, sample, arrived)
                await sent.begin()
            except BaseException:
                if hold is not None:
                    desk.ledger.release(hold)
                raise
            answer = await sent.ask(request, limiter)
            used_tokens = (answer.input_tokens, answer.output_tokens)
            actual = None if None in used_tokens else sum(n for n in used_tokens if n is not None)
            limiter.used(estimated=tokens, actual=actual)
            return answer

    def _note(self, completion: Completion, same: str) -> Completion:
        used = self._used
        used.simulated |= completion.simulated
        if completion.served_by:
            used.served_by.add(completion.served_by)
        if completion.cost_usd is not None:
            used.bills[same] = completion.cost_usd
        return completion


class _Sent:
    """One call on its way: noted before it is sent, written down and settled when it ends."""

    def __init__(
        self,
        by: JournaledModel,
        hold: Hold,
        key: str,
        text: str,
        same: str,
        sample: int | None,
        arrived: float,
    ) -> None:
        self._model, self._desk, self._used = by._model, by._desk, by._used
        self._name, self._hold = by.name, hold
        self._key, self._text, self._same, self._sample = key, text, same, sample
        self._arrived, self._queued_s, self._attempt, self._started_ns = arrived, 0.0, 0, 0
        self._sent_at = arrived

    async def begin(self) -> None:
        """Note that it is about to be sent."""
        cell, desk = self._used.cell, self._desk
        self._queued_s = desk.now() - self._arrived
        try:
            self._attempt = await desk.journal.intend(
                self._key,
                condition=cell.condition,
                item=cell.item,
                repeat=cell.repeat,
                sample=self._sample,
                reserved_usd=self._hold.usd,
            )
        except JournalWriteError:
            desk.halt()
            raise
        desk.sent += 1
        self._started_ns, self._sent_at = desk.now_ns(), desk.now()

    async def ask(self, request: Mapping[str, Any], limiter: Limiter) -> Completion:
        """Send it, and write down how it ends."""
        desk = self._desk
        supports = getattr(self._model, "supports", None)
        seed = request["seed"] if supports is None or "seed" in supports else None
        try:
            with nullcontext() if desk.timeout_s is None else anyio.fail_after(desk.timeout_s):
                answer = await desk.executor.generate(
                    self._model,
                    request["messages"],
                    temperature=request["temperature"],
                    max_tokens=request["max_tokens"],
                    seed=seed,
                    stop=request["stop"],
                )
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                # Sent twice, it is billed like the copy that answered.
                await self._end("cancelled", bill_usd=self._used.bills.get(self._same))
            raise
        except LostCall:
            # Like a crash: no row, so that it stays possibly billed at its reservation.
            desk.ledger.settle(self._hold, status="lost", bill_usd=None)
            raise
        except ModelTimeoutError as error:
            await self._end("timeout", error=error, bill_usd=error.cost_usd)
            raise
        except TimeoutError as error:
            said = str(error) or f"no answer within {desk.timeout_s} s"
            late = ModelTimeoutError(said, model=self._name)
            await self._end("timeout", error=late)
            raise late from error
        except Exception as error:
            await self._end("error", error=error, bill_usd=getattr(error, "cost_usd", None))
            if isinstance(error, RateLimitError) and error.retry_after_s:
                limiter.pause(error.retry_after_s)
                await desk.notify("retry_after", model=self._name, seconds=error.retry_after_s)
            if type(error).__name__ in desk.fatal:
                refused = ProviderRefusedError(str(error))
                desk.fail(refused)
                raise refused from error
            raise
        if seed is None and request["seed"] is not None and "seed" not in answer.dropped:
            answer = replace(answer, dropped=(*answer.dropped, "seed"))
        # No await between the answer and its row: a crash cannot come between them.
        status: CallStatus = "filtered" if answer.finish == "filtered" else "ok"
        bill = answer.cost_usd if answer.billed_usd is None else answer.billed_usd
        await self._end(status, response=answer.to_dict(), bill_usd=bill)
        return answer

    async def _end(
        self,
        status: CallStatus,
        *,
        response: Mapping[str, Any] | None = None,
        error: Exception | None = None,
        bill_usd: float | None = None,
    ) -> None:
        cell, desk = self._used.cell, self._desk
        cost = desk.ledger.settle(self._hold, status=status, bill_usd=bill_usd)
        await desk.journal.finish_call(
            Call(
                leaf_key=self._key,
                attempt=self._attempt,
                condition="shared" if desk.share_responses else cell.condition,
                item=cell.item,
                repeat=cell.repeat,
                sample=self._sample,
                status=status,
                request=self._text,
                response=response,
                error_class=None if error is None else type(error).__name__,
                error_message=None if error is None else str(error),
                cost_usd=cost,
                reserved_usd=self._hold.usd,
                latency_s=desk.now() - self._sent_at,
                queued_s=self._queued_s,
                started_ns=self._started_ns,
            )
        )
        if desk.journal.failure is not None:
            desk.halt()


def through_journal(model: Model, desk: Desk, used: Used, copy: int = 0) -> Model:
    """Wrap every leaf of a model; what is made of models keeps its structure."""
    members = getattr(model, "members", None)
    if members is None:
        return JournaledModel(model, desk, used, copy)
    races = bool(getattr(model, "races", False))
    made: Model = model.with_members(  # type: ignore[attr-defined]
        [
            through_journal(member, desk, used, n if races else copy)
            for n, member in enumerate(members())
        ]
    )
    return desk.hedgers.given(made) if races else made
