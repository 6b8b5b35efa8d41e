"""One cell: the prompt is sent through the journal, the answer read and scored."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from crucible_datasets import Item
from crucible_ensemble import Completion, Model
from crucible_ensemble.errors import AllModelsFailedError
from crucible_ensemble.seeds import derive
from crucible_harness.cell_spans import cell_span
from crucible_harness.conditions import Condition
from crucible_harness.desk import Desk
from crucible_harness.errors import ProviderRefusedError, UnreachableModelError
from crucible_harness.experiment import Experiment
from crucible_harness.judging import Answered
from crucible_harness.leaves import Used, through_journal
from crucible_harness.schedule import Cell
from crucible_harness.scoring import judges, read_answer
from crucible_harness.tables import Outcome


async def answer_cell(
    cell: Cell, condition: Condition, item: Item, experiment: Experiment, desk: Desk
) -> Outcome:
    """Answer, read and score one cell.

    Returns
    -------
    Outcome
        With status "ok", "error", "timeout" or "filtered"; it is not written down yet.

    Raises
    ------
    Halted
        If the run is ending and a call of the cell was not sent.
    Refused
        If a call of the cell does not fit the budget.
    ProviderRefusedError, UnreachableModelError
        If no further call to the model could succeed.
    JournalWriteError
        If nothing more can be written down.
    """
    seed = derive(experiment.seed, item.id, cell.repeat)
    used = Used(cell, seed)
    model = through_journal(condition.answering(item), desk, used)
    messages = experiment.prompt_of(condition).messages(item, task=experiment.dataset.task)
    record: dict[str, Any] = {"position": cell.position, "messages": messages}
    status, answer = "ok", None
    began = desk.now()
    with cell_span(cell) as span:
        try:
            answer = await _ask(model, messages, condition, seed, used, desk)
        except Exception as error:
            if used.halted is not None:
                raise used.halted from error
            _stop_if_refused(error, desk)
            _stop_if_unreachable(error, desk)
            status = "timeout" if isinstance(error, TimeoutError) else "error"
            record |= {
                "error_class": type(error).__name__,
                "error_message": str(error),
                "elapsed_s": desk.now() - began,
            }
        if used.halted is not None:  # the ensemble took it for a failure of its member
            raise used.halted
        if answer is not None:
            if answer.finish == "filtered":
                status = "filtered"
            record |= read_answer(
                answer, item, task=experiment.dataset.task, metrics=experiment.metrics
            )
            await _ask_judges(answer.text, record, item, experiment, desk, used)
        record |= {
            "calls": used.calls,
            "hedged": used.backups,
            "simulated": used.simulated,
            "served_by": sorted(used.served_by),
            "call_keys": sorted(used.keys),
        }
        span.set_attribute("crucible.harness.status", status)
        span.set_attribute("crucible.outcome", status)
        span.set_attribute("crucible.harness.from_journal", used.calls == used.from_journal)
    return Outcome.of(
        record, condition=cell.condition, item=cell.item, repeat=cell.repeat, status=status
    )


async def _ask(
    model: Model,
    messages: Sequence[dict[str, str]],
    condition: Condition,
    seed: int,
    used: Used,
    desk: Desk,
) -> Completion:
    """Ask a model once, since it retries itself; a function as often as `retries` says."""

    async def once() -> Completion:
        said = await model.generate(
            messages,
            temperature=condition.temperature,
            max_tokens=condition.max_tokens,
            seed=seed,
            stop=condition.stop,
        )
        return Completion.of(said, model=condition.name)

    retries = desk.retries
    if condition.call is None or retries.attempts == 1:
        return await once()
    import stamina

    async for attempt in stamina.retry_context(
        on=lambda error: used.halted is None,
        attempts=retries.attempts,
        timeout=None,
        wait_initial=retries.initial_s,
        wait_max=retries.max_s,
        wait_jitter=retries.initial_s,
    ):
        with attempt:
            return await once()
    raise AssertionError("unreachable: the retry context returns or raises")


async def _ask_judges(
    text: str, record: dict[str, Any], item: Item, experiment: Experiment, desk: Desk, used: Used
) -> None:
    """Add the scores of judges; one that fails leaves its score None and its error."""
    for name, judge in judges(experiment.metrics):
        asked = Used(replace(used.cell, condition=f"scorer:{name}"), used.seed)
        model = through_journal(judge.model, desk, asked)
        try:
            score = await judge.ask(Answered(text=text, value=record["answer"]), item, model=model)
        except Exception as error:
            if asked.halted is not None:
                raise asked.halted from error
            _stop_if_unreachable(error, desk)
            score = None
            record["scorer_errors"][name] = f"{type(error).__name__}: {error}"
        record["scores"][name] = score


def _stop_if_refused(error: Exception, desk: Desk) -> None:
    """Raise if an ensemble refused before any call what no further cell could be spared."""
    if type(error).__name__ in desk.fatal:
        refused = ProviderRefusedError(str(error))
        desk.fail(refused)
        raise refused from error


def _stop_if_unreachable(error: Exception, desk: Desk) -> None:
    """Raise if nothing is there: no server has answered one call yet."""
    causes = [f"{type(error).__name__}: {error}"]
    if isinstance(error, AllModelsFailedError):
        causes = list(error.failures.values())
    names = {cause.partition(":")[0] for cause in causes}
    if names == {"ConnectionFailedError"} and not desk.journal.answered():
        raise UnreachableModelError(causes[0].partition(": ")[2]) from error
