"""The reference backend: trains in float64 numpy, within this process."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crucible_lora.adamw import AdamW, clip_factor, global_norm
from crucible_lora.backends.reference import (
    Adapter,
    Masks,
    ReferenceDecoder,
    ReferenceModel,
)
from crucible_lora.capabilities import require_loss, require_options
from crucible_lora.composite import terms_of
from crucible_lora.config import LoraConfig
from crucible_lora.decoding import Answer, Choice, decode
from crucible_lora.errors import (
    CheckpointCorruptError,
    ExportMismatchError,
    UnsupportedOptionError,
)
from crucible_lora.export import LIMIT, ExportDtype, ExportFormat
from crucible_lora.files import sha256_file
from crucible_lora.losses import log_softmax
from crucible_lora.ports import Capabilities, Continuation, Example, StepResult, Update
from crucible_lora.sampler import Sampler
from crucible_lora.tensors import read_tensors, write_tensors
from crucible_lora.tokenizers import ByteTokenizer
from crucible_lora.working import Workbench

# Names under which hooks see the gradients: with the number of their layer.
_LONG = {
    "a1": "layers.0.lora_A",
    "b1": "layers.0.lora_B",
    "a2": "layers.1.lora_A",
    "b2": "layers.1.lora_B",
}
ADAPTER, OPTIMIZER, GENERATOR = "adapter.safetensors", "optimizer.safetensors", "generator.json"
MERGED = "model.safetensors"  # of an export


class InProcessBackend:
    """Trains the reference model: `base_model="reference"`.

    A real language model over bytes, far too small for real use: it exists so that every feature
    of this package runs in seconds, without weights. Its name is in every report made with it.
    """

    name = "in-process"
    capabilities = Capabilities(
        options=frozenset({"alpha", "dropout", "rslora"}),
        losses=frozenset(
            {"cross_entropy", "citation_weighted", "kl", "mse", "label_smoothing", "custom"}
        ),
        logprobs=True,
        deterministic=True,
        local=True,
        gradients=True,
        predictions=True,
    )

    async def create(self, config: LoraConfig, /, *, seed: int) -> "InProcessSession":
        """Return a session with a fresh adapter; see `Backend`."""
        self._check(config)
        rng = np.random.default_rng(seed)
        return InProcessSession(config, Adapter.fresh(config, rng), rng)

    async def resume(self, config: LoraConfig, path: Path, /) -> "InProcessSession":
        """Return a session as `save` left it; see `Backend`."""
        self._check(config)
        adapter = _read_adapter(path, config)
        rng = np.random.default_rng(0)
        state = json.loads((path / GENERATOR).read_text(encoding="utf-8"))
        rng.bit_generator.state = state
        session = InProcessSession(config, adapter, rng)
        moments, facts = read_tensors(path / OPTIMIZER)
        session.optimizer.load(int(facts["steps"]), moments)
        session.keep(path)
        return session

    async def close(self) -> None:
        """Free nothing: sessions hold all there is."""

    def _check(self, config: LoraConfig) -> None:
        require_options(config, backend=self.name, capabilities=self.capabilities)
        if config.base_model != "reference":
            raise UnsupportedOptionError(
                "base_model", config.base_model, self.name, 'its only base is "reference"'
            )


class InProcessSession:
    """The reference model with one adapter in training; see `Session`."""

    device = "cpu"
    dtype = "float64"
    context: int | None = None
    peak_memory_bytes: int | None = None
    notes: Sequence[str] = ()

    def __init__(self, config: LoraConfig, adapter: Adapter, rng: np.random.Generator) -> None:
        self.tokenizer = ByteTokenizer()
        self.adapter = adapter
        self.optimizer = AdamW(adapter.arrays())
        self._config, self._rng = config, rng
        self._model = ReferenceModel()
        self._bench = Workbench()
        self._saved: dict[Path, Adapter] = {}
        self._digests: dict[Path, str] = {}

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that computed."""
        return {"numpy": np.__version__}

    async def train_step(self, batch: Sequence[Example], /, *, update: Update) -> StepResult:
        """Make one optimiser step; see `Session`."""
        require_loss(
            update.loss, backend=InProcessBackend.name, capabilities=InProcessBackend.capabilities
        )
        return await self._bench.run(lambda: self._train_step(batch, update))

    async def forward(self, batch: Sequence[Example], /) -> Sequence[NDArray[np.float64]]:
        """Return the log-probability of each target token; see `Session`."""
        return await self._bench.run(lambda: [self._forward(e) for e in batch])

    async def predict(self, batch: Sequence[Example], /) -> Sequence[NDArray[np.int64]]:
        """Return the likeliest token at each target; see `Predicting`."""
        return await self._bench.run(lambda: [self._logits(e).argmax(axis=1) for e in batch])

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
            Answer(prompt, how, seed=seed, tokenizer=self.tokenizer, context=None)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]

        def work(cancelled: Callable[[], bool]) -> Sequence[Continuation]:
            weights = None if adapter is None else self._load(adapter)
            decoder = ReferenceDecoder(self._model, weights)
            return decode(decoder, answers, cancelled=cancelled)

        return await self._bench.run_until_cancelled(work)

    async def save(self, path: Path, /) -> None:
        """Write adapter, optimiser and generator; see `Session`."""
        await self._bench.run(lambda: self._save(path))

    async def export(
        self, path: Path, /, *, format: ExportFormat, dtype: ExportDtype
    ) -> tuple[float, float]:
        """Write the adapter, or the layers it makes, as one file of arrays; see `Exporting`."""
        if dtype != "float32":
            raise UnsupportedOptionError("dtype", dtype, InProcessBackend.name)
        return await self._bench.run(lambda: self._export(path, format))

    def sampler(self, path: Path | None = None, /) -> Sampler:
        """Return a saved adapter, or the base, as a model; see `Session`."""
        label = "base" if path is None else path.name
        return Sampler(self, path, name=f"lora/reference/{label}")

    def identity(self, adapter: Path | None, /) -> dict[str, object]:
        """Return what identifies the weights that answer; see `Sampling`."""
        return {
            "backend": InProcessBackend.name,
            "base": "reference/1",
            "adapter_sha256": None if adapter is None else self._digest(adapter),
        }

    async def close(self) -> None:
        """Refuse further work."""
        await self._bench.close()

    def keep(self, path: Path) -> None:
        """Remember a saved adapter, which may be pruned while it answers."""
        self._load(path)
        self._digest(path)

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = sha256_file(path / ADAPTER)
        return self._digests[path]

    def _train_step(self, batch: Sequence[Example], update: Update) -> StepResult:
        terms = terms_of(update.loss)
        wholes = [term.total(batch) for term in terms]
        values, targets = [0.0] * len(terms), 0
        gradients = {name: np.zeros_like(p) for name, p in self.adapter.arrays().items()}
        for start in range(0, len(batch), update.micro_batch):
            part = batch[start : start + update.micro_batch]
            rows = self._model.rows(part)
            masks = None
            if self._config.dropout:
                masks = Masks.draw(len(rows.targets), self._config.dropout, self._rng)
            logits, trace = self._model.forward(rows.inputs, self.adapter, masks)
            teacher = None
            if any(term.wants_teacher for term in terms):
                teacher = self._model.base_logits(rows.inputs)
            slope = np.zeros_like(logits)
            for i, term in enumerate(terms):
                weights = term.weights(part)
                value, gradient = term(logits, rows.targets, weights, teacher_logits=teacher)
                share = float(weights.sum()) / wholes[i]
                values[i] += share * value
                slope += term.coefficient * share * gradient
            targets += len(rows.targets)
            for name, one in self._model.backward(slope, self.adapter, trace).items():
                gradients[name] += one
        total = math.fsum(t.coefficient * v for t, v in zip(terms, values, strict=True))
        norm = global_norm(gradients)
        shown = {_LONG[n]: g for n, g in gradients.items()} if update.gradients else None
        if not (math.isfinite(total) and math.isfinite(norm)):
            what = "gradient" if math.isfinite(total) else "loss"
            return StepResult.not_finite(what, target_tokens=targets, gradients=shown)
        factor = clip_factor(norm, update.max_grad_norm)
        self.optimizer.step(gradients, update, factor=factor)
        return StepResult(
            loss=total,
            components={t.name: v for t, v in zip(terms, values, strict=True)},
            target_tokens=targets,
            grad_norm=norm,
            gradients=shown,
        )

    def _forward(self, example: Example) -> NDArray[np.float64]:
        targets = example.tokens[example.targets()]
        found: NDArray[np.float64] = log_softmax(self._logits(example))[
            np.arange(len(targets)), targets
        ]
        return found

    def _logits(self, example: Example) -> NDArray[np.float64]:
        logits, _ = self._model.forward(self._model.rows([example]).inputs, self.adapter)
        return logits

    def _export(self, path: Path, format: ExportFormat) -> tuple[float, float]:
        a, model, narrow = self.adapter, self._model, np.float32
        x = np.random.default_rng(0).standard_normal((8, model.first.shape[1]))
        live, _ = model.forward(x, a)
        if format == "adapter":
            arrays = {k: v.astype(narrow) for k, v in a.arrays().items()}
            facts = {"rank": str(self._config.rank), "scale": repr(a.scale)}
            write_tensors(path / ADAPTER, arrays, metadata=facts)
            found, _ = model.forward(x, _read_adapter(path, self._config))
        else:
            layers = {
                "first": (model.first + a.scale * a.b1 @ a.a1).astype(narrow),
                "second": (model.second + a.scale * a.b2 @ a.a2).astype(narrow),
            }
            write_tensors(path / MERGED, layers, metadata={"base": "reference/1"})
            read, _ = read_tensors(path / MERGED)
            found = np.tanh(x @ read["first"].T) @ read["second"].T
        difference, largest = float(np.abs(live - found).max()), float(np.abs(live).max())
        if not difference <= LIMIT * largest:
            for file in path.iterdir():
                file.unlink()
            raise ExportMismatchError(difference, largest, LIMIT)
        return difference, largest

    def _save(self, path: Path) -> None:
        facts = {"rank": str(self._config.rank), "scale": repr(self._config.scale)}
        write_tensors(path / ADAPTER, self.adapter.arrays(), metadata=facts)
        steps, moments = self.optimizer.state()
        write_tensors(path / OPTIMIZER, moments, metadata={"steps": str(steps)})
        state = json.dumps(self._rng.bit_generator.state, sort_keys=True)
        (path / GENERATOR).write_text(state, encoding="utf-8")

    def _load(self, path: Path) -> Adapter:
        if path not in self._saved:
            self._saved[path] = _read_adapter(path, self._config)
        return self._saved[path]


def _read_adapter(path: Path, config: LoraConfig) -> Adapter:
    arrays, facts = read_tensors(path / ADAPTER)
    if facts["rank"] != str(config.rank):
        raise CheckpointCorruptError(str(path / ADAPTER), f"rank {config.rank}", facts["rank"])
    return Adapter(**arrays, scale=config.scale)
