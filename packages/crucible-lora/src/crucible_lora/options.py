"""How a run is made: what `train` was asked for, checked and stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crucible_lora.gates import Direction, Gate
from crucible_lora.losses import CrossEntropy
from crucible_lora.masking import Truncation
from crucible_lora.metrics import METRICS, find_metric, unknown_metric
from crucible_lora.ports import LossFunction
from crucible_lora.records import Record
from crucible_lora.schemas import JsonSchema, OutputSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping(Record):
    """Stop once a metric of the held-out items no longer improves.

    Parameters
    ----------
    metric : {"nll"}
    direction : {"min", "max"}
    patience : int, >= 1
        Looks at the held-out items without improvement.
    min_delta : float, >= 0
        What counts as improvement.
    """

    metric: str = "nll"
    direction: Direction = "min"
    patience: int = 3
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.metric != "nll":
            raise ValueError(f"`metric` must be nll, got {self.metric!r}")
        if self.direction not in ("min", "max"):
            raise ValueError(f"`direction` must be min or max, got {self.direction!r}")
        if self.patience < 1:
            raise ValueError(f"`patience` must be >= 1, got {self.patience}")
        if not self.min_delta >= 0:
            raise ValueError(f"`min_delta` must be >= 0, got {self.min_delta}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions(Record):
    """The arguments of `train` that decide what comes out."""

    epochs: int
    batch_size: int
    accumulate: int
    checkpoint_every: int
    evaluate_every: int | None
    max_steps: int | None
    max_length: int
    truncation: Truncation
    holdout: float
    gates: tuple[Gate, ...]
    early_stopping: EarlyStopping | None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "checkpoint_every", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be >= 1, got {getattr(self, name)}")
        for name in ("evaluate_every", "max_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be >= 1 or None, got {value}")
        if self.truncation not in ("error", "drop", "left"):
            rule = "error, drop or left"
            raise ValueError(f"`truncation` must be {rule}, got {self.truncation!r}")
        if not 0 < self.holdout < 1:
            raise ValueError(f"`holdout` must be in (0, 1), got {self.holdout}")

    @property
    def looks(self) -> bool:
        """Whether something asks for held-out items."""
        return bool(self.gates or self.evaluate_every or self.early_stopping)


def read_gates(
    targets: Mapping[str, float] | Sequence[Gate] | None, *, schema: OutputSchema | None
) -> tuple[Gate, ...]:
    """Return the gates that `quality_targets` asks for.

    Raises
    ------
    ValueError
        For a metric that is unknown, is no gate's, or needs something that was not given.
    """
    if targets is None:
        return ()
    if isinstance(targets, Mapping):
        gates = tuple(Gate(metric, target) for metric, target in targets.items())
    else:
        gates = tuple(targets)
    for gate in gates:
        check_gate(gate, scorers=())
        metric = find_metric(gate.metric)
        if metric is not None and metric.needs is not None and schema is None:
            raise ValueError(f"quality target {gate.metric!r} needs {metric.needs}: give one")
    return gates


def check_gate(gate: Gate, *, scorers: Sequence[str]) -> None:
    """Raise `ValueError` for a gate on a metric that has no score per output."""
    known = [*scorers, *(m.name for m in METRICS if m.rate)]
    if gate.metric not in known:
        raise unknown_metric(gate.metric, known)


def loss_to_dict(loss: LossFunction) -> dict[str, Any]:
    """Return a loss as a mapping; one that is not of this package leaves its name alone."""
    if isinstance(loss, CrossEntropy):
        return {"name": loss.name, "label_smoothing": loss.label_smoothing}
    return {"name": loss.name, "custom": True}


def schema_to_dict(schema: OutputSchema | None) -> dict[str, Any] | None:
    """Return a schema as a mapping; one that is not of this package leaves a mark alone."""
    if schema is None:
        return None
    return schema.to_dict() if isinstance(schema, JsonSchema) else {"custom": True}
