"""An experiment: a name, a configuration, a backend, and a folder with its runs."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crucible_lora.capabilities import require_options
from crucible_lora.checkpoints import CheckpointStore
from crucible_lora.config import LoraConfig, sha256_json
from crucible_lora.errors import CheckpointNotFoundError, ResumeMismatchError
from crucible_lora.files import write_whole
from crucible_lora.formats import ChatFormat, Formatter, PlainFormat
from crucible_lora.gates import Gate
from crucible_lora.gradients import GradientHook
from crucible_lora.loss_registry import LossRegistry
from crucible_lora.masking import Truncation
from crucible_lora.options import EarlyStopping
from crucible_lora.ports import Backend, LossFunction
from crucible_lora.records import Json, plain
from crucible_lora.results import StepRow
from crucible_lora.runs import Run
from crucible_lora.sampler import Sampler
from crucible_lora.schemas import OutputSchema
from crucible_lora.sync import run_sync

if TYPE_CHECKING:
    from crucible_lora.job import TrainingJob

_FILE = "experiment.json"
_SCHEMA = "crucible-lora/experiment/1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoraExperiment:
    """What `create_experiment` returns.

    `id` is a function of name, configuration, backend and seed, and names the folder.
    """

    id: str
    name: str
    config: LoraConfig
    backend: Backend
    directory: Path
    seed: int
    description: str
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    capture_content: bool = False

    @property
    def backend_name(self) -> str:
        """Name of the backend, as reports show it."""
        return self.backend.name

    def checkpoints(self) -> CheckpointStore:
        """Return the checkpoints of the last run.

        Raises
        ------
        CheckpointNotFoundError
            If nothing was trained yet.
        """
        return self.last_run("latest").store()

    def history(self) -> tuple[StepRow, ...]:
        """Return the updates of the last run, as far as its latest checkpoint knows them."""
        run = self.last_run("latest")
        report = run.report()
        if report is not None:
            return report.history
        store = run.store()
        rows = store.state(store.get("latest").name)["history"]
        return tuple(StepRow.from_dict(row) for row in rows)

    def sampler(self, checkpoint: str = "best") -> Sampler:
        """Return an adapter of the last run as a model.

        The weights are loaded before it returns. Prompts get the chat template and the system
        message that the adapter was trained with.

        Parameters
        ----------
        checkpoint : str
            "best", "latest", the name of one, or "base" for the model without adapter.

        Raises
        ------
        CheckpointNotFoundError, CheckpointCorruptError
        """
        if checkpoint == "base":
            return self.sampler_at(None, name=f"lora/{self.name}/base")
        found = self.last_run(checkpoint).store().get(checkpoint)
        return self.sampler_at(found.path, name=f"lora/{self.name}/{found.name}")

    def sampler_at(self, path: Path | None, *, name: str) -> Sampler:
        """Return the checkpoint in a folder of this experiment as a model; None is the base."""

        async def load() -> Any:
            if path is None:
                return await self.backend.create(self.config, seed=self.seed)
            return await self.backend.resume(self.config, path)

        run = Run.latest(self.directory) if path is None else Run.open(path.parent.parent)
        format = None if run is None else run.format
        return Sampler(
            run_sync(load),
            path,
            name=name,
            system=format.system if isinstance(format, ChatFormat) else None,
            plain=isinstance(format, PlainFormat),
            capture_content=self.capture_content,
        )

    def job(
        self,
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
    ) -> "TrainingJob":
        """Return a run that trains in the background of `async with`; see `train`.

        Raises
        ------
        ValueError, UnsupportedOptionError
            As `train` does, before anything is made.

        Examples
        --------
        >>> async def watch(experiment, items):
        ...     async with experiment.job(items, epochs=3) as job:
        ...         async for row in job.events():
        ...             print(row.step, job.status().eta_s)
        ...     return await job.result()
        """
        from crucible_lora.job import TrainingJob
        from crucible_lora.request import Request
        from crucible_lora.training import Operation

        request = Request.read(
            self,
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
            operation=Operation(
                keep=keep, on_step=on_step, progress=progress, deadline_s=deadline_s
            ),
        )
        return TrainingJob(request)

    def last_run(self, wanted: str) -> Run:
        """Return the last run; there is no checkpoint `wanted` without one."""
        run = Run.latest(self.directory)
        if run is None:
            raise CheckpointNotFoundError(wanted, (), "nothing was trained yet")
        return run

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        backend: Backend | Literal["auto"] = "auto",
        capture_content: bool = False,
    ) -> "LoraExperiment":
        """Return an experiment from its folder.

        Parameters
        ----------
        path : path
        backend : Backend or "auto"
        capture_content : bool
            Record prompts and answers of samplers in spans; it is not stored.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ResumeMismatchError
            If the backend is not the one that it was made with.
        """
        data = json.loads((Path(path) / _FILE).read_text(encoding="utf-8"))
        config = LoraConfig.from_dict(data["config"])
        chosen = choose_backend(config, backend)
        if chosen.name != data["backend"]:
            raise ResumeMismatchError(["backend"])
        return cls(
            id=data["id"],
            name=data["name"],
            config=config,
            backend=chosen,
            directory=Path(path),
            seed=data["seed"],
            description=data["description"],
            tags=tuple(data["tags"]),
            metadata=data["metadata"],
            capture_content=capture_content,
        )


def create_experiment(
    name: str,
    config: LoraConfig | Mapping[str, object],
    *,
    backend: Backend | Literal["auto"] = "auto",
    directory: Path | str = ".crucible/lora",
    description: str = "",
    tags: Sequence[str] = (),
    metadata: Mapping[str, Json] | None = None,
    seed: int = 0,
    capture_content: bool = False,
) -> LoraExperiment:
    """Make an experiment, or find the one of the same name, configuration, backend and seed.

    Parameters
    ----------
    name : str
    config : LoraConfig or mapping
        In a mapping, an unknown key is an error.
    backend : Backend or "auto"
        "auto" is `InProcessBackend` for the base "reference" and `PeftBackend` for any other.
    directory : path
        A folder of the experiment's own is made in it.
    description, tags, metadata
        For people; they change nothing.
    seed : int, >= 0
        Of the adapter's first weights, of dropout and of the order of items.
    capture_content : bool
        Record prompts and answers of samplers in spans; without it no text is ever in one.

    Raises
    ------
    ValueError
        If an argument is out of range.
    UnsupportedOptionError
        If the backend cannot honour the configuration.
    MissingExtraError
        If the backend's libraries are not installed.
    """
    if not name.strip():
        raise ValueError(f"`name` must not be empty, got {name!r}")
    if seed < 0:
        raise ValueError(f"`seed` must be >= 0, got {seed}")
    if not isinstance(config, LoraConfig):
        config = LoraConfig.from_mapping(config)
    chosen = choose_backend(config, backend)
    require_options(config, backend=chosen.name, capabilities=chosen.capabilities)
    identity = [name, config.to_dict(), chosen.name, seed]
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "experiment"
    identifier = f"{slug[:40]}-{sha256_json(identity)[:8]}"
    folder = Path(directory) / identifier
    experiment = LoraExperiment(
        id=identifier,
        name=name,
        config=config,
        backend=chosen,
        directory=folder,
        seed=seed,
        description=description,
        tags=tuple(tags),
        metadata=dict(metadata or {}),
        capture_content=capture_content,
    )
    content = {
        "schema": _SCHEMA,
        "id": identifier,
        "name": name,
        "config": config.to_dict(),
        "backend": chosen.name,
        "seed": seed,
        "description": description,
        "tags": list(tags),
        "metadata": plain(experiment.metadata),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / _FILE, json.dumps(content, sort_keys=True, ensure_ascii=False))
    return experiment


def choose_backend(config: LoraConfig, backend: Backend | Literal["auto"]) -> Backend:
    """Return the backend itself, or for "auto" the one for the base model."""
    from crucible_lora.backends.inprocess import InProcessBackend
    from crucible_lora.backends.peft import PeftBackend

    if not isinstance(backend, str):
        return backend
    if backend != "auto":
        raise ValueError(f'`backend` must be a Backend or "auto", got {backend!r}')
    return InProcessBackend() if config.base_model == "reference" else PeftBackend()
