"""What an update makes smaller, with its gradient. Losses are objects, found by name."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crucible_lora.ports import Floats, Ints, LossFunction


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
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

    def __call__(
        self, logits: Floats, targets: Ints, weights: Floats, /
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient; see `LossFunction`."""
        logp = log_softmax(logits)
        rows = np.arange(len(targets))
        smooth, width = self.label_smoothing, logits.shape[1]
        share = np.asarray(weights, dtype=np.float64) / np.sum(weights, dtype=np.float64)
        each = -(1 - smooth) * logp[rows, targets]
        gradient = np.exp(logp)
        gradient[rows, targets] -= 1 - smooth
        if smooth:
            each -= smooth * logp.mean(axis=1)
            gradient -= smooth / width
        gradient *= share[:, None]
        return float(share @ each), gradient


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Return natural log-probabilities over the last axis."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


class LossRegistry:
    """Losses by name. A new one knows those of this package."""

    def __init__(self) -> None:
        self._factories: dict[str, Callable[[], LossFunction]] = {"cross_entropy": CrossEntropy}

    def register(self, name: str, factory: Callable[[], LossFunction], /) -> None:
        """Add a loss.

        Raises
        ------
        ValueError
            If the name is taken.
        """
        if name in self._factories:
            raise ValueError(f"`name` must be new, got {name!r}")
        self._factories[name] = factory

    def get(self, name: str, /) -> LossFunction:
        """Return the loss of that name.

        Raises
        ------
        ValueError
            If there is none; the message lists those there are.
        """
        if name not in self._factories:
            near = difflib.get_close_matches(name, self._factories, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = ", ".join(self.names())
            raise ValueError(f"`loss` must be one of {known}, got {name!r}{hint}")
        return self._factories[name]()

    def names(self) -> tuple[str, ...]:
        """Return the known names, sorted."""
        return tuple(sorted(self._factories))


def components(loss: LossFunction, value: float) -> Mapping[str, float]:
    """Return the parts that a step reports, each without its weight."""
    return {loss.name: value}
