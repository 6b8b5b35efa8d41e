"""Train, evaluate and serve LoRA adapters, with quality gates that mean something.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crucible_lora.backends.inprocess import InProcessBackend
    from crucible_lora.backends.peft import PeftBackend
    from crucible_lora.backends.tinker import TinkerBackend
    from crucible_lora.checkpoints import CheckpointStore
    from crucible_lora.config import LoraConfig
    from crucible_lora.evaluating import evaluate, evaluate_sync
    from crucible_lora.experiment import LoraExperiment, create_experiment
    from crucible_lora.export import export_adapter
    from crucible_lora.gates import Gate
    from crucible_lora.learning import train, train_sync
    from crucible_lora.pool import AdapterPool
    from crucible_lora.registry import AdapterRegistry
    from crucible_lora.resuming import resume, resume_sync
    from crucible_lora.sampler import Sampler
    from crucible_lora.sweeping import sweep, sweep_sync

__all__ = [
    "AdapterPool",
    "AdapterRegistry",
    "CheckpointStore",
    "Gate",
    "InProcessBackend",
    "LoraConfig",
    "LoraExperiment",
    "PeftBackend",
    "Sampler",
    "TinkerBackend",
    "create_experiment",
    "evaluate",
    "evaluate_sync",
    "export_adapter",
    "resume",
    "resume_sync",
    "sweep",
    "sweep_sync",
    "train",
    "train_sync",
]

# No module is named like a name of the root: importing it would put it in that name's place.
_HOME = {
    "backends.inprocess": ("InProcessBackend",),
    "backends.peft": ("PeftBackend",),
    "backends.tinker": ("TinkerBackend",),
    "checkpoints": ("CheckpointStore",),
    "config": ("LoraConfig",),
    "evaluating": ("evaluate", "evaluate_sync"),
    "experiment": ("LoraExperiment", "create_experiment"),
    "export": ("export_adapter",),
    "gates": ("Gate",),
    "learning": ("train", "train_sync"),
    "pool": ("AdapterPool",),
    "registry": ("AdapterRegistry",),
    "resuming": ("resume", "resume_sync"),
    "sampler": ("Sampler",),
    "sweeping": ("sweep", "sweep_sync"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names:
            found = getattr(import_module(f"crucible_lora.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
