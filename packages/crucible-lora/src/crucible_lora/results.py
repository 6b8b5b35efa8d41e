"""What training returns, and reports of every kind as one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from crucible_lora.export_rows import to_csv, to_json, to_parquet
from crucible_lora.gates import QualityReport
from crucible_lora.masking import MaskReport
from crucible_lora.records import Record
from crucible_lora.sealed import Checkpoint

__all__ = ["StepRow", "Stopped", "TrainingReport", "to_csv", "to_json", "to_parquet"]

Stopped = Literal["completed", "max_steps", "early_stopping", "cancelled", "deadline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow(Record):
    """One update; `step` counts from 1, `epoch` from 0.

    `loss` is None, and `skipped` says why, where the update was skipped. `validation` is set after
    the updates at which held-out items were looked at, `gradients` after those at which hooks were
    called, by the name of the hook. `duration_s` is None for updates that an earlier process made.
    """

    step: int
    epoch: int
    loss: float | None
    components: Mapping[str, float]
    learning_rate: float
    grad_norm: float | None
    tokens: int
    duration_s: float | None = None
    validation: Mapping[str, float] | None = None
    skipped: str | None = None
    gradients: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport(Record):
    """One run. Seconds and US dollars; None is unknown.

    `loss_first` is the loss of step 1, `loss_final` the mean of the last 10 steps,
    `loss_reduction` 1 - final / first. `tokens` and `target_tokens` count what was trained on,
    repeats included. A falling loss is no proof of quality: `quality` is, from held-out items.
    """

    experiment_id: str
    run_id: str
    backend: str
    steps: int
    epochs_completed: int
    examples: int
    tokens: int
    target_tokens: int
    loss_first: float | None
    loss_final: float | None
    loss_reduction: float | None
    history: tuple[StepRow, ...]
    mask: MaskReport
    checkpoints: tuple[Checkpoint, ...]
    best: Checkpoint | None
    quality: QualityReport | None
    stopped: Stopped
    seed: int
    config_digest: str
    dataset_fingerprint: str
    device: str
    dtype: str
    tokens_per_s: float | None
    peak_memory_bytes: int | None
    cost_usd: float | None
    versions: Mapping[str, str]
    warnings: tuple[str, ...]

    def to_rows(self) -> list[Mapping[str, Any]]:
        """Return one row per update."""
        head = {
            "kind": "step",
            "experiment_id": self.experiment_id,
            "run_id": self.run_id,
            "backend": self.backend,
        }
        rows = [row.to_dict() for row in self.history]
        return [{**head, **{k: v for k, v in row.items() if k != "schema"}} for row in rows]

    def markdown(self) -> str:
        """Return the run as Markdown."""
        from crucible_lora.tables import markdown_table

        facts = [
            ["backend", self.backend],
            ["steps", f"{self.steps} ({self.stopped.replace('_', ' ')})"],
            ["loss", f"{_number(self.loss_first)} → {_number(self.loss_final)}"],
            ["target tokens", f"{self.mask.target_fraction:.1%} of the data set's"],
            ["best checkpoint", "none" if self.best is None else self.best.name],
        ]
        parts = [markdown_table(["training", self.experiment_id], facts)]
        if self.quality is not None:
            parts.append(self.quality.markdown())
        parts += [f"Warning: {text}" for text in self.warnings]
        return "\n\n".join(parts)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
