"""What `train` was asked for, checked as a whole before anything is made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import anyio

from crucible_lora.capabilities import require_loss, require_packing, require_watching
from crucible_lora.corpus import Corpus
from crucible_lora.experiment import LoraExperiment
from crucible_lora.formats import ChatFormat, Formatter, format_to_dict
from crucible_lora.gates import Gate
from crucible_lora.gradients import GradientHook, fresh_hook, hook_to_dict
from crucible_lora.loop import LoopState
from crucible_lora.loss_registry import LossRegistry, loss_to_dict
from crucible_lora.masking import Truncation
from crucible_lora.options import EarlyStopping, TrainOptions, read_gates
from crucible_lora.ports import LossFunction
from crucible_lora.preparing import lay_out_corpus, make_plan, read_corpus
from crucible_lora.results import TrainingReport
from crucible_lora.runs import Run
from crucible_lora.schemas import OutputSchema, schema_to_dict
from crucible_lora.training import Job, Operation
from crucible_lora.watching import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A run that can begin; `total` counts its updates, unless items are dropped."""

    experiment: LoraExperiment
    corpus: Corpus
    options: TrainOptions
    format: Formatter
    schema: OutputSchema | None
    loss: LossFunction
    watch: Watch
    operation: Operation
    has_validation: bool
    total: int

    @classmethod
    def read(
        cls,
        experiment: LoraExperiment,
        dataset: Iterable[Any],
        *,
        epochs: int,
        batch_size: int,
        checkpoint_every: int,
        quality_targets: Mapping[str, float] | Sequence[Gate] | None,
        validation: Iterable[Any] | None,
        holdout: float,
        evaluate_every: int | None,
        max_steps: int | None,
        accumulate: int,
        format: Formatter | None,
        schema: OutputSchema | None,
        max_length: int,
        truncation: Truncation,
        packing: bool,
        loss: str | LossFunction,
        losses: LossRegistry | None,
        gradient_hooks: Sequence[GradientHook],
        hook_every: int,
        early_stopping: EarlyStopping | None,
        operation: Operation,
    ) -> Self:
        """Check the arguments of `train`; see there.

        Raises
        ------
        ValueError, UnsupportedOptionError
        """
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
            gates=read_gates(quality_targets, schema=schema),
            hook_every=hook_every,
            early_stopping=early_stopping,
        )
        watch = Watch([fresh_hook(hook) for hook in gradient_hooks], every=hook_every)
        function = (losses or LossRegistry()).get(loss) if isinstance(loss, str) else loss
        backend = experiment.backend
        require_loss(function, backend=backend.name, capabilities=backend.capabilities)
        require_watching(watch.hooks, early_stopping, backend=backend)
        require_packing(packing, backend=backend.name, capabilities=backend.capabilities)
        format = ChatFormat() if format is None else format
        corpus = read_corpus(dataset, validation, options=options, format=format)
        ids = [e.item.id for e in corpus.train]
        plan = make_plan(ids, options, config=experiment.config, seed=experiment.seed)
        return cls(
            experiment=experiment,
            corpus=corpus,
            options=options,
            format=format,
            schema=schema,
            loss=function,
            watch=watch,
            operation=operation,
            has_validation=validation is not None,
            total=plan.total,
        )

    async def run(self) -> TrainingReport:
        """Train a fresh adapter to the end."""
        experiment, backend = self.experiment, self.experiment.backend
        session = await backend.create(experiment.config, seed=experiment.seed)
        try:
            work = lay_out_corpus(experiment, self.corpus, self.options, session, loss=self.loss)
            run = Run.start(
                experiment.directory,
                arguments={
                    "schema": "crucible-lora/run/1",
                    "config_digest": experiment.config.digest(),
                    "backend": backend.name,
                    "seed": experiment.seed,
                    "options": self.options.to_dict(),
                    "format": format_to_dict(self.format),
                    "loss": loss_to_dict(self.loss),
                    "gradient_hooks": [hook_to_dict(hook) for hook in self.watch.hooks],
                    "output_schema": schema_to_dict(self.schema),
                    "validation": self.has_validation,
                    "dataset_fingerprint": self.corpus.fingerprint(),
                },
                corpus=self.corpus,
            )
            job = Job(
                experiment=experiment,
                run=run,
                corpus=self.corpus,
                session=session,
                loss=self.loss,
                schema=self.schema,
                operation=self.operation,
                watch=self.watch,
                **work,
            )
            return await job.finish(LoopState(), parent=None)
        finally:
            with anyio.CancelScope(shield=True):
                await session.close()
