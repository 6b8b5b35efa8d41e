"""Train an adapter."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import anyio

from crucible_lora.capabilities import require_loss, require_packing, require_watching
from crucible_lora.experiment import LoraExperiment
from crucible_lora.formats import ChatFormat, Formatter, format_to_dict
from crucible_lora.gates import Gate
from crucible_lora.gradients import GradientHook, fresh_hook, hook_to_dict
from crucible_lora.loop import LoopState
from crucible_lora.loss_registry import LossRegistry, loss_to_dict
from crucible_lora.masking import Truncation
from crucible_lora.options import EarlyStopping, TrainOptions, read_gates
from crucible_lora.ports import LossFunction
from crucible_lora.results import StepRow, TrainingReport
from crucible_lora.runs import Run
from crucible_lora.schemas import OutputSchema, schema_to_dict
from crucible_lora.sync import run_sync
from crucible_lora.training import Job, Operation, lay_out_corpus, make_plan, read_corpus
from crucible_lora.watching import Watch


async def train(
    experiment: LoraExperiment,
    dataset: Iterable[Any],
    *,
    epochs: int = 3,
    batch_size: int = 8,
    checkpoint_every: int = 100,
    quality_targets: Mapping[str, float] | Sequence[Gate] | None = None,
    validation: Iterable[Any] | None = None,
    holdout: float = 0.1,
    evaluate_every: int | None = None,
    max_steps: int | None = None,
    accumulate: int = 1,
    format: Formatter | None = None,
    schema: OutputSchema | None = None,
    max_length: int = 1024,
    truncation: Truncation = "error",
    packing: bool = False,
    loss: str | LossFunction = "cross_entropy",
    losses: LossRegistry | None = None,
    gradient_hooks: Sequence[GradientHook] = (),
    hook_every: int = 10,
    early_stopping: EarlyStopping | None = None,
    keep: int = 5,
    on_step: Callable[[StepRow], None] | None = None,
    progress: bool | None = None,
    deadline_s: float | None = None,
) -> TrainingReport:
    """Train a fresh adapter, and judge it on items that it never saw.

    Parameters
    ----------
    experiment : LoraExperiment
    dataset : iterable of items
        Records or mappings with `id, input, expected` (perhaps `context, metadata`), or `prompt,
        completion`, or `messages` that end with the assistant's.
    epochs, batch_size, accumulate : int, >= 1
        An update sees batch_size * accumulate items, and its loss is the weighted mean over the
        target tokens of all of them.
    checkpoint_every : int, >= 1
        Updates. The last update always gets a checkpoint.
    quality_targets : mapping of metric to target, or sequence of Gate, optional
        Judged after training, on held-out items, with the last checkpoint: no held-out item had
        a part in choosing that one.
    validation : iterable of items, optional
        Items to hold out. Without, where something needs them, `holdout` of the data set, chosen
        by the hash of their ids, is held out and not learned.
    holdout : float, in (0, 1)
    evaluate_every : int, >= 1, optional
        Updates between looks at the held-out items' nll, beside those at checkpoints.
    max_steps : int, >= 1, optional
        The schedule ends here too.
    format : Formatter, optional
        `ChatFormat()` by default.
    schema : OutputSchema, optional
        For the target "schema_compliance".
    max_length : int, >= 1
        Tokens. What `truncation` does to longer items: "error" raises before training, "drop"
        leaves them out and counts them, "left" cuts their prompts. Targets are never cut.
    packing : bool
        Put several items of a batch into one row of at most `max_length` tokens, none of which sees
        another: the same updates with less padding.
    loss : str or LossFunction
        A name is looked up in `losses`: "cross_entropy", "citation_weighted", "kl", "mse", or one
        that was registered. `loss_registry.composite` adds some up.
    losses : LossRegistry, optional
    gradient_hooks : sequence of GradientHook
        Called in order with the gradients of the first update and of each `hook_every`-th; what
        they return is in the history. One that raises is disabled with a warning. Those of
        `crucible_lora.gradients` start afresh with each run.
    hook_every : int, >= 1
    early_stopping : EarlyStopping, optional
    keep : int, >= 1
        Checkpoints to keep, beside the best.
    on_step : callable, optional
        Called with each update.
    progress : bool, optional
        A bar on the terminal; by default where there is one.
    deadline_s : float, > 0, optional
        Training ends at the first update beyond.

    Raises
    ------
    ValueError
        If an argument is out of range, items are malformed, a held-out prompt is learned too, or
        too few items are held out for the quality targets: all before training.
    UnsupportedOptionError
        If the backend cannot do what is asked: before training.
    MaskError, NoTargetTokensError, TruncationError
        For items that cannot be learned: before training.
    DivergedError
        After three updates in a row without a finite loss and gradient.
    CheckpointWriteError
        If the disk refuses.
    """
    gates = read_gates(quality_targets, schema=schema)
    options = TrainOptions(
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        checkpoint_every=checkpoint_every,
        evaluate_every=evaluate_every,
        max_steps=max_steps,
        max_length=max_length,
        truncation=truncation,
        packing=packing,
        holdout=holdout,
        gates=gates,
        hook_every=hook_every,
        early_stopping=early_stopping,
    )
    watch = Watch([fresh_hook(hook) for hook in gradient_hooks], every=hook_every)
    operation = Operation(keep=keep, on_step=on_step, progress=progress, deadline_s=deadline_s)
    function = (losses or LossRegistry()).get(loss) if isinstance(loss, str) else loss
    backend = experiment.backend
    require_loss(function, backend=backend.name, capabilities=backend.capabilities)
    require_watching(watch.hooks, early_stopping, backend=backend)
    require_packing(packing, backend=backend.name, capabilities=backend.capabilities)
    format = ChatFormat() if format is None else format
    corpus = read_corpus(dataset, validation, options=options, format=format)
    ids = [e.item.id for e in corpus.train]
    make_plan(ids, options, config=experiment.config, seed=experiment.seed)
    session = await backend.create(experiment.config, seed=experiment.seed)
    try:
        work = lay_out_corpus(experiment, corpus, options, session, loss=function)
        run = Run.start(
            experiment.directory,
            arguments={
                "schema": "crucible-lora/run/1",
                "config_digest": experiment.config.digest(),
                "backend": backend.name,
                "seed": experiment.seed,
                "options": options.to_dict(),
                "format": format_to_dict(format),
                "loss": loss_to_dict(function),
                "gradient_hooks": [hook_to_dict(hook) for hook in watch.hooks],
                "output_schema": schema_to_dict(schema),
                "validation": validation is not None,
                "dataset_fingerprint": corpus.fingerprint(),
            },
            corpus=corpus,
        )
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
        return await job.finish(LoopState(), parent=None)
    finally:
        with anyio.CancelScope(shield=True):
            await session.close()


def train_sync(
    experiment: LoraExperiment,
    dataset: Iterable[Any],
    *,
    epochs: int = 3,
    batch_size: int = 8,
    checkpoint_every: int = 100,
    quality_targets: Mapping[str, float] | Sequence[Gate] | None = None,
    validation: Iterable[Any] | None = None,
    holdout: float = 0.1,
    evaluate_every: int | None = None,
    max_steps: int | None = None,
    accumulate: int = 1,
    format: Formatter | None = None,
    schema: OutputSchema | None = None,
    max_length: int = 1024,
    truncation: Truncation = "error",
    packing: bool = False,
    loss: str | LossFunction = "cross_entropy",
    losses: LossRegistry | None = None,
    gradient_hooks: Sequence[GradientHook] = (),
    hook_every: int = 10,
    early_stopping: EarlyStopping | None = None,
    keep: int = 5,
    on_step: Callable[[StepRow], None] | None = None,
    progress: bool | None = None,
    deadline_s: float | None = None,
) -> TrainingReport:
    """Do what `train` does, for scripts and notebooks, also where an event loop runs already.

    An interrupt finishes the update, writes a checkpoint and is raised.
    """
    return run_sync(
        partial(
            train,
            experiment,
            dataset,
            epochs=epochs,
            batch_size=batch_size,
            checkpoint_every=checkpoint_every,
            quality_targets=quality_targets,
            validation=validation,
            holdout=holdout,
            evaluate_every=evaluate_every,
            max_steps=max_steps,
            accumulate=accumulate,
            format=format,
            schema=schema,
            max_length=max_length,
            truncation=truncation,
            packing=packing,
            loss=loss,
            losses=losses,
            gradient_hooks=gradient_hooks,
            hook_every=hook_every,
            early_stopping=early_stopping,
            keep=keep,
            on_step=on_step,
            progress=progress,
            deadline_s=deadline_s,
        )
    )
