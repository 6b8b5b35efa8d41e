"""Losses added up, and what a session needs to know to compute any loss in parts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crucible_lora.losses import KL, MSE, CitationWeighted
from crucible_lora.ports import Example, Floats, Ints, LossFunction


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One summand of a loss.

    A session computes each over the parts of a batch: the weights of a part, as a share of those of
    the whole batch, are what the part's value and gradient are multiplied by.
    """

    name: str
    coefficient: float
    loss: LossFunction

    @property
    def wants_teacher(self) -> bool:
        """Whether it compares with the model without adapter."""
        return isinstance(self.loss, KL | MSE)

    def weights(self, batch: Sequence[Example]) -> NDArray[np.float64]:
        """Return the weights of the targets of some examples, one after the other."""
        if isinstance(self.loss, CitationWeighted):
            return np.concatenate([self.loss.weigh(e) for e in batch])
        return np.concatenate([e.target_weights() for e in batch])

    def total(self, batch: Sequence[Example]) -> float:
        """Return the sum of the weights of a batch, whatever parts it comes in."""
        return math.fsum(self.weights(batch))

    def __call__(
        self, logits: Floats, targets: Ints, weights: Floats, /, *, teacher_logits: Floats | None
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient, without the coefficient."""
        if isinstance(self.loss, KL | MSE):
            return self.loss(logits, targets, weights, teacher_logits=teacher_logits)
        return self.loss(logits, targets, weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """A weighted sum of losses; `StepRow.components` holds each without its coefficient.

    Parameters
    ----------
    parts : mapping of name to (coefficient > 0, loss)
    """

    parts: Mapping[str, tuple[float, LossFunction]]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("`parts` must not be empty")
        for name, (coefficient, loss) in self.parts.items():
            if not (math.isfinite(coefficient) and coefficient > 0):
                raise ValueError(f"`parts` must have numbers > 0, got {coefficient} for {name!r}")
            if isinstance(loss, Composite):
                raise ValueError(f"`parts` must be no sums themselves, got one for {name!r}")

    @property
    def name(self) -> str:
        """The name under which its value is reported."""
        return "composite"

    def __call__(
        self,
        logits: Floats,
        targets: Ints,
        weights: Floats,
        /,
        *,
        teacher_logits: Floats | None = None,
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the sum and its gradient, all parts at the same weights."""
        value, gradient = 0.0, np.zeros(logits.shape)
        for term in terms_of(self):
            part, slope = term(logits, targets, weights, teacher_logits=teacher_logits)
            value += term.coefficient * part
            gradient += term.coefficient * slope
        return value, gradient


def terms_of(loss: LossFunction) -> tuple[Term, ...]:
    """Return the summands of a loss; one that is no sum is its only one."""
    if isinstance(loss, Composite):
        return tuple(
            Term(name=name, coefficient=coefficient, loss=part)
            for name, (coefficient, part) in loss.parts.items()
        )
    return (Term(name=loss.name, coefficient=1.0, loss=loss),)
