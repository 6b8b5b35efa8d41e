"""Train, evaluate and serve LoRA adapters, with quality gates that mean something."""

from crucible_lora.backends.inprocess import InProcessBackend
from crucible_lora.backends.peft import PeftBackend
from crucible_lora.checkpoints import CheckpointStore
from crucible_lora.config import LoraConfig
from crucible_lora.evaluate import evaluate, evaluate_sync
from crucible_lora.experiment import LoraExperiment, create_experiment
from crucible_lora.gates import Gate
from crucible_lora.resume import resume, resume_sync
from crucible_lora.sampler import Sampler
from crucible_lora.sweep import sweep, sweep_sync
from crucible_lora.train import train, train_sync

__all__ = [
    "CheckpointStore",
    "Gate",
    "InProcessBackend",
    "LoraConfig",
    "LoraExperiment",
    "PeftBackend",
    "Sampler",
    "create_experiment",
    "evaluate",
    "evaluate_sync",
    "resume",
    "resume_sync",
    "sweep",
    "sweep_sync",
    "train",
    "train_sync",
]
