"""How a run is made: what `train` was asked for, checked and stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crucible_lora.gates import Direction, Gate
from crucible_lora.masking import Truncation
from crucible_lora.metrics import (
    METRICS,
    TEACHER_FORCED,
    direction_of,
    find_metric,
    unknown_metric,
)
from crucible_lora.records import Record
from crucible_lora.schemas import OutputSchema, cites


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping(Record):
    """Stop once a metric of the held-out items no longer improves.

    Parameters
    ----------
    metric : {"nll", "perplexity", "token_accuracy"}
    direction : {"min", "max"}
        The way in which that metric is better.
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
        if self.metric not in TEACHER_FORCED:
            known = ", ".join(TEACHER_FORCED)
            raise ValueError(f"`metric` must be one of {known}, got {self.metric!r}")
        way = direction_of(self.metric)
        if self.direction != way:
            raise ValueError(f"`direction` must be {way} for {self.metric}, got {self.direction!r}")
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
    packing: bool
    holdout: float
    gates: tuple[Gate, ...]
    hook_every: int
    early_stopping: EarlyStopping | None

    def __post_init__(self) -> None:
        counts = ("epochs", "batch_size", "accumulate", "checkpoint_every", "max_length")
        for name in (*counts, "hook_every"):
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
        gates = tuple(gate_on(metric, target) for metric, target in targets.items())
    else:
        gates = tuple(targets)
    for gate in gates:
        check_gate(gate, scorers=())
        missing = lacking(gate.metric, schema=schema)
        if missing is not None:
            where = ""
            if missing in ("an `entailment`", "a `similarity`"):
                where = ", which `evaluate` takes"
            raise ValueError(f"quality target {gate.metric!r} needs {missing}{where}: give one")
    return gates


def gate_on(name: str, target: float) -> Gate:
    """Return the gate on a metric in its own direction: at least, or at most, the target."""
    metric = find_metric(name)
    if metric is None:
        return Gate(name, target)
    way: Direction = "min" if metric.direction == "max" else "max"
    return Gate(name, target, direction=way, primary=metric.primary)


def lacking(
    name: str, *, schema: OutputSchema | None, entailment: bool = False, similarity: bool = False
) -> str | None:
    """Return what a metric needs that was not given, if anything."""
    metric = find_metric(name)
    there: dict[str, bool] = {
        "a `schema`": schema is not None,
        "a `schema` with citations": schema is not None and cites(schema),
        "an `entailment`": entailment,
        "a `similarity`": similarity,
    }
    needs = () if metric is None else metric.needs
    return next((need for need in needs if not there[need]), None)


def check_gate(gate: Gate, *, scorers: Sequence[str]) -> None:
    """Raise `ValueError` for a gate on a metric that has no score per output."""
    known = [*scorers, *(m.name for m in METRICS if m.rate)]
    if gate.metric not in known:
        raise unknown_metric(gate.metric, known)
