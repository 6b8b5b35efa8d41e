"""One cell: the prompt is sent through the journal, the answer read and scored."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from opentelemetry import trace

from crucible_datasets import Item
from crucible_ensemble import Completion, Model
from crucible_ensemble.errors import AllMembersFailedError, TimedOutError
from crucible_ensemble.model import Prompt as ModelPrompt
from crucible_ensemble.prompts import to_messages
from crucible_ensemble.seeds import derive
from crucible_harness.conditions import Condition
from crucible_harness.errors import HarnessError, ProviderRefusedError, UnreachableModelError
from crucible_harness.experiment import Experiment, canonical
from crucible_harness.fingerprints import structure
from crucible_harness.journal import Call, Journal
from crucible_harness.judging import Answered
from crucible_harness.schedule import Cell
from crucible_harness.scoring import judges, read_answer

FATAL = ("AuthenticationError", "PermissionDeniedError", "ModelNotFoundError", "CassetteMissError")


@dataclass(slots=True)
class Desk:
    """What all cells of a run share: the journal, the calls in flight, the limits of calls."""

    journal: Journal
    limits: Callable[[str], anyio.CapacityLimiter]
    share_responses: bool = True
    in_flight: dict[str, anyio.Event] = field(default_factory=dict)
    sent: int = 0
    _identities: dict[int, tuple[Model, dict[str, Any]]] = field(default_factory=dict)

    def identity(self, model: Model) -> dict[str, Any]:
        """Return what the model is, computed once for each model of the run."""
        if id(model) not in self._identities:
            # The model is kept beside it: an id may be used again once its object is gone.
            self._identities[id(model)] = model, structure(model)
        return self._identities[id(model)][1]


@dataclass(slots=True)
class _Used:
    """Calls that one cell used, whoever paid for them."""

    cell: Cell
    calls: int = 0
    backups: int = 0
    from_journal: int = 0
    simulated: bool = False
    served_by: set[str] = field(default_factory=set)


class JournaledModel:
    """A leaf model whose finished calls are never sent again.

    Equal requests are one call: it is paid once, whichever conditions need it.
    """

    def __init__(self, model: Model, desk: Desk, used: _Used, copy: int) -> None:
        self._model, self._desk, self._used, self._copy = model, desk, used, copy
        self.name = str(getattr(model, "name", type(model).__name__))

    async def generate(
        self,
        prompt: ModelPrompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """Answer from the journal, or ask and write the answer down before anything else."""
        request: dict[str, Any] = {
            "model": self._desk.identity(self._model),
            "messages": to_messages(prompt),
            "temperature": temperature,
            "max_tokens": max_tokens,
            "seed": seed,
            "stop": list(stop),
            "repeat": self._used.cell.repeat,
            "copy": self._copy,  # a hedge is a call of its own
        }
        if not self._desk.share_responses:
            request["condition"] = self._used.cell.condition
        key = hashlib.sha256(canonical(request).encode()).hexdigest()
        self._used.calls += 1
        self._used.backups += self._copy > 0
        while True:
            stored = self._desk.journal.answer(key)
            if stored is not None:
                self._used.from_journal += 1
                return self._note(Completion.from_dict(stored))
            running = self._desk.in_flight.get(key)
            if running is None:
                break
            await running.wait()
        done = self._desk.in_flight[key] = anyio.Event()
        try:
            return self._note(await self._send(key, request, prompt))
        finally:
            del self._desk.in_flight[key]
            done.set()

    async def _send(self, key: str, request: dict[str, Any], prompt: ModelPrompt) -> Completion:
        journal = self._desk.journal
        async with self._desk.limits(self.name):
            attempt = journal.intend(key)
            self._desk.sent += 1
            cell, started_ns = self._used.cell, time.time_ns()

            def ended(status: str, **how: Any) -> None:
                journal.finish_call(
                    Call(leaf_key=key, attempt=attempt, item=cell.item, repeat=cell.repeat,
                         status=status, request=request, started_ns=started_ns, **how)
                )  # fmt: skip

            try:
                answer = await self._model.generate(
                    prompt,
                    temperature=request["temperature"],
                    max_tokens=request["max_tokens"],
                    seed=request["seed"],
                    stop=request["stop"],
                )
            except anyio.get_cancelled_exc_class():
                ended("cancelled")
                raise
            except Exception as error:
                status = "timeout" if isinstance(error, TimeoutError | TimedOutError) else "error"
                ended(status, error_class=type(error).__name__, error_message=str(error))
                raise
            # No await between the answer and its row: a crash cannot come between them.
            completion = Completion.of(answer, model=self.name)
            ended("ok", response=completion.to_dict())
            return completion

    def _note(self, completion: Completion) -> Completion:
        self._used.simulated |= completion.simulated
        if completion.served_by:
            self._used.served_by.add(completion.served_by)
        return completion


def through_journal(model: Model, desk: Desk, used: _Used, copy: int = 0) -> Model:
    """Wrap every leaf of a model; what is made of models keeps its structure."""
    members = getattr(model, "members", None)
    if members is None:
        return JournaledModel(model, desk, used, copy)
    races = bool(getattr(model, "races", False))
    return model.with_members(  # type: ignore[attr-defined, no-any-return]
        [
            through_journal(member, desk, used, n if races else copy)
            for n, member in enumerate(members())
        ]
    )


async def run_cell(
    cell: Cell, condition: Condition, item: Item, experiment: Experiment, desk: Desk
) -> str:
    """Answer, read, score and write down one cell; return its status.

    Returns
    -------
    "ok", "error" or "timeout"

    Raises
    ------
    ProviderRefusedError, UnreachableModelError
        If no further call to the model could succeed.
    JournalWriteError
        If nothing more can be written down.
    """
    used = _Used(cell)
    model = through_journal(condition.answering(item), desk, used)
    messages = experiment.prompt_of(condition).messages(item)
    record: dict[str, Any] = {"position": cell.position, "messages": messages}
    status, answer = "ok", None
    with _cell_span(cell) as span:
        try:
            said = await model.generate(
                messages,
                temperature=condition.temperature,
                max_tokens=condition.max_tokens,
                seed=derive(experiment.seed, item.id, cell.repeat),
                stop=condition.stop,
            )
            answer = Completion.of(said, model=condition.name)
        except HarnessError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model raises is a failed cell
            _stop_if_hopeless(error, desk)
            status = "timeout" if isinstance(error, TimeoutError | TimedOutError) else "error"
            record |= {"error_class": type(error).__name__, "error_message": str(error)}
        if answer is not None:
            record |= read_answer(
                answer, item, task=experiment.dataset.task, metrics=experiment.metrics
            )
            await _ask_judges(answer.text, record, item, experiment, desk, used)
        record |= {
            "calls": used.calls,
            "hedged": used.backups,
            "simulated": used.simulated,
            "served_by": sorted(used.served_by),
        }
        desk.journal.finish_cell(cell.condition, cell.item, cell.repeat, status, record)
        span.set_attribute("crucible.harness.status", status)
        span.set_attribute("crucible.outcome", status)
        span.set_attribute("crucible.harness.from_journal", used.calls == used.from_journal)
    return status


@contextmanager
def _cell_span(cell: Cell) -> Iterator[trace.Span]:
    with trace.get_tracer("crucible_harness").start_as_current_span(
        "crucible.harness.cell",
        attributes={
            "crucible.condition": cell.condition,
            "crucible.item.id": cell.item,
            "crucible.repeat": cell.repeat,
            "crucible.harness.schedule_position": cell.position,
        },
    ) as span:
        yield span


async def _ask_judges(
    text: str,
    record: dict[str, Any],
    item: Item,
    experiment: Experiment,
    desk: Desk,
    used: _Used,
) -> None:
    """Add the scores of judges; one that fails leaves its score None and its error."""
    for name, judge in judges(experiment.metrics):
        model = through_journal(judge.model, desk, _Used(used.cell))
        try:
            score = await judge.ask(Answered(text=text, value=record["answer"]), item, model=model)
        except HarnessError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a judge raises is a missing score
            _stop_if_hopeless(error, desk)
            score = None
            record["scorer_errors"][name] = f"{type(error).__name__}: {error}"
        record["scores"][name] = score


def _stop_if_hopeless(error: Exception, desk: Desk) -> None:
    """Raise if no further call could succeed: the provider refused, or nothing is there."""
    causes = [f"{type(error).__name__}: {error}"]
    if isinstance(error, AllMembersFailedError):
        causes = list(error.failures.values())
    names = {cause.partition(":")[0] for cause in causes}
    said = causes[0].partition(": ")[2]
    if names <= set(FATAL):
        raise ProviderRefusedError(said) from error
    if names == {"ConnectionFailedError"} and not desk.journal.answered():
        raise UnreachableModelError(said) from error
