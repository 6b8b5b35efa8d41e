"""Adapters on disk: in PEFT's layout, with all that a session needs to go on."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import load_file, save_file

from crucible_lora.backends.adapted import Adapted
from crucible_lora.files import sha256_file

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
OPTIMIZER, GENERATOR = "optimizer.safetensors", "generator.safetensors"


def save_adapter(path: Path, adapted: Adapted) -> None:
    """Write an adapter as PEFT reads it."""
    state = peft.get_peft_model_state_dict(adapted.model, save_embedding_layers=False)
    _write(path / ADAPTER, state)
    facts = adapted.model.peft_config["default"].to_dict()
    facts = {k: sorted(v) if isinstance(v, set) else v for k, v in facts.items()}
    facts |= {"inference_mode": True, "base_model_name_or_path": adapted.base.name}
    text = json.dumps(facts, sort_keys=True, indent=2, default=str)
    (path / ADAPTER_CONFIG).write_text(text, encoding="utf-8")


def save_progress(path: Path, adapted: Adapted, optimizer: Any) -> None:
    """Write what training goes on from beside the adapter: optimiser and generator."""
    moments = {}
    for name, parameter in adapted.parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            moments[f"{name}.{key}"] = value
    _write(path / OPTIMIZER, moments)
    _write(path / GENERATOR, {"state": adapted.generator.get_state()})


def load_all(path: Path, adapted: Adapted, optimizer: Any) -> None:
    """Set adapter, optimiser and generator to what was saved."""
    peft.set_peft_model_state_dict(adapted.model, load_file(path / ADAPTER))
    moments = load_file(path / OPTIMIZER, device=str(adapted.base.device))
    for name, parameter in adapted.parameters.items():
        if f"{name}.step" in moments:
            optimizer.state[parameter] = {
                "step": moments[f"{name}.step"].cpu(),
                "exp_avg": moments[f"{name}.exp_avg"],
                "exp_avg_sq": moments[f"{name}.exp_avg_sq"],
            }
    adapted.generator.set_state(load_file(path / GENERATOR)["state"])


class SavedAdapters:
    """The saved adapters that answer in the place of the one in training."""

    def __init__(self, adapted: Adapted) -> None:
        self._adapted = adapted
        self._tensors: dict[Path, dict[str, torch.Tensor]] = {}
        self._digests: dict[Path, str] = {}
        self._loaded: Path | None = None  # whose weights the parameters are, until an update

    def loaded(self, path: Path | None) -> None:
        """Note whose weights the parameters are; None for nobody's since an update."""
        self._loaded = path
        if path is not None:
            self.digest(path)

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a saved adapter."""
        # Kept, since a checkpoint may be pruned while it answers.
        if path not in self._digests:
            self._digests[path] = sha256_file(path / ADAPTER)
        return self._digests[path]

    @contextmanager
    def answering(self, adapter: Path | None) -> Iterator[None]:
        """Let the model be a saved adapter, or the base, for a while."""
        if adapter is None:
            with self._adapted.without():
                yield
        elif adapter == self._loaded:
            yield
        else:
            if adapter not in self._tensors:
                self._tensors[adapter] = self._read(adapter)
            with self._adapted.holding(self._tensors[adapter]):
                yield

    def _read(self, path: Path) -> dict[str, torch.Tensor]:
        """Return the tensors of a saved adapter by the names of the parameters."""
        saved = load_file(path / ADAPTER, device=str(self._adapted.base.device))
        names = peft.get_peft_model_state_dict(
            self._adapted.model,
            state_dict={n: n for n in self._adapted.parameters},
            save_embedding_layers=False,
        )
        return {parameter: saved[name] for name, parameter in names.items()}


def _write(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    whole = {n: t.detach().to("cpu").contiguous().clone() for n, t in tensors.items()}
    save_file(whole, path, metadata={"format": "pt"})
