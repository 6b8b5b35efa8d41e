"""Gradient checkpointing: layers keep their input alone and compute again on the way back."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def layers_of(decoder: Any) -> Sequence[Any]:
    """Return the layers of a decoder, one above the other; empty if they cannot be told."""
    count = getattr(decoder.config, "num_hidden_layers", None)
    for module in decoder.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return list(module)
    return ()


@contextmanager
def recomputing(layers: Sequence[Any], generator: torch.Generator) -> Iterator[None]:
    """Let layers compute twice and remember less, for as long as this lasts.

    Parameters
    ----------
    layers : modules
    generator : torch.Generator
        What their dropout draws from; the second time draws what the first did.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _again(generator, generator.get_state())

    for layer in layers:
        # On the instance: transformers' own switch works in training mode alone, which would
        # wake the dropout of the base.
        layer.forward = partial(
            checkpoint,
            layer.forward,
            use_reentrant=False,
            preserve_rng_state=False,  # the global generators are not drawn from
            context_fn=contexts,
        )
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


@contextmanager
def _again(generator: torch.Generator, state: torch.Tensor) -> Iterator[None]:
    now = generator.get_state()
    generator.set_state(state)
    try:
        yield
    finally:
        generator.set_state(now)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch could not get memory, on a GPU or a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
