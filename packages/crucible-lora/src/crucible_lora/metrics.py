"""The metrics of this package: which way is better, and what each needs."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from crucible_lora.gates import Direction

Source = Literal["teacher forced", "generated"]
Need = Literal["a `schema`", "a `schema` with citations", "an `entailment`", "a `similarity`"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric. `rate` marks one whose outputs score in [0, 1], so that it can be a gate's.

    `primary` is whether a gate on it is primary where nobody says so.
    """

    name: str
    direction: Direction
    unit: str
    source: Source
    rate: bool
    needs: tuple[Need, ...] = ()
    primary: bool = True


def _forced(name: str, *, direction: Direction = "min", unit: str = "") -> Metric:
    return Metric(name=name, direction=direction, unit=unit, source="teacher forced", rate=False)


def _rate(name: str, *needs: Need, direction: Direction = "max", primary: bool = True) -> Metric:
    return Metric(
        name=name,
        direction=direction,
        unit="share",
        source="generated",
        rate=True,
        needs=needs,
        primary=primary,
    )


TEACHER_FORCED = ("nll", "perplexity", "token_accuracy")
METRICS = (
    _forced("nll", unit="nats/token"),
    _forced("perplexity"),
    _forced("token_accuracy", direction="max", unit="share"),
    _rate("exact_match"),
    _rate("label_accuracy"),
    _rate("schema_compliance", "a `schema`"),
    _rate("citation_accuracy", "a `schema` with citations"),
    _rate("citation_precision", "a `schema` with citations"),
    _rate("citation_recall", "a `schema` with citations"),
    _rate("citation_invalid_rate", "a `schema` with citations", direction="min"),
    _rate("mean_entailment", "a `schema` with citations", "an `entailment`"),
    _rate("entailment_pass_rate", "a `schema` with citations", "an `entailment`", primary=False),
    _rate("similarity_pass_rate", "a `schema` with citations", "a `similarity`", primary=False),
    _rate("overall_pass_rate", "a `schema` with citations"),
)
_SMALL_IS_GOOD = frozenset({"loss", *(m.name for m in METRICS if m.direction == "min")})


def find_metric(name: str) -> Metric | None:
    """Return a metric of this package, or None."""
    return next((m for m in METRICS if m.name == name), None)


def direction_of(name: str) -> Direction:
    """Return which way a metric is better; an unknown one is better when larger."""
    return "min" if name in _SMALL_IS_GOOD else "max"


def unknown_metric(name: str, known: Iterable[str]) -> ValueError:
    """Return the error for a metric that nobody can compute."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ValueError(f"metric {name!r} must be one of {', '.join(names)}{hint}")
