"""Layers that torch has compiled for this machine."""

import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from crucible_lora.backends.layers import through
from crucible_lora.errors import UnsupportedOptionError

_BY = "inductor"


class CompiledLayers:
    """The layers of a model, compiled when they are first used, for any shape.

    One layer is compiled at a time and not the whole model: all layers share what was compiled for
    the first, and computing a layer again on the way back stays possible.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self._layers = layers
        self._forwards = [
            torch.compile(layer.forward, dynamic=True, backend=_BY) for layer in layers
        ]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the model compute through them for a while.

        Raises
        ------
        UnsupportedOptionError
            If torch cannot compile them.
        """
        from torch._dynamo.exc import TorchDynamoException

        try:
            with warnings.catch_warnings(), through(self._layers, self._forwards):
                # Torch's, about what its own tracing does.
                warnings.filterwarnings(
                    "ignore", ".*not a leaf Tensor is being accessed", UserWarning
                )
                yield
        except TorchDynamoException as error:
            first = str(error).strip().partition("\n")[0]
            reason = f"torch could not compile the layers: {first}"
            raise UnsupportedOptionError("compile", True, "peft", reason) from error


def require_compiler(device: torch.device) -> None:
    """Raise `UnsupportedOptionError` where torch finds nothing to compile with."""
    names = {"win32": "cl", "darwin": "clang++"}
    name = os.environ.get("CXX", names.get(sys.platform, "g++"))
    if shutil.which(name) is None:
        reason = f"torch needs a C++ compiler, and there is no {name!r} here"
        raise UnsupportedOptionError("compile", True, "peft", reason)
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        reason = "torch needs Triton for a CUDA device"
        raise UnsupportedOptionError("compile", True, "peft", reason)
