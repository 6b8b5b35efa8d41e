"""The layers of a model, and other ways to go through them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch


def layers_of(decoder: Any) -> Sequence[Any]:
    """Return the layers of a decoder, one above the other; empty if they cannot be told."""
    count = getattr(decoder.config, "num_hidden_layers", None)
    for module in decoder.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return list(module)
    return ()


@contextmanager
def through(layers: Sequence[Any], forwards: Sequence[Callable[..., Any]]) -> Iterator[None]:
    """Let layers compute through other functions, on the instances, for as long as this lasts."""
    before = [vars(layer).get("forward") for layer in layers]
    for layer, forward in zip(layers, forwards, strict=True):
        layer.forward = forward
    try:
        yield
    finally:
        for layer, forward in zip(layers, before, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward
