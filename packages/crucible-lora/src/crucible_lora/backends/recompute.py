"""Gradient checkpointing: layers keep their input alone and compute again on the way back."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from crucible_lora.backends.layers import through


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

    # Not by transformers' own switch: it works in training mode alone, which would wake the dropout
    # of the base.
    again = [
        partial(
            checkpoint,
            layer.forward,
            use_reentrant=False,
            preserve_rng_state=False,  # the global generators are not drawn from
            context_fn=contexts,
        )
        for layer in layers
    ]
    with through(layers, again):
        yield


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
