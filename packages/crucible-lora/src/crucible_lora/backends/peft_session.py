"""A model of transformers with one adapter in training."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray

from crucible_lora.backends.adapted import Adapted
from crucible_lora.backends.adapter_files import (
    SavedAdapters,
    load_all,
    save_adapter,
    save_progress,
)
from crucible_lora.backends.bases import Base
from crucible_lora.backends.exporting import export, require_exact
from crucible_lora.backends.torch_state import TorchSettings
from crucible_lora.backends.updating import Updating
from crucible_lora.capabilities import require_loss
from crucible_lora.config import LoraConfig
from crucible_lora.decoding import Answer, Choice, decode
from crucible_lora.export import ExportDtype, ExportFormat
from crucible_lora.ports import Continuation, Example, StepResult, Update
from crucible_lora.sampler import Sampler
from crucible_lora.working import Workbench


class PeftSession:
    """See `Session`."""

    def __init__(
        self,
        base: Base,
        config: LoraConfig,
        *,
        seed: int,
        settings: TorchSettings,
        gradient_checkpointing: bool | Literal["auto"] = "auto",
        compile: bool = False,
    ) -> None:
        self._base, self._config, self._settings = base, config, settings
        self.tokenizer = base.tokenizer
        self._adapted = Adapted(base, config, seed=seed, compile=compile)
        self._updating = Updating(self._adapted, gradient_checkpointing=gradient_checkpointing)
        self._saved = SavedAdapters(self._adapted)
        self._bench = Workbench()
        if compile:
            self._updating.notes.append(
                "the layers were compiled: bits equal those of runs that compile them, of no others"
            )

    @property
    def device(self) -> str:
        """Where it runs."""
        return str(self._base.device)

    @property
    def dtype(self) -> str:
        """Type of the base's numbers."""
        return str(self._base.dtype).removeprefix("torch.")

    @property
    def context(self) -> int | None:
        """The longest sequence in tokens."""
        return self._base.context

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most memory of the device that was used; a CPU does not tell."""
        if self._base.device.type != "cuda":
            return None
        return int(torch.cuda.max_memory_allocated(self._base.device))

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that computed."""
        return {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
        }

    @property
    def notes(self) -> Sequence[str]:
        """What a report should say about how it was computed."""
        notes = tuple(self._updating.notes)
        if self._base.device.type == "cuda" and not self._settings.deterministic:
            unsure = "on CUDA without `deterministic=True`, equal seeds need not give equal bits"
            return (*notes, unsure)
        return notes

    @property
    def trainable(self) -> int:
        """Number of values that are trained."""
        return self._adapted.trainable

    async def train_step(self, batch: Sequence[Example], /, *, update: Update) -> StepResult:
        """Make one optimiser step; see `Session`."""
        from crucible_lora.backends.peft import PeftBackend

        require_loss(update.loss, backend="peft", capabilities=PeftBackend.capabilities)

        def work() -> StepResult:
            result = self._updating.step(batch, update)
            if not result.skipped:
                self._saved.loaded(None)
            return result

        return await self._bench.run(self._limited(work))

    async def forward(self, batch: Sequence[Example], /) -> Sequence[NDArray[np.float64]]:
        """Return the log-probability of each target token; see `Session`."""
        return await self._bench.run(self._limited(lambda: self._adapted.forward(batch)))

    async def predict(self, batch: Sequence[Example], /) -> Sequence[NDArray[np.int64]]:
        """Return the likeliest token at each target; see `Predicting`."""
        return await self._bench.run(self._limited(lambda: self._adapted.predict(batch)))

    async def complete(
        self,
        prompts: Sequence[Sequence[int]],
        /,
        *,
        adapter: Path | None,
        max_tokens: int,
        temperature: float,
        top_p: float,
        top_k: int | None,
        seeds: Sequence[int | None],
        stop: Sequence[str],
    ) -> Sequence[Continuation]:
        """Continue several prompts; see `Sampling`."""
        how = Choice(
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            stop=tuple(stop),
        )
        answers = [
            Answer(prompt, how, seed=seed, tokenizer=self.tokenizer, context=self.context)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        model = self._adapted

        def work(cancelled: Callable[[], bool]) -> Sequence[Continuation]:
            with self._settings.held(), torch.inference_mode(), self._saved.answering(adapter):
                together = len(answers) == 1 or model.decodes_together()
                groups = [answers] if together else [[answer] for answer in answers]
                return [c for g in groups for c in decode(model.decoder(), g, cancelled=cancelled)]

        return await self._bench.run_until_cancelled(work)

    async def save(self, path: Path, /) -> None:
        """Write adapter, optimiser and generator; see `Session`."""

        def work() -> None:
            save_adapter(path, self._adapted)
            save_progress(path, self._adapted, self._updating.optimizer)

        await self._bench.run(work)

    async def export(
        self, path: Path, /, *, format: ExportFormat, dtype: ExportDtype
    ) -> tuple[float, float]:
        """Write the adapter for others; see `Exporting`."""
        require_exact(self._base.dtype, format)
        return await self._bench.run(
            self._limited(
                lambda: export(self._adapted, self._config, path, format=format, dtype=dtype)
            )
        )

    def sampler(self, path: Path | None = None, /) -> Sampler:
        """Return a saved adapter, or the base, as a model; see `Session`."""
        label = "base" if path is None else path.name
        return Sampler(self, path, name=f"lora/{Path(self._base.name).name}/{label}")

    def identity(self, adapter: Path | None, /) -> dict[str, object]:
        """Return what identifies the weights that answer; see `Sampling`."""
        return {
            "backend": "peft",
            "base": self._base.fingerprint(),
            "adapter_sha256": None if adapter is None else self._saved.digest(adapter),
        }

    async def close(self) -> None:
        """Refuse further work."""
        await self._bench.close()

    def load(self, path: Path) -> None:
        """Set adapter, optimiser and generator to what `save` wrote."""
        load_all(path, self._adapted, self._updating.optimizer)
        self._saved.loaded(path)

    def _limited(self, work: Callable[[], Any]) -> Callable[[], Any]:
        def limited() -> Any:
            with self._settings.held():
                return work()

        return limited
