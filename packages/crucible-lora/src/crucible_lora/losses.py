"""What an update makes smaller, with its gradient, in numpy.

Each loss is a mean over target tokens, weighted. Where p are the probabilities of the adapter and
p_base those of the model without it:

=================== ==============================================================================
`CrossEntropy`      sum w [(1 - e)(-log p_y) + e mean_v(-log p_v)] / sum w
`CitationWeighted`  the same, with the weights within marked spans multiplied
`KL`                sum w KL(p_base || p) / sum w, or the other way round
`MSE`               sum w mean_v (z - z_base)^2 / sum w, over logits
`Composite`         sum of c_k L_k (`composite.py`)
=================== ==============================================================================
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crucible_lora.ports import Example, Floats, Ints
from crucible_lora.records import Record

Value = tuple[float, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy(Record):
    """Negative log-likelihood of the targets, weighted.

    Parameters
    ----------
    label_smoothing : float, in [0, 1)
        The share e that goes to all tokens alike.

    Notes
    -----
    With weights w, the value is sum w [(1 - e)(-log p_y) + e mean_v(-log p_v)] / sum w.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be in [0, 1), got {self.label_smoothing}")

    @property
    def name(self) -> str:
        """The name under which its value is reported."""
        return "cross_entropy"

    def __call__(self, logits: Floats, targets: Ints, weights: Floats, /) -> Value:
        """Return the loss and its gradient; see `LossFunction`."""
        logp = log_softmax(logits)
        rows = np.arange(len(targets))
        smooth, width = self.label_smoothing, logits.shape[1]
        share = _shares(weights)
        each = -(1 - smooth) * logp[rows, targets]
        gradient = np.exp(logp)
        gradient[rows, targets] -= 1 - smooth
        if smooth:
            each -= smooth * logp.mean(axis=1)
            gradient -= smooth / width
        gradient *= share[:, None]
        return float(share @ each), gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class CitationWeighted(Record):
    """Cross entropy in which the tokens of citations count for more.

    A formatter marks their characters in `Conversation.spans`.

    Parameters
    ----------
    weight : float, > 0
        What the weights of tokens within the spans are multiplied by.
    """

    weight: float = 2.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"`weight` must be > 0, got {self.weight}")

    @property
    def name(self) -> str:
        """The name under which its value is reported."""
        return "citation_weighted"

    def weigh(self, example: Example, /) -> NDArray[np.float64]:
        """Return the weights of an example's targets in this loss."""
        weights = example.target_weights()
        if example.marked is not None:
            weights[example.marked[example.targets()]] *= self.weight
        return weights

    def __call__(self, logits: Floats, targets: Ints, weights: Floats, /) -> Value:
        """Return the loss at weights that `weigh` made, and its gradient; see `LossFunction`."""
        return CrossEntropy()(logits, targets, weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class KL(Record):
    """How far the adapter's distribution has moved from the base model's.

    Parameters
    ----------
    teacher : {"base"}
        The same network with its adapter off.
    direction : {"forward", "reverse"}
        "forward" is KL(base || adapter), which covers all that the base holds possible; "reverse"
        is KL(adapter || base).
    temperature : float, > 0
        Both distributions are those of logits / temperature.
    """

    teacher: Literal["base"] = "base"
    direction: Literal["forward", "reverse"] = "forward"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check_teacher(self.teacher)
        if self.direction not in ("forward", "reverse"):
            raise ValueError(f"`direction` must be forward or reverse, got {self.direction!r}")
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"`temperature` must be > 0, got {self.temperature}")

    @property
    def name(self) -> str:
        """The name under which its value is reported."""
        return "kl"

    def __call__(
        self,
        logits: Floats,
        targets: Ints,
        weights: Floats,
        /,
        *,
        teacher_logits: Floats | None = None,
    ) -> Value:
        """Return the loss and its gradient; `teacher_logits` have the shape of `logits`."""
        base = log_softmax(_given(teacher_logits, self.name) / self.temperature)
        ours = log_softmax(np.asarray(logits, dtype=np.float64) / self.temperature)
        share = _shares(weights)
        p, q = np.exp(ours), np.exp(base)
        if self.direction == "forward":
            each = (q * (base - ours)).sum(axis=1)
            slope = p - q
        else:
            each = (p * (ours - base)).sum(axis=1)
            slope = p * (ours - base - each[:, None])
        return float(share @ each), share[:, None] * slope / self.temperature


@dataclass(frozen=True, slots=True, kw_only=True)
class MSE(Record):
    """Mean squared distance of the logits from the base model's.

    Parameters
    ----------
    teacher : {"base"}
        The same network with its adapter off.
    """

    teacher: Literal["base"] = "base"

    def __post_init__(self) -> None:
        _check_teacher(self.teacher)

    @property
    def name(self) -> str:
        """The name under which its value is reported."""
        return "mse"

    def __call__(
        self,
        logits: Floats,
        targets: Ints,
        weights: Floats,
        /,
        *,
        teacher_logits: Floats | None = None,
    ) -> Value:
        """Return the loss and its gradient; `teacher_logits` have the shape of `logits`."""
        away = np.asarray(logits, dtype=np.float64) - _given(teacher_logits, self.name)
        share = _shares(weights)
        each = (away * away).mean(axis=1)
        return float(share @ each), share[:, None] * 2 * away / away.shape[1]


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Return natural log-probabilities over the last axis."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _shares(weights: Floats) -> NDArray[np.float64]:
    given = np.asarray(weights, dtype=np.float64)
    shares: NDArray[np.float64] = given / given.sum()
    return shares


def _given(teacher: Floats | None, name: str) -> NDArray[np.float64]:
    if teacher is None:
        raise ValueError(f"`teacher_logits` must be given to the loss {name!r}, got None")
    return np.asarray(teacher, dtype=np.float64)


def _check_teacher(teacher: str) -> None:
    if teacher != "base":
        raise ValueError(f"`teacher` must be base, got {teacher!r}")
