"""The metrics of this package: which way is better, and what each needs."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from crucible_lora.gates import Direction

Source = Literal["teacher forced", "generated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric. `rate` marks one whose outputs score 0 or 1."""

    name: str
    direction: Direction
    unit: str
    source: Source
    rate: bool
    needs: str | None = None


METRICS = (
    Metric(name="nll", direction="min", unit="nats/token", source="teacher forced", rate=False),
    Metric(name="perplexity", direction="min", unit="", source="teacher forced", rate=False),
    Metric(name="exact_match", direction="max", unit="share", source="generated", rate=True),
    Metric(
        name="schema_compliance",
        direction="max",
        unit="share",
        source="generated",
        rate=True,
        needs="a `schema`",
    ),
)
_SMALL_IS_GOOD = frozenset({"loss", "nll", "perplexity"})


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
