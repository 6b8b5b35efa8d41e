"""An adapter on a model: which layers, which first weights, which dropout."""

import math
import warnings
from typing import Any

import numpy as np
import peft
import torch
import transformers

from crucible_lora.config import LoraConfig
from crucible_lora.errors import UnsupportedOptionError


def with_adapter(model: Any, config: LoraConfig, generator: torch.Generator) -> Any:
    """Return a base model with a LoRA adapter whose dropout draws from a generator.

    Raises
    ------
    UnsupportedOptionError
        If the model has no layers as the configuration wants.
    """
    alpha = 2.0 * config.rank if config.alpha is None else config.alpha
    adapter = peft.LoraConfig(
        r=config.rank,
        lora_alpha=alpha,
        lora_dropout=config.dropout,
        use_rslora=config.rslora,
        target_modules=_targets(model, config),
        modules_to_save=list(config.modules_to_save) or None,
        bias="none",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # PEFT asks transformers a question that transformers has renamed.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        adapted = peft.get_peft_model(model, adapter)
    for module in list(adapted.modules()):
        dropouts = getattr(module, "lora_dropout", None)
        if dropouts is not None and config.dropout:
            dropouts["default"] = SeededDropout(config.dropout, generator)
    return adapted


def cast_around_whole_modules(model: Any) -> None:
    """Let modules trained whole, in float32, take and give the numbers of their neighbours."""

    def take(module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        kind = next(module.parameters()).dtype
        return tuple(
            g.to(kind) if torch.is_tensor(g) and g.is_floating_point() else g for g in given
        )

    def give(module: Any, given: tuple[Any, ...], out: Any) -> Any:
        return out.to(given[0].dtype) if torch.is_tensor(out) else out

    head = model.get_base_model().get_output_embeddings()
    for module in model.modules():
        trained = getattr(module, "modules_to_save", None)
        if trained is not None and "default" in trained:
            trained["default"].register_forward_pre_hook(take)
            if module is not head:  # logits stay as exact as they are
                trained["default"].register_forward_hook(give)


def draw_first_weights(model: Any, seed: int) -> None:
    """Draw A within 1/sqrt(fan-in), as PEFT does, from a generator of this run's own; B is zero."""
    rng = np.random.default_rng(seed)
    for name, parameter in sorted(model.named_parameters()):
        if ".lora_A." in name:
            bound = 1 / math.sqrt(parameter.shape[1])
            drawn = rng.uniform(-bound, bound, tuple(parameter.shape))
            parameter.data.copy_(torch.from_numpy(drawn))


def _targets(model: Any, config: LoraConfig) -> list[str]:
    """Return the names of the layers to adapt."""
    head = model.get_output_embeddings()
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | transformers.pytorch_utils.Conv1D)
        and module is not head
    }
    wanted = config.target_modules
    if isinstance(wanted, tuple):
        found = {n for n in layers if any(n == w or n.endswith(f".{w}") for w in wanted)}
        missing = [w for w in wanted if not any(n == w or n.endswith(f".{w}") for n in layers)]
        if missing:
            leaves = ", ".join(sorted({n.rpartition(".")[2] for n in layers}))
            reason = f"the model has no linear layer {missing[0]!r}; it has {leaves}"
            raise UnsupportedOptionError("target_modules", wanted, "peft", reason)
    else:
        marks = {"all-linear": ("",), "attention": ("attn", "attention"), "mlp": ("mlp", "ffn")}
        found = {n for n in layers if any(m in n.lower() for m in marks[wanted])}
        if not found:
            reason = "the model has no layer of that kind; name its layers"
            raise UnsupportedOptionError("target_modules", wanted, "peft", reason)
    names = {n.rpartition(".")[2] for n in found}
    exact = {n for n in layers if n.rpartition(".")[2] in names} == found
    targets = sorted(names if exact else found)
    if config.unembed:
        if model.config.tie_word_embeddings:
            reason = "the model's head is its embedding too, so it cannot be adapted alone"
            raise UnsupportedOptionError("unembed", True, "peft", reason)
        targets += [n.rpartition(".")[2] for n, m in model.named_modules() if m is head]
    return targets


class SeededDropout(torch.nn.Module):  # type: ignore[misc] # torch is not followed
    """Dropout that draws from a generator of its own."""

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share, self.generator = share, generator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop a share of the values while training."""
        if not self.training:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.share, generator=self.generator)
        return x * kept / (1 - self.share)
