"""Torch's own settings, held while a session computes and put back behind it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from crucible_lora.errors import UnsupportedOptionError

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchSettings:
    """Number of threads (None: as it is), and whether only deterministic algorithms may run."""

    threads: int | None = None
    deterministic: bool = False

    def check(self, device: torch.device) -> None:
        """Check that a device can be held to these.

        Raises
        ------
        UnsupportedOptionError
            If cuBLAS was not told before the process began.
        """
        known = (":4096:8", ":16:8")
        if self.deterministic and device.type == "cuda" and os.environ.get(_WORKSPACE) not in known:
            reason = f"set the environment variable {_WORKSPACE}=:4096:8 before Python starts"
            raise UnsupportedOptionError("deterministic", True, "peft", reason)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let torch compute like this for a while."""
        threads = torch.get_num_threads()
        strict = torch.are_deterministic_algorithms_enabled()
        warn = torch.is_deterministic_algorithms_warn_only_enabled()
        fewer = self.threads is not None and self.threads != threads
        if fewer:
            torch.set_num_threads(self.threads)
        if self.deterministic:
            torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            if fewer:
                torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict, warn_only=warn)
