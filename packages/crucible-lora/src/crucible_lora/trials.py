"""One run of a sweep: trained from where it was left, scored once, and never done again."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from numpy.typing import NDArray

from crucible_lora.config import LoraConfig
from crucible_lora.corpus import Entry
from crucible_lora.errors import CheckpointNotFoundError, DivergedError
from crucible_lora.experiment import LoraExperiment, create_experiment
from crucible_lora.files import write_whole
from crucible_lora.formats import Formatter
from crucible_lora.likelihood import target_hits, target_nll
from crucible_lora.masking import Truncation
from crucible_lora.measure import measure
from crucible_lora.options import EarlyStopping
from crucible_lora.ports import Backend, LossFunction
from crucible_lora.records import Record
from crucible_lora.request import Request
from crucible_lora.resuming import go_on
from crucible_lora.runs import Run
from crucible_lora.schemas import OutputSchema
from crucible_lora.scoring import Scoring
from crucible_lora.space import TRAIN_OPTIONS, Params
from crucible_lora.training import Operation

_DONE = ("completed", "max_steps", "early_stopping")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A configuration and a replication of it."""

    params: Params
    replication: int
    run_id: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult(Record):
    """The metric of a trained trial; `above` and `below` are by item, their sums' ratio the value.

    `value` is None where the run or its score failed, for `reason`.
    """

    experiment_id: str
    steps: int
    value: float | None
    above: tuple[float, ...]
    below: tuple[float, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trials:
    """What all trials of a sweep have in common."""

    name: str
    folder: Path
    config: LoraConfig
    backend: Backend
    dataset: Sequence[Any]
    validation: Sequence[Entry]
    held_out: Iterable[Any] | None  # for looks during training, if something asks for them
    metric: str
    scoring: Scoring
    max_tokens: int
    epochs: int
    batch_size: int
    accumulate: int
    checkpoint_every: int
    evaluate_every: int | None
    max_steps: int | None
    format: Formatter
    schema: OutputSchema | None
    max_length: int
    truncation: Truncation
    packing: bool
    loss: LossFunction
    early_stopping: EarlyStopping | None

    def experiment(self, trial: Trial) -> LoraExperiment:
        """Return the experiment of a trial, in a folder of its own."""
        return create_experiment(
            f"{self.name} {trial.run_id}",
            self.config_of(trial.params),
            backend=self.backend,
            directory=self.folder / "runs",
            metadata={"sweep": self.name, "replication": trial.replication},
            seed=trial.seed,
        )

    def config_of(self, params: Params) -> LoraConfig:
        """Return the configuration with the parameters that are its fields."""
        return replace(self.config, **{k: v for k, v in params.items() if k not in TRAIN_OPTIONS})

    async def run(self, trial: Trial, *, until: int | None) -> TrialResult:
        """Train a trial up to some updates, or to its end, and score it; or find that done."""
        file = self.folder / "results" / f"{trial.run_id}-{until or 'end'}.json"
        if file.is_file():
            return TrialResult.from_dict(json.loads(file.read_text(encoding="utf-8")))
        experiment = self.experiment(trial)
        try:
            steps = await self._train(experiment, trial, until=until)
            result = await self._score(experiment, steps)
        except DivergedError as error:
            result = TrialResult(
                experiment_id=experiment.id,
                steps=error.step,
                value=None,
                above=(),
                below=(),
                reason=str(error),
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result.to_dict(), sort_keys=True, allow_nan=False)
        await anyio.to_thread.run_sync(write_whole, file, text)
        return result

    def request(self, experiment: LoraExperiment, params: Params, operation: Operation) -> Request:
        """Return the run of a trial, checked before anything is made."""
        options: Mapping[str, int] = {
            name: int(params.get(name, getattr(self, name))) for name in TRAIN_OPTIONS
        }
        return Request.read(
            experiment,
            self.dataset,
            epochs=options["epochs"],
            batch_size=options["batch_size"],
            accumulate=options["accumulate"],
            checkpoint_every=self.checkpoint_every,
            quality_targets=None,
            validation=self.held_out,
            holdout=0.1,
            evaluate_every=self.evaluate_every,
            max_steps=self.max_steps,
            format=self.format,
            schema=self.schema,
            max_length=self.max_length,
            truncation=self.truncation,
            packing=self.packing,
            loss=self.loss,
            losses=None,
            gradient_hooks=(),
            hook_every=10,
            early_stopping=self.early_stopping,
            operation=operation,
        )

    async def _train(self, experiment: LoraExperiment, trial: Trial, *, until: int | None) -> int:
        operation = Operation(keep=1, on_step=None, progress=False, deadline_s=None, until=until)
        run = Run.latest(experiment.directory)
        if run is not None:
            done = run.report()
            if done is not None and done.stopped in _DONE and done.steps >= (until or 0):
                return done.steps
            try:
                run.store().get("latest")
            except CheckpointNotFoundError:
                pass  # killed before its first checkpoint
            else:
                report = await go_on(
                    experiment, schema=self.schema, loss=self.loss, operation=operation
                )
                return report.steps
        report = await self.request(experiment, trial.params, operation).run()
        return report.steps

    async def _score(self, experiment: LoraExperiment, steps: int) -> TrialResult:
        at = experiment.checkpoints().get("latest")
        session = await self.backend.resume(experiment.config, at.path)
        try:
            size = self.batch_size
            if self.metric == "nll":
                above, below = await target_nll(session, self.validation, batch_size=size)
            elif self.metric == "token_accuracy":
                hits = await target_hits(session, self.validation, batch_size=size)
                _, below = await target_nll(session, self.validation, batch_size=size)
                above = np.full(len(below), math.nan) if hits is None else hits
            else:
                found = await measure(
                    session,
                    at.path,
                    self.validation,
                    scoring=self.scoring,
                    max_tokens=self.max_tokens,
                    batch_size=size,
                )
                above = found.scores[self.metric].mean(axis=1)
                below = np.ones(len(above))
        finally:
            with anyio.CancelScope(shield=True):
                await session.close()
        return _result(experiment.id, steps, above, below)


def _result(
    experiment_id: str, steps: int, above: NDArray[np.float64], below: NDArray[np.float64]
) -> TrialResult:
    unknown = int(np.isnan(above).sum())
    whole = unknown == 0
    return TrialResult(
        experiment_id=experiment_id,
        steps=steps,
        value=float(above.sum() / below.sum()) if whole else None,
        above=tuple(above.tolist()) if whole else (),
        below=tuple(below.tolist()) if whole else (),
        reason=None if whole else f"{unknown} of {len(above)} items have no score",
    )
