"""A run with its model loaded: what `train` and `resume` have in common."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from crucible_lora import tracing
from crucible_lora.batching import BatchPlan
from crucible_lora.checkpoints import CheckpointStore
from crucible_lora.corpus import Corpus
from crucible_lora.errors import CheckpointNotFoundError
from crucible_lora.experiment import LoraExperiment
from crucible_lora.gates import QualityReport
from crucible_lora.judging import judge_all
from crucible_lora.loop import Loop, LoopState
from crucible_lora.masking import MaskReport
from crucible_lora.measure import measure
from crucible_lora.ports import Example, LossFunction, Session
from crucible_lora.progress import Meter
from crucible_lora.results import StepRow, Stopped, TrainingReport
from crucible_lora.runs import Run
from crucible_lora.schemas import OutputSchema
from crucible_lora.scoring import Scoring
from crucible_lora.watching import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What may differ between the process that began a run and the one that ends it."""

    keep: int
    on_step: Callable[[StepRow], None] | None
    progress: bool | None
    deadline_s: float | None
    stop: Callable[[], bool] | None = None  # asked after each update
    until: int | None = None  # updates after which this process stops, whatever the schedule

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError(f"`keep` must be >= 1, got {self.keep}")
        if self.deadline_s is not None and not self.deadline_s > 0:
            raise ValueError(f"`deadline_s` must be > 0, got {self.deadline_s}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run with its model loaded."""

    experiment: LoraExperiment
    run: Run
    corpus: Corpus
    session: Session
    loss: LossFunction
    schema: OutputSchema | None
    operation: Operation
    watch: Watch
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
                    watch=self.watch,
                    facts={
                        "config_digest": config.digest(),
                        "dataset_fingerprint": self.run.arguments["dataset_fingerprint"],
                        "versions": _versions(self.session),
                    },
                    parent=parent,
                    on_step=on_step,
                    deadline_s=self.operation.deadline_s,
                    stop=self.operation.stop,
                    until=self.operation.until,
                )
                stopped = await loop.run()
            judged = options.gates and stopped != "cancelled"
            quality = await self._judge(store) if judged else None
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
            scoring=Scoring(schema=self.schema),
            max_tokens=max(256, 2 * longest),
            batch_size=self.run.options.batch_size,
        )
        return judge_all(
            self.run.options.gates,
            found.scores,
            reasons={},
            proxies=found.proxies,
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
        notes = list(self.session.notes)
        if skipped:
            notes.append(
                f"{skipped} of {state.step} updates were skipped: no finite loss or gradient"
            )
        notes += [f"hook {name!r} failed: {why}" for name, why in self.watch.failed.items()]
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


def _versions(session: Session) -> dict[str, str]:
    return {
        "crucible-lora": metadata.version("crucible-lora"),
        "python": platform.python_version(),
        **session.versions,
    }
