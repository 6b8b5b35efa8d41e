"""A model of transformers with one adapter in training."""

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from crucible_lora.adamw import clip_factor
from crucible_lora.backends.adapting import (
    SeededDropout,
    cast_around_whole_modules,
    draw_first_weights,
    with_adapter,
)
from crucible_lora.backends.bases import Base, load_base
from crucible_lora.backends.exporting import (
    ADAPTER,
    ADAPTER_CONFIG,
    check,
    empty,
    probe,
    write_adapter,
    write_merged,
)
from crucible_lora.backends.recompute import is_out_of_memory, layers_of, recomputing
from crucible_lora.backends.rows import Rows, packed, padded
from crucible_lora.backends.torch_decoding import CachedDecoder
from crucible_lora.backends.torch_losses import loss_in_torch
from crucible_lora.backends.torch_state import TorchSettings
from crucible_lora.capabilities import require_loss
from crucible_lora.composite import Term, terms_of
from crucible_lora.config import LoraConfig
from crucible_lora.decoding import Answer, Choice, decode
from crucible_lora.errors import ContextLengthError, UnsupportedOptionError
from crucible_lora.export import ExportDtype, ExportFormat
from crucible_lora.files import sha256_file
from crucible_lora.ports import Continuation, Example, StepResult, Update
from crucible_lora.sampler import Sampler
from crucible_lora.tokenizers import HFTokenizer
from crucible_lora.working import Workbench

OPTIMIZER, GENERATOR = "optimizer.safetensors", "generator.safetensors"


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
    ) -> None:
        self._base, self._config, self._settings = base, config, settings
        self.tokenizer = base.tokenizer
        self._generator = torch.Generator(device=base.device).manual_seed(seed)
        self._model = with_adapter(base.model, config, self._generator)
        self._model.eval()
        draw_first_weights(self._model, seed)
        self._parameters = {n: p for n, p in self._model.named_parameters() if p.requires_grad}
        for parameter in self._parameters.values():
            parameter.data = parameter.data.float()
        cast_around_whole_modules(self._model)
        self._optimizer = torch.optim.AdamW(self._parameters.values())
        self._dropouts = [m for m in self._model.modules() if isinstance(m, SeededDropout)]
        self._head_alone = self._can_call_head_alone()
        self._bench = Workbench()
        self._saved: dict[Path, dict[str, torch.Tensor]] = {}
        self._digests: dict[Path, str] = {}
        self._loaded: Path | None = None  # whose weights the parameters are, until an update
        self._layers = layers_of(self._model.get_base_model().get_decoder())
        self._recompute = gradient_checkpointing is True
        self._may_recompute = gradient_checkpointing == "auto" and bool(self._layers)
        if self._recompute and not self._layers:
            reason = "the model's layers cannot be told"
            raise UnsupportedOptionError("gradient_checkpointing", True, "peft", reason)
        self._packs: bool | None = None  # whether packed examples stay apart, once it was tried
        self._together: bool | None = None  # whether prompts can be read together, likewise
        self._notes: list[str] = []

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
        if self._base.device.type == "cuda" and not self._settings.deterministic:
            unsure = "on CUDA without `deterministic=True`, equal seeds need not give equal bits"
            return (*self._notes, unsure)
        return tuple(self._notes)

    @property
    def trainable(self) -> int:
        """Number of values that are trained."""
        return sum(p.numel() for p in self._parameters.values())

    async def train_step(self, batch: Sequence[Example], /, *, update: Update) -> StepResult:
        """Make one optimiser step; see `Session`."""
        from crucible_lora.backends.peft import PeftBackend

        require_loss(update.loss, backend="peft", capabilities=PeftBackend.capabilities)
        return await self._bench.run(self._limited(lambda: self._train_step(batch, update)))

    async def forward(self, batch: Sequence[Example], /) -> Sequence[NDArray[np.float64]]:
        """Return the log-probability of each target token; see `Session`."""
        return await self._bench.run(self._limited(lambda: self._forward(batch)))

    async def predict(self, batch: Sequence[Example], /) -> Sequence[NDArray[np.int64]]:
        """Return the likeliest token at each target; see `Predicting`."""
        return await self._bench.run(self._limited(lambda: self._predict(batch)))

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

        def work(cancelled: Callable[[], bool]) -> Sequence[Continuation]:
            with self._settings.held(), torch.inference_mode(), self._weights_of(adapter):
                together = len(answers) == 1 or self._decodes_together()
                groups = [answers] if together else [[answer] for answer in answers]
                return [c for g in groups for c in decode(self._decoder(), g, cancelled=cancelled)]

        return await self._bench.run_until_cancelled(work)

    async def save(self, path: Path, /) -> None:
        """Write adapter, optimiser and generator; see `Session`."""
        await self._bench.run(lambda: self._save(path))

    async def export(
        self, path: Path, /, *, format: ExportFormat, dtype: ExportDtype
    ) -> tuple[float, float]:
        """Write the adapter for others; see `Exporting`."""
        if self._base.dtype != torch.float32:
            reason = 'the comparison needs a base in float32: use PeftBackend(dtype="float32")'
            raise UnsupportedOptionError("export", format, "peft", reason)
        return await self._bench.run(self._limited(lambda: self._export(path, format, dtype)))

    def sampler(self, path: Path | None = None, /) -> Sampler:
        """Return a saved adapter, or the base, as a model; see `Session`."""
        label = "base" if path is None else path.name
        return Sampler(self, path, name=f"lora/{Path(self._base.name).name}/{label}")

    def identity(self, adapter: Path | None, /) -> dict[str, object]:
        """Return what identifies the weights that answer; see `Sampling`."""
        return {
            "backend": "peft",
            "base": self._base.fingerprint(),
            "adapter_sha256": None if adapter is None else self._digest(adapter),
        }

    async def close(self) -> None:
        """Refuse further work."""
        await self._bench.close()

    def load(self, path: Path) -> None:
        """Set adapter, optimiser and generator to what `save` wrote."""
        peft.set_peft_model_state_dict(self._model, load_file(path / ADAPTER))
        moments = load_file(path / OPTIMIZER, device=str(self._base.device))
        for name, parameter in self._parameters.items():
            if f"{name}.step" in moments:
                self._optimizer.state[parameter] = {
                    "step": moments[f"{name}.step"].cpu(),
                    "exp_avg": moments[f"{name}.exp_avg"],
                    "exp_avg_sq": moments[f"{name}.exp_avg_sq"],
                }
        self._generator.set_state(load_file(path / GENERATOR)["state"])
        self._loaded = path
        self._digest(path)

    def _digest(self, path: Path) -> str:
        # Kept, since a checkpoint may be pruned while it answers.
        if path not in self._digests:
            self._digests[path] = sha256_file(path / ADAPTER)
        return self._digests[path]

    def _limited(self, work: Callable[[], Any]) -> Callable[[], Any]:
        def limited() -> Any:
            with self._settings.held():
                return work()

        return limited

    def _train_step(self, batch: Sequence[Example], update: Update) -> StepResult:
        terms = terms_of(update.loss)
        values, targets = self._compute(batch, terms, update)
        total = math.fsum(t.coefficient * v for t, v in zip(terms, values, strict=True))
        named = {n: p.grad for n, p in self._parameters.items() if p.grad is not None}
        shown = {n: _numbers(g) for n, g in named.items()} if update.gradients else None
        gradients = list(named.values())
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients))
        if not (math.isfinite(total) and math.isfinite(norm)):
            self._optimizer.zero_grad(set_to_none=True)
            what = "gradient" if math.isfinite(total) else "loss"
            return StepResult(
                loss=None,
                components={},
                target_tokens=targets,
                gradients=shown,
                skipped=True,
                reason=f"the {what} was not finite",
            )
        factor = clip_factor(norm, update.max_grad_norm)
        for gradient in gradients:
            gradient.mul_(factor)
        for group in self._optimizer.param_groups:
            group.update(
                lr=update.learning_rate,
                betas=update.betas,
                eps=update.eps,
                weight_decay=update.weight_decay,
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._loaded = None
        return StepResult(
            loss=total,
            components={t.name: v for t, v in zip(terms, values, strict=True)},
            target_tokens=targets,
            grad_norm=norm,
            gradients=shown,
        )

    def _compute(
        self, batch: Sequence[Example], terms: Sequence[Term], update: Update
    ) -> tuple[list[float], int]:
        """Do what `_backward` does, and once more with less memory if there is too little."""
        drawn = self._generator.get_state()
        try:
            return self._backward(batch, terms, update)
        except Exception as error:
            if not (self._may_recompute and is_out_of_memory(error)):
                raise
        # Outside the handler, where the error no longer holds on to what was computed.
        self._recompute, self._may_recompute = True, False
        self._notes.append("gradient checkpointing was switched on: memory ran out without it")
        self._generator.set_state(drawn)
        return self._backward(batch, terms, update)

    def _backward(
        self, batch: Sequence[Example], terms: Sequence[Term], update: Update
    ) -> tuple[list[float], int]:
        """Leave the gradients of a batch with the parameters; return its losses and targets."""
        wholes = [term.total(batch) for term in terms]
        values, targets = [0.0] * len(terms), 0
        self._optimizer.zero_grad(set_to_none=True)
        with ExitStack() as stack:
            for dropout in self._dropouts:
                dropout.train()
                stack.callback(dropout.eval)
            if self._recompute:
                stack.enter_context(recomputing(self._layers, self._generator))
            for start in range(0, len(batch), update.micro_batch):
                part = batch[start : start + update.micro_batch]
                rows = self._rows(part, pack_to=update.pack_to)
                wanted = np.concatenate([e.tokens[e.targets()] for e in part])
                teacher = None
                if any(term.wants_teacher for term in terms):
                    with torch.no_grad(), self._model.disable_adapter():
                        teacher = self._logits(rows)
                logits, parts = self._logits(rows), []
                for i, term in enumerate(terms):
                    weights = term.weights(part)
                    value = loss_in_torch(term, logits, wanted, weights, teacher)
                    value = value * (float(weights.sum()) / wholes[i])
                    values[i] += float(value.detach())
                    parts.append(term.coefficient * value)
                sum(parts[1:], parts[0]).backward()
                targets += len(wanted)
        return values, targets

    def _forward(self, batch: Sequence[Example]) -> list[NDArray[np.float64]]:
        self._check_length(batch)
        with torch.inference_mode():
            logp = torch.log_softmax(self._logits(self._rows(batch)).double(), dim=-1)
            wanted = np.concatenate([e.tokens[e.targets()] for e in batch])
            rows = torch.arange(len(wanted), device=logp.device)
            chosen = logp[rows, torch.from_numpy(wanted).to(logp.device)].cpu().numpy()
        ends = np.cumsum([len(e.targets()) for e in batch])[:-1]
        return [np.asarray(part, dtype=np.float64) for part in np.split(chosen, ends)]

    def _predict(self, batch: Sequence[Example]) -> list[NDArray[np.int64]]:
        self._check_length(batch)
        with torch.inference_mode():
            chosen = self._logits(self._rows(batch)).argmax(dim=-1).cpu().numpy()
        ends = np.cumsum([len(e.targets()) for e in batch])[:-1]
        return [np.asarray(part, dtype=np.int64) for part in np.split(chosen, ends)]

    def _check_length(self, batch: Sequence[Example]) -> None:
        longest = max(len(e.tokens) for e in batch)
        if self.context is not None and longest > self.context:
            raise ContextLengthError(self.context, longest)

    def _rows(self, batch: Sequence[Example], *, pack_to: int | None = None) -> Rows:
        if pack_to is None:
            return padded(batch, device=self._base.device)
        longest = max(len(e.tokens) for e in batch)
        window = getattr(self._base.model.config, "sliding_window", None) or longest
        if self._packs is None:
            self._packs = self._keeps_packed_apart()
        if not self._packs or longest > window:
            reason = "the model's layers do not keep packed examples apart"
            raise UnsupportedOptionError("packing", True, "peft", reason)
        return self._packed(batch, pack_to)

    def _packed(self, batch: Sequence[Example], width: int) -> Rows:
        config, model = self._base.model.config, self._base.model
        return packed(
            batch,
            width=width,
            device=self._base.device,
            dtype=model.dtype,
            varlen=config._attn_implementation == "flash_attention_2",
        )

    def _keeps_packed_apart(self) -> bool:
        """Try it: layers with a state of their own know no borders, whatever the mask says."""
        batch = []
        for start in (1, 9):
            tokens = np.arange(start, start + 8, dtype=np.int64)
            weights = (np.arange(8) > 0).astype(np.float32)
            batch.append(Example(item_id=str(start), tokens=tokens, weights=weights))
        with torch.inference_mode():
            apart = self._logits(padded(batch, device=self._base.device))
            joined = self._logits(self._packed(batch, 16))
        return bool(torch.allclose(apart, joined, rtol=1e-2, atol=_tolerance(self._base.dtype)))

    def _logits(self, rows: Rows) -> torch.Tensor:
        """Return the logits that predict the targets of a batch, shape (N, V)."""
        base = self._model.get_base_model()
        if not self._head_alone:
            out = base(input_ids=rows.ids, use_cache=False, **rows.extra)
            return out.logits[rows.row, rows.column].float()
        hidden = base.get_decoder()(input_ids=rows.ids, use_cache=False, **rows.extra)
        return self.head(hidden.last_hidden_state[rows.row, rows.column])

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits of hidden states."""
        head = self._model.get_base_model().get_output_embeddings()
        logits: torch.Tensor = head(hidden).float()
        return logits

    def _can_call_head_alone(self) -> bool:
        """Return whether the head on hidden states gives the model's logits.

        Some models scale or cap them behind the head.
        """
        base = self._model.get_base_model()
        ids = torch.arange(1, 9, device=self._base.device)[None]
        with torch.inference_mode():
            whole = base(input_ids=ids).logits.float()
            ours = self.head(base.get_decoder()(input_ids=ids).last_hidden_state)
        return bool(torch.allclose(whole, ours, rtol=1e-3, atol=1e-3))

    def _decoder(self) -> CachedDecoder:
        base = self._model.get_base_model()
        if self._head_alone:
            return CachedDecoder(base.get_decoder(), self.head, self._base.device)
        return CachedDecoder(base, None, self._base.device)

    def _decodes_together(self) -> bool:
        """Return whether prompts of different length can be read together; try it once.

        Layers with a state of their own would read the padding too.
        """
        if self._together is None:
            long, short = list(range(1, 9)), list(range(1, 6))
            both, alone = self._decoder(), self._decoder()
            try:
                found = both.start([long, short])[1], both.advance([1], [9])[0]
            except (AttributeError, NotImplementedError):  # a cache that drops no rows
                self._together = False
                return False
            wanted = alone.start([short])[0], alone.advance([0], [9])[0]
            slack = _tolerance(self._base.dtype)
            self._together = all(
                np.allclose(f, w, rtol=1e-2, atol=slack) for f, w in zip(found, wanted, strict=True)
            )
        return self._together

    @contextmanager
    def _weights_of(self, adapter: Path | None) -> Iterator[None]:
        """Let the model be a saved adapter, or the base, for a while."""
        if adapter is None:
            with self._model.disable_adapter():
                yield
            return
        if adapter == self._loaded:
            yield
            return
        if adapter not in self._saved:
            self._saved[adapter] = self._read(adapter)
        kept = {name: p.data for name, p in self._parameters.items()}
        for name, parameter in self._parameters.items():
            parameter.data = self._saved[adapter][name]
        try:
            yield
        finally:
            for name, parameter in self._parameters.items():
                parameter.data = kept[name]

    def _read(self, path: Path) -> dict[str, torch.Tensor]:
        """Return the tensors of a saved adapter by the names of the parameters."""
        saved = load_file(path / ADAPTER, device=str(self._base.device))
        names = peft.get_peft_model_state_dict(
            self._model,
            state_dict={n: n for n in self._parameters},
            save_embedding_layers=False,
        )
        return {parameter: saved[name] for name, parameter in names.items()}

    def _export(self, path: Path, format: ExportFormat, dtype: ExportDtype) -> tuple[float, float]:
        def base() -> Any:
            model = load_base(
                self._config,
                device=torch.device("cpu"),
                dtype=torch.float32,
                attention=self._base.model.config._attn_implementation,
            ).model
            return model.eval()

        whole = self._model.get_base_model()
        try:
            with tempfile.TemporaryDirectory() as draft:
                self._save(Path(draft))
                if format == "merged":
                    live = probe(whole)
                    found = write_merged(Path(draft), path, dtype=dtype, base=base, live=live)
                    if isinstance(self.tokenizer, HFTokenizer):
                        self.tokenizer.save(path)
                else:
                    with self._rounded(dtype):
                        live = probe(whole)
                    folder = self._base.folder
                    found = write_adapter(Path(draft), path, dtype=dtype, base=base, folder=folder)
            return check(live, found)
        except BaseException:
            empty(path)
            raise

    @contextmanager
    def _rounded(self, dtype: ExportDtype) -> Iterator[None]:
        """Let the adapter have the numbers of a narrower type for a while."""
        kept = {name: p.data for name, p in self._parameters.items()}
        for p in self._parameters.values():
            p.data = p.data.to(getattr(torch, dtype)).float()
        try:
            yield
        finally:
            for name, p in self._parameters.items():
                p.data = kept[name]

    def _save(self, path: Path) -> None:
        adapter = peft.get_peft_model_state_dict(self._model, save_embedding_layers=False)
        _write(path / ADAPTER, adapter)
        facts = self._model.peft_config["default"].to_dict()
        facts = {k: sorted(v) if isinstance(v, set) else v for k, v in facts.items()}
        facts |= {"inference_mode": True, "base_model_name_or_path": self._base.name}
        text = json.dumps(facts, sort_keys=True, indent=2, default=str)
        (path / ADAPTER_CONFIG).write_text(text, encoding="utf-8")
        moments = {}
        for name, parameter in self._parameters.items():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                moments[f"{name}.{key}"] = value
        _write(path / OPTIMIZER, moments)
        _write(path / GENERATOR, {"state": self._generator.get_state()})


def _numbers(tensor: torch.Tensor) -> NDArray[np.floating[Any]]:
    return np.asarray(tensor.detach().float().cpu().numpy().copy())


def _tolerance(dtype: torch.dtype) -> float:
    return 1e-3 if dtype == torch.float32 else 0.1


def _write(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    whole = {n: t.detach().to("cpu").contiguous().clone() for n, t in tensors.items()}
    save_file(whole, path, metadata={"format": "pt"})
