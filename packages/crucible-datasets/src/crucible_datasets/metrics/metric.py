"""What a metric is: a function of one answer, or of all of them together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from crucible_datasets.extraction import Extraction
from crucible_datasets.items import Item, Task
from crucible_datasets.results import Prediction

Unit = Literal["share", "0-100"]


class Metric(Protocol):
    """A score of one's own: of one prediction for one item."""

    def __call__(self, prediction: Prediction, item: Item, /) -> float | None:
        """Return the score; None where it is undefined, which is left out and counted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One prediction beside its item; a missing one has no output."""

    item: Item
    prediction: Prediction
    extraction: Extraction
    task: Task

    @property
    def text(self) -> str:
        """What was said, "" if nothing was."""
        if self.prediction.error is not None:
            return ""
        return self.prediction.output or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A value over all answers, with what makes it comparable elsewhere."""

    value: float | None
    reason: str | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A named metric of this package.

    Parameters
    ----------
    item : callable, optional
        Score of one answer; None = undefined.
    corpus : callable, optional
        Values over all answers, by name; if absent, the mean of the items is the value.
    """

    name: str
    unit: Unit = "share"
    item: Callable[[Answer], float | None] | None = None
    corpus: Callable[[Sequence[Answer]], Mapping[str, Corpus]] | None = None


def references(expected: Any) -> list[str]:
    """Return the reference texts of an item, of which the best counts; none if unknown."""
    if expected is None:
        return []
    if isinstance(expected, list | tuple):
        return [str(one) for one in expected]
    return [str(expected)]
