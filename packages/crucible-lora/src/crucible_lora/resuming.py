"""Go on with a run where it was cut off."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import anyio

from crucible_lora.corpus import Corpus, read_entries
from crucible_lora.errors import ResumeMismatchError
from crucible_lora.experiment import LoraExperiment
from crucible_lora.formats import Formatter
from crucible_lora.gradients import GradientHook
from crucible_lora.loop import LoopState
from crucible_lora.ports import LossFunction
from crucible_lora.preparing import lay_out_corpus, read_corpus
from crucible_lora.results import StepRow, TrainingReport
from crucible_lora.schemas import OutputSchema
from crucible_lora.sync import synchronous
from crucible_lora.training import Job, Operation
from crucible_lora.watching import Watch


async def resume(
    experiment: LoraExperiment | Path | str,
    dataset: Iterable[Any] | None = None,
    *,
    checkpoint: str = "latest",
    validation: Iterable[Any] | None = None,
    format: Formatter | None = None,
    schema: OutputSchema | None = None,
    loss: LossFunction | None = None,
    gradient_hooks: Sequence[GradientHook] | None = None,
    keep: int = 5,
    on_step: Callable[[StepRow], None] | None = None,
    progress: bool | None = None,
    deadline_s: float | None = None,
) -> TrainingReport:
    """Go on with an experiment's last run, as if it had never stopped.

    The arguments and the items of the run are read from its folder. On the in-process backend, and
    with PEFT on a CPU with the same number of threads, adapter and history come out bit for bit as
    without the interruption.

    Parameters
    ----------
    experiment : LoraExperiment, or the path of its folder
    dataset, validation : iterable of items, optional
        Only to prove that they are still the same.
    checkpoint : str
        Later checkpoints are deleted.
    format, schema, loss, gradient_hooks : optional
        Needed only for those that are not this package's own, which are not stored; `format` only
        where a `dataset` is given.

    Raises
    ------
    ResumeMismatchError
        If configuration, seed, backend or items are not those of the run.
    CheckpointNotFoundError, CheckpointCorruptError
        If there is nothing to go on from.
    """
    return await go_on(
        experiment,
        dataset,
        checkpoint=checkpoint,
        validation=validation,
        format=format,
        schema=schema,
        loss=loss,
        gradient_hooks=gradient_hooks,
        operation=Operation(keep=keep, on_step=on_step, progress=progress, deadline_s=deadline_s),
    )


resume_sync = synchronous(resume)


async def go_on(
    experiment: LoraExperiment | Path | str,
    dataset: Iterable[Any] | None = None,
    *,
    checkpoint: str = "latest",
    validation: Iterable[Any] | None = None,
    format: Formatter | None = None,
    schema: OutputSchema | None = None,
    loss: LossFunction | None = None,
    gradient_hooks: Sequence[GradientHook] | None = None,
    operation: Operation,
) -> TrainingReport:
    """Do what `resume` does, under operational options already read."""
    if not isinstance(experiment, LoraExperiment):
        experiment = LoraExperiment.open(experiment)
    run = experiment.last_run(checkpoint)
    options, corpus = run.options, run.corpus()
    stored = run.arguments
    now: dict[str, object] = {
        "config_digest": experiment.config.digest(),
        "backend": experiment.backend.name,
        "seed": experiment.seed,
        "dataset_fingerprint": corpus.fingerprint(),
    }
    if dataset is not None:
        reader = run.format or format
        if reader is None:
            raise ValueError("`format` must be given again: it is not stored with the run")
        if stored["validation"] and validation is None:
            entries = read_entries(dataset, format=reader)
            given = Corpus(train=entries, held_out=corpus.held_out)
        else:
            given = read_corpus(dataset, validation, options=options, format=reader)
        now["dataset_fingerprint"] = given.fingerprint()
    different = [name for name, value in now.items() if stored[name] != value]
    if different:
        raise ResumeMismatchError(different)
    function = run.loss(loss)
    schema = run.schema(schema)
    watch = Watch(run.hooks(gradient_hooks), every=options.hook_every)
    store = run.store(keep=operation.keep)
    start = store.get(checkpoint)
    session = await experiment.backend.resume(experiment.config, start.path)
    try:
        work = lay_out_corpus(experiment, corpus, options, session, loss=function)
        stored_state = store.state(start.name)
        state = LoopState.from_dict(stored_state)
        watch.load(stored_state["hooks"])
        for later in store.list():
            if later.step > start.step:
                store.delete(later.name)
        job = Job(
            experiment=experiment,
            run=run,
            corpus=corpus,
            session=session,
            loss=function,
            schema=schema,
            operation=operation,
            watch=watch,
            **work,
        )
        return await job.finish(state, parent=start.name)
    finally:
        with anyio.CancelScope(shield=True):
            await session.close()
