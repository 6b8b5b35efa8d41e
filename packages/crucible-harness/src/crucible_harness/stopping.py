"""When a run has seen enough: after a number that was fixed, or as soon as the data decide."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from crucible_harness.metrics import Metric, metric_of
from crucible_harness.schedule import Cell

if TYPE_CHECKING:
    from crucible_bench.sequential import SequentialComparison

Decision = Literal["superior", "inferior"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedN:
    """Every planned cell is run."""

    def to_dict(self) -> dict[str, Any]:
        """Return what is hashed."""
        return {"kind": "fixed_n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlwaysValid:
    """Looks at one hypothesis while the run goes on, and stops it once that is decided.

    Attributes
    ----------
    hypothesis : str
        Id of a hypothesis about a difference of a metric with bounds; within items only.
    look_every : int, >= 1
        Items between two looks.
    min_items : int, >= 0
        Items before the first look.
    max_items : int, >= 1, optional
        Items after which the run stops without a decision.

    Notes
    -----
    Items count in schedule order, each once it and all before it are finished, so that the stopping
    point depends on the answers alone and not on concurrency. The probability of ever stopping for
    an effect while there is none is at most the hypothesis' alpha, however often one looks. What
    was in work beyond the stopping item is *surplus*: paid, kept, shown, and left out of the
    confirmatory analysis.
    """

    hypothesis: str
    look_every: int = 10
    min_items: int = 0
    max_items: int | None = None

    def __post_init__(self) -> None:
        if self.look_every < 1:
            raise ValueError(f"`look_every` must be >= 1, got {self.look_every}")
        if self.min_items < 0:
            raise ValueError(f"`min_items` must be >= 0, got {self.min_items}")
        if self.max_items is not None and self.max_items < max(1, self.min_items):
            raise ValueError(f"`max_items` must be >= 1 and min_items, got {self.max_items}")

    def to_dict(self) -> dict[str, Any]:
        """Return what is hashed."""
        return {"kind": "always_valid", **asdict(self)}


Stopping = FixedN | AlwaysValid


def read_stopping(stored: Mapping[str, Any] | None) -> Stopping:
    """Read a stopping rule back from what `to_dict` returned.

    Raises
    ------
    ValueError
        If its kind is unknown.
    """
    if stored is None or stored["kind"] == "fixed_n":
        return FixedN()
    if stored["kind"] == "always_valid":
        return AlwaysValid(**{name: value for name, value in stored.items() if name != "kind"})
    raise ValueError(f"`kind` must be fixed_n or always_valid, got {stored['kind']!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was known after `items` items; an e-value of None is beyond a float."""

    items: int
    pairs: int
    e_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitored:
    """What the sequential comparison needs to know of a design."""

    rule: AlwaysValid
    treatment: str
    control: str
    metric: Metric
    alpha: float
    repeats: int

    @property
    def binary(self) -> bool:
        """Say whether a pair of items can only be right or wrong."""
        return self.metric.name == "accuracy" and self.repeats == 1

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the bounds of the metric."""
        assert self.metric.bounds is not None  # checked by `check_stopping`
        return self.metric.bounds

    def comparison(self) -> "SequentialComparison":
        """Return the comparison before the first pair."""
        from crucible_bench import SequentialComparison

        return SequentialComparison(
            outcome="binary" if self.binary else "bounded", bounds=self.bounds, alpha=self.alpha
        )


def check_stopping(
    stopping: Stopping, *, hypotheses: Sequence[Any], metrics: Sequence[Metric], within: bool
) -> None:
    """Check that a rule fits the design.

    Raises
    ------
    ValueError
        If its hypothesis is unknown or not a difference of a bounded mean, or the design compares
        across items.
    """
    if isinstance(stopping, FixedN):
        return
    if not within:
        raise ValueError("`stopping` must be FixedN() for designs that compare across items")
    found = next((h for h in hypotheses if h.id == stopping.hypothesis), None)
    if found is None:
        ids = ", ".join(h.id for h in hypotheses) or "there is none"
        raise ValueError(f"`stopping` must name a hypothesis ({ids}), got {stopping.hypothesis!r}")
    metric = metric_of(metrics, found.metric)
    if found.contrast != "difference" or metric is None or metric.bounds is None:
        raise ValueError(
            f"`stopping` must be about a difference of a metric with bounds, hypothesis "
            f"{found.id!r} is about {found.contrast} of {found.metric}"
        )
    if metric.reducer not in ("mean", "rate"):
        raise ValueError(f"`stopping` must be about a mean, got {metric.label}")


class SequentialWatch:
    """Feeds pairs of items to the comparison in schedule order, whatever order they end in.

    Parameters
    ----------
    monitored : Monitored
    plan : every cell in schedule order
    """

    def __init__(self, monitored: Monitored, plan: Sequence[Cell]) -> None:
        self.monitored = monitored
        self._rule = monitored.rule
        self._comparison = monitored.comparison()
        self._state = self._comparison.state
        self._waiting: dict[str, int] = {}
        for cell in plan:
            self._waiting[cell.item] = self._waiting.get(cell.item, 0) + 1
        self._order = list(self._waiting)
        self._scores: dict[str, dict[str, list[float | None]]] = {}
        self._next = 0
        self.pairs: list[tuple[float, float]] = []
        self.looks: list[Look] = []
        self.most_log_e = 0.0
        self.stopped_at: int | None = None
        self.decision: Decision | None = None

    @property
    def decided(self) -> bool:
        """Say whether enough is known."""
        return self.stopped_at is not None

    @property
    def counted(self) -> frozenset[str]:
        """Return the items that count: those up to the stopping item."""
        end = self._next if self.stopped_at is None else self.stopped_at
        return frozenset(self._order[:end])

    def add(self, *, condition: str, item: str, value: float | None) -> bool:
        """Take a finished cell into account; say whether enough is known now.

        Parameters
        ----------
        value : float or None
            Of the metric, failures at its worse bound; None = not known, such an item is no pair.
        """
        self._waiting[item] -= 1
        if condition in (self.monitored.treatment, self.monitored.control):
            of_item = self._scores.setdefault(item, {})
            of_item.setdefault(condition, []).append(value)
        while not self.decided and self._next < len(self._order):
            first = self._order[self._next]
            if self._waiting[first] > 0:
                break
            self._next += 1
            self._count(first)
        return self.decided

    def _count(self, item: str) -> None:
        scores = self._scores.pop(item, {})
        control = _mean(scores.get(self.monitored.control, []))
        treatment = _mean(scores.get(self.monitored.treatment, []))
        if control is not None and treatment is not None:
            self._state = self._comparison.update(control, treatment)
            self.pairs.append((control, treatment))
            self.most_log_e = max(self.most_log_e, self._state.log_e_value)
        rule, items = self._rule, self._next
        last = items == rule.max_items
        if items < rule.min_items or not (items % rule.look_every == 0 or last):
            return
        state = self._state
        self.looks.append(Look(items=items, pairs=state.n, e_value=state.e_value))
        if state.decision != "continue":
            self.decision, self.stopped_at = state.decision, items
        elif last:
            self.stopped_at = items


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if values and len(known) == len(values) else None
