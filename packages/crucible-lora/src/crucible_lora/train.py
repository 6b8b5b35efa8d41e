"""Train an adapter, and go on where a run was cut off."""

import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import anyio

from crucible_lora import tracing
from crucible_lora.batching import BatchPlan
from crucible_lora.capabilities import require_loss
from crucible_lora.checkpoints import CheckpointStore
from crucible_lora.config import LoraConfig
from crucible_lora.corpus import Corpus, read_entries
from crucible_lora.errors import CheckpointNotFoundError, ResumeMismatchError
from crucible_lora.experiment import LoraExperiment
from crucible_lora.formats import ChatFormat, Formatter, format_to_dict
from crucible_lora.gates import Gate, QualityReport, judge_all
from crucible_lora.loop import Loop, LoopState
from crucible_lora.losses import LossRegistry
from crucible_lora.masking import MaskReport, Truncation, lay_out_all
from crucible_lora.measure import measure
from crucible_lora.options import (
    EarlyStopping,
    TrainOptions,
    loss_to_dict,
    read_gates,
    schema_to_dict,
)
from crucible_lora.ports import Example, LossFunction, Session
from crucible_lora.progress import Meter
from crucible_lora.results import StepRow, Stopped, TrainingReport
from crucible_lora.runs import Run
from crucible_lora.schedule import warmup_updates
from crucible_lora.schemas import OutputSchema
from crucible_lora.sync import run_sync

_FEWEST = 30  # held-out items for a gate


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
    loss: str | LossFunction = "cross_entropy",
    losses: LossRegistry | None = None,
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
    loss : str or LossFunction
        A name is looked up in `losses`.
    losses : LossRegistry, optional
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
        holdout=holdout,
        gates=gates,
        early_stopping=early_stopping,
    )
    operation = _Operation(keep=keep, on_step=on_step, progress=progress, deadline_s=deadline_s)
    function = (losses or LossRegistry()).get(loss) if isinstance(loss, str) else loss
    backend = experiment.backend
    require_loss(function, backend=backend.name, capabilities=backend.capabilities)
    format = ChatFormat() if format is None else format
    corpus = _read_corpus(dataset, validation, options=options, format=format)
    ids = [e.item.id for e in corpus.train]
    _plan(ids, options, config=experiment.config, seed=experiment.seed)
    session = await backend.create(experiment.config, seed=experiment.seed)
    try:
        work = _lay_out(experiment, corpus, options, session)
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
                "output_schema": schema_to_dict(schema),
                "validation": validation is not None,
                "dataset_fingerprint": corpus.fingerprint(),
            },
            corpus=corpus,
        )
        job = _Job(
            experiment=experiment,
            run=run,
            corpus=corpus,
            session=session,
            loss=function,
            schema=schema,
            operation=operation,
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
    loss: str | LossFunction = "cross_entropy",
    losses: LossRegistry | None = None,
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
            loss=loss,
            losses=losses,
            early_stopping=early_stopping,
            keep=keep,
            on_step=on_step,
            progress=progress,
            deadline_s=deadline_s,
        )
    )


async def resume(
    experiment: LoraExperiment | Path | str,
    dataset: Iterable[Any] | None = None,
    *,
    checkpoint: str = "latest",
    validation: Iterable[Any] | None = None,
    format: Formatter | None = None,
    schema: OutputSchema | None = None,
    loss: LossFunction | None = None,
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
    format, schema, loss : optional
        Needed only for those that are not this package's own, which are not stored; `format` only
        where a `dataset` is given.

    Raises
    ------
    ResumeMismatchError
        If configuration, seed, backend or items are not those of the run.
    CheckpointNotFoundError, CheckpointCorruptError
        If there is nothing to go on from.
    """
    operation = _Operation(keep=keep, on_step=on_step, progress=progress, deadline_s=deadline_s)
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
            given = _read_corpus(dataset, validation, options=options, format=reader)
        now["dataset_fingerprint"] = given.fingerprint()
    different = [name for name, value in now.items() if stored[name] != value]
    if different:
        raise ResumeMismatchError(different)
    function = run.loss(loss)
    schema = run.schema(schema)
    store = run.store(keep=keep)
    start = store.get(checkpoint)
    session = await experiment.backend.resume(experiment.config, start.path)
    try:
        work = _lay_out(experiment, corpus, options, session)
        state = LoopState.from_dict(store.state(start.name))
        for later in store.list():
            if later.step > start.step:
                store.delete(later.name)
        job = _Job(
            experiment=experiment,
            run=run,
            corpus=corpus,
            session=session,
            loss=function,
            schema=schema,
            operation=operation,
            **work,
        )
        return await job.finish(state, parent=start.name)
    finally:
        with anyio.CancelScope(shield=True):
            await session.close()


def resume_sync(
    experiment: LoraExperiment | Path | str,
    dataset: Iterable[Any] | None = None,
    *,
    checkpoint: str = "latest",
    validation: Iterable[Any] | None = None,
    format: Formatter | None = None,
    schema: OutputSchema | None = None,
    loss: LossFunction | None = None,
    keep: int = 5,
    on_step: Callable[[StepRow], None] | None = None,
    progress: bool | None = None,
    deadline_s: float | None = None,
) -> TrainingReport:
    """Do what `resume` does, for scripts and notebooks, also where an event loop runs already."""
    return run_sync(
        partial(
            resume,
            experiment,
            dataset,
            checkpoint=checkpoint,
            validation=validation,
            format=format,
            schema=schema,
            loss=loss,
            keep=keep,
            on_step=on_step,
            progress=progress,
            deadline_s=deadline_s,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operation:
    """What may differ between the process that began a run and the one that ends it."""

    keep: int
    on_step: Callable[[StepRow], None] | None
    progress: bool | None
    deadline_s: float | None

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError(f"`keep` must be >= 1, got {self.keep}")
        if self.deadline_s is not None and not self.deadline_s > 0:
            raise ValueError(f"`deadline_s` must be > 0, got {self.deadline_s}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A run with its model loaded."""

    experiment: LoraExperiment
    run: Run
    corpus: Corpus
    session: Session
    loss: LossFunction
    schema: OutputSchema | None
    operation: _Operation
    plan: BatchPlan
    examples: Mapping[str, Example]
    held_out: Sequence[Example]
    mask: MaskReport

    async def finish(self, state: LoopState, *, parent: str | None) -> TrainingReport:
        """Train to the end, judge and report."""
        options, store = self.run.options, self.run.store(keep=self.operation.keep)
        config = self.experiment.config
        with tracing.span(
            "train",
            experiment=self.experiment.id,
            run_id=self.run.id,
            backend=self.experiment.backend.name,
            base_model=config.base_model,
            target_fraction=self.mask.target_fraction,
        ) as span:
            with Meter("train", self.plan.total, wanted=self.operation.progress) as meter:
                meter.advance(state.step)

                def on_step(row: StepRow) -> None:
                    meter.advance(1)
                    if self.operation.on_step is not None:
                        self.operation.on_step(row)

                loop = Loop(
                    config=config,
                    options=options,
                    plan=self.plan,
                    session=self.session,
                    examples=self.examples,
                    held_out=self.held_out,
                    loss=self.loss,
                    store=store,
                    state=state,
                    facts={
                        "config_digest": config.digest(),
                        "dataset_fingerprint": self.run.arguments["dataset_fingerprint"],
                        "versions": _versions(self.session),
                    },
                    parent=parent,
                    on_step=on_step,
                    deadline_s=self.operation.deadline_s,
                )
                stopped = await loop.run()
            quality = await self._judge(store) if options.gates else None
            report = self._report(state, store, stopped, quality)
            tracing.note(
                span,
                steps=report.steps,
                tokens=report.tokens,
                loss_first=report.loss_first,
                loss_final=report.loss_final,
                stopped=stopped,
            )
        self.run.write_report(report)
        return report

    async def _judge(self, store: CheckpointStore) -> QualityReport:
        last = store.get("latest")
        longest = max(len(e.targets()) for e in self.examples.values())
        found = await measure(
            self.session,
            last.path,
            self.corpus.held_out,
            schema=self.schema,
            max_tokens=max(256, 2 * longest),
            batch_size=self.run.options.batch_size,
        )
        return judge_all(
            self.run.options.gates,
            found.scores,
            reasons={},
            n_expected=found.n_expected,
            n_produced=found.n_produced,
            n_failed=found.n_failed,
            checkpoint=last.name,
        )

    def _report(
        self,
        state: LoopState,
        store: CheckpointStore,
        stopped: Stopped,
        quality: QualityReport | None,
    ) -> TrainingReport:
        first, final = state.history[0].loss, state.recent_loss()
        reduction = None
        if first and final is not None:
            reduction = 1 - final / first
        try:
            best = store.get("best")
        except CheckpointNotFoundError:
            best = None
        skipped = sum(row.skipped is not None for row in state.history)
        notes: list[str] = []
        if skipped:
            notes.append(
                f"{skipped} of {state.step} updates were skipped: no finite loss or gradient"
            )
        if self.mask.n_dropped:
            notes.append(f"{self.mask.n_dropped} items were longer than allowed and left out")
        if quality is not None and best is not None and best.name != quality.checkpoint:
            notes.append(
                f"the gates judge {quality.checkpoint}, the last checkpoint; {best.name} is the "
                "best on the held-out items and wants other items to be judged on"
            )
        if quality is not None and stopped == "early_stopping":
            notes.append("the held-out items decided when to stop, so they flatter the gates")
        took = [(row.tokens, row.duration_s) for row in state.history if row.duration_s]
        seconds = sum(s for _, s in took if s)
        return TrainingReport(
            experiment_id=self.experiment.id,
            run_id=self.run.id,
            backend=self.experiment.backend.name,
            steps=state.step,
            epochs_completed=state.step // self.plan.per_epoch,
            examples=state.examples,
            tokens=state.tokens,
            target_tokens=state.target_tokens,
            loss_first=first,
            loss_final=final,
            loss_reduction=reduction,
            history=tuple(state.history),
            mask=self.mask,
            checkpoints=tuple(store.list()),
            best=best,
            quality=quality,
            stopped=stopped,
            seed=self.experiment.seed,
            config_digest=self.experiment.config.digest(),
            dataset_fingerprint=self.run.arguments["dataset_fingerprint"],
            device=self.session.device,
            dtype=self.session.dtype,
            tokens_per_s=sum(n for n, _ in took) / seconds if seconds else None,
            peak_memory_bytes=self.session.peak_memory_bytes,
            cost_usd=None,
            versions=_versions(self.session),
            warnings=tuple(notes),
        )


def _read_corpus(
    dataset: Iterable[Any],
    validation: Iterable[Any] | None,
    *,
    options: TrainOptions,
    format: Formatter,
) -> Corpus:
    entries = read_entries(dataset, format=format)
    if validation is not None:
        held = read_entries(validation, format=format, name="validation")
        corpus = Corpus(train=entries, held_out=held)
        remedy = "give more items as `validation`"
    elif options.looks:
        corpus = Corpus.split(entries, share=options.holdout)
        remedy = "give more items, a larger `holdout`, or `validation`"
    else:
        return Corpus(train=entries, held_out=())
    if not corpus.train or not corpus.held_out:
        raise ValueError(
            f"`holdout` must leave items to learn and to hold out, got {options.holdout} of "
            f"{len(entries)}"
        )
    if options.gates and len(corpus.held_out) < _FEWEST:
        raise ValueError(
            f"quality targets need at least {_FEWEST} held-out items, got "
            f"{len(corpus.held_out)}: {remedy}"
        )
    leaks = corpus.leaks()
    if leaks:
        raise ValueError(
            f"held-out items must not be learned too; the prompts of {len(leaks)} are: "
            f"{', '.join(leaks[:5])}"
        )
    return corpus


def _plan(ids: Iterable[str], options: TrainOptions, *, config: LoraConfig, seed: int) -> BatchPlan:
    plan = BatchPlan(
        ids=tuple(ids),
        batch=options.batch_size * options.accumulate,
        epochs=options.epochs,
        seed=seed,
        max_steps=options.max_steps,
    )
    warmup_updates(config, total=plan.total)  # raises where it leaves nothing
    return plan


def _lay_out(
    experiment: LoraExperiment, corpus: Corpus, options: TrainOptions, session: Session
) -> dict[str, Any]:
    """Return what a job needs of the items, as tokens."""
    context = session.context
    examples, mask = lay_out_all(
        {e.item.id: e.conversation for e in corpus.train},
        session.tokenizer,
        max_length=options.max_length if context is None else min(options.max_length, context),
        truncation=options.truncation,
    )
    held: dict[str, Example] = {}
    if corpus.held_out:
        # Never cut or dropped, whatever happens to the others: that would be another question.
        held, _ = lay_out_all(
            {e.item.id: e.conversation for e in corpus.held_out},
            session.tokenizer,
            max_length=sys.maxsize if context is None else context,
            truncation="error",
        )
    plan = _plan(examples, options, config=experiment.config, seed=experiment.seed)
    return {"plan": plan, "examples": examples, "held_out": list(held.values()), "mask": mask}


def _versions(session: Session) -> dict[str, str]:
    return {
        "crucible-lora": metadata.version("crucible-lora"),
        "python": platform.python_version(),
        **session.versions,
    }
