"""A base with one adapter: what the two compute together."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crucible_lora.backends.adapting import (
    SeededDropout,
    cast_around_whole_modules,
    draw_first_weights,
    with_adapter,
)
from crucible_lora.backends.bases import Base
from crucible_lora.backends.compiling import CompiledLayers
from crucible_lora.backends.layers import layers_of
from crucible_lora.backends.rows import Rows, packed, padded
from crucible_lora.backends.torch_decoding import CachedDecoder
from crucible_lora.config import LoraConfig
from crucible_lora.errors import ContextLengthError, UnsupportedOptionError
from crucible_lora.ports import Example


class Adapted:
    """A base and a fresh adapter, whose B is zero.

    Parameters
    ----------
    base : Base
        Its modules are changed, its weights are not.
    config : LoraConfig
    seed : int
        Of the first weights and of the adapter's dropout.
    compile : bool
        Whether torch compiles the layers. Answers are written without that.

    Raises
    ------
    UnsupportedOptionError
        If the layers are to be compiled and cannot be told.

    Attributes
    ----------
    model : PeftModel
    generator : torch.Generator
        What the dropout draws from.
    parameters : mapping of name to tensor
        What is trained, in float32.
    layers : modules
        The layers of the base, one above the other; empty if they cannot be told.
    dropouts : modules
        Awake in training mode; everything else stays as for an answer.
    """

    def __init__(self, base: Base, config: LoraConfig, *, seed: int, compile: bool) -> None:
        self.base = base
        self.generator = torch.Generator(device=base.device).manual_seed(seed)
        self.model = with_adapter(base.model, config, self.generator)
        self.model.eval()
        draw_first_weights(self.model, seed)
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        for parameter in self.parameters.values():
            parameter.data = parameter.data.float()
        cast_around_whole_modules(self.model)
        self.layers = layers_of(self.model.get_base_model().get_decoder())
        self.dropouts = [m for m in self.model.modules() if isinstance(m, SeededDropout)]
        self._head_alone = self._can_call_head_alone()
        if compile and not self.layers:
            reason = "the model's layers cannot be told"
            raise UnsupportedOptionError("compile", True, "peft", reason)
        self._compiled = CompiledLayers(self.layers) if compile else None
        self._packs: bool | None = None  # whether packed examples stay apart, once it was tried
        self._together: bool | None = None  # whether prompts can be read together, likewise

    @property
    def trainable(self) -> int:
        """Number of values that are trained."""
        return sum(p.numel() for p in self.parameters.values())

    @contextmanager
    def without(self) -> Iterator[None]:
        """Let the model be the base for a while."""
        with self.model.disable_adapter():
            yield

    def compiled(self) -> AbstractContextManager[None]:
        """Let layers be the compiled ones for a while, if there are any."""
        return nullcontext() if self._compiled is None else self._compiled.held()

    @contextmanager
    def holding(self, tensors: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """Let the parameters have other numbers for a while."""
        kept = {name: p.data for name, p in self.parameters.items()}
        for name, parameter in self.parameters.items():
            parameter.data = tensors[name]
        try:
            yield
        finally:
            for name, parameter in self.parameters.items():
                parameter.data = kept[name]

    def forward(self, batch: Sequence[Example]) -> list[NDArray[np.float64]]:
        """Return the log-probability of each target token, one array per example."""
        with torch.inference_mode():
            logp = torch.log_softmax(self._of_targets(batch).double(), dim=-1)
            wanted = np.concatenate([e.tokens[e.targets()] for e in batch])
            rows = torch.arange(len(wanted), device=logp.device)
            chosen = logp[rows, torch.from_numpy(wanted).to(logp.device)].cpu().numpy()
        return [np.asarray(part, dtype=np.float64) for part in _by_example(chosen, batch)]

    def predict(self, batch: Sequence[Example]) -> list[NDArray[np.int64]]:
        """Return the likeliest token at each target, one array per example."""
        with torch.inference_mode():
            chosen = self._of_targets(batch).argmax(dim=-1).cpu().numpy()
        return [np.asarray(part, dtype=np.int64) for part in _by_example(chosen, batch)]

    def _of_targets(self, batch: Sequence[Example]) -> torch.Tensor:
        longest, context = max(len(e.tokens) for e in batch), self.base.context
        if context is not None and longest > context:
            raise ContextLengthError(context, longest)
        rows = self.rows(batch)
        with self.compiled():
            return self.logits(rows)

    def rows(self, batch: Sequence[Example], *, pack_to: int | None = None) -> Rows:
        """Return examples as rows, several in one of at most `pack_to` tokens if that is given.

        Raises
        ------
        UnsupportedOptionError
            If the model's layers do not keep packed examples apart.
        """
        if pack_to is None:
            return padded(batch, device=self.base.device)
        longest = max(len(e.tokens) for e in batch)
        window = getattr(self.base.model.config, "sliding_window", None) or longest
        if self._packs is None:
            self._packs = self._keeps_packed_apart()
        if not self._packs or longest > window:
            reason = "the model's layers do not keep packed examples apart"
            raise UnsupportedOptionError("packing", True, "peft", reason)
        return self._packed(batch, pack_to)

    def _packed(self, batch: Sequence[Example], width: int) -> Rows:
        config, model = self.base.model.config, self.base.model
        return packed(
            batch,
            width=width,
            device=self.base.device,
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
            apart = self.logits(padded(batch, device=self.base.device))
            joined = self.logits(self._packed(batch, 16))
        return bool(torch.allclose(apart, joined, rtol=1e-2, atol=_tolerance(self.base.dtype)))

    def logits(self, rows: Rows) -> torch.Tensor:
        """Return the logits that predict the targets of a batch, shape (N, V)."""
        base = self.model.get_base_model()
        if not self._head_alone:
            out = base(input_ids=rows.ids, use_cache=False, **rows.extra)
            return out.logits[rows.row, rows.column].float()
        hidden = base.get_decoder()(input_ids=rows.ids, use_cache=False, **rows.extra)
        return self._head(hidden.last_hidden_state[rows.row, rows.column])

    def _head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits of hidden states."""
        head = self.model.get_base_model().get_output_embeddings()
        logits: torch.Tensor = head(hidden).float()
        return logits

    def _can_call_head_alone(self) -> bool:
        """Return whether the head on hidden states gives the model's logits.

        Some models scale or cap them behind the head.
        """
        base = self.model.get_base_model()
        ids = torch.arange(1, 9, device=self.base.device)[None]
        with torch.inference_mode():
            whole = base(input_ids=ids).logits.float()
            ours = self._head(base.get_decoder()(input_ids=ids).last_hidden_state)
        return bool(torch.allclose(whole, ours, rtol=1e-3, atol=1e-3))

    def decoder(self) -> CachedDecoder:
        """Return the model as it writes answers."""
        base = self.model.get_base_model()
        if self._head_alone:
            return CachedDecoder(base.get_decoder(), self._head, self.base.device)
        return CachedDecoder(base, None, self.base.device)

    def decodes_together(self) -> bool:
        """Return whether prompts of different length can be read together; try it once.

        Layers with a state of their own would read the padding too.
        """
        if self._together is None:
            long, short = list(range(1, 9)), list(range(1, 6))
            both, alone = self.decoder(), self.decoder()
            try:
                found = both.start([long, short])[1], both.advance([1], [9])[0]
            except (AttributeError, NotImplementedError):  # a cache that drops no rows
                self._together = False
                return False
            wanted = alone.start([short])[0], alone.advance([0], [9])[0]
            slack = _tolerance(self.base.dtype)
            self._together = all(
                np.allclose(f, w, rtol=1e-2, atol=slack) for f, w in zip(found, wanted, strict=True)
            )
        return self._together


def _by_example(values: NDArray[Any], batch: Sequence[Example]) -> list[NDArray[Any]]:
    return np.split(values, np.cumsum([len(e.targets()) for e in batch])[:-1])


def _tolerance(dtype: torch.dtype) -> float:
    return 1e-3 if dtype == torch.float32 else 0.1
