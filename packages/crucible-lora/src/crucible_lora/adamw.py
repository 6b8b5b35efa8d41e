"""AdamW with decoupled decay, and clipping, on named arrays."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from crucible_lora.ports import Update

Arrays = Mapping[str, NDArray[np.float64]]


def global_norm(gradients: Arrays) -> float:
    """Return the L2 norm over all gradients together."""
    return math.sqrt(sum(float(np.vdot(g, g)) for g in gradients.values()))


def clip_factor(norm: float, limit: float | None) -> float:
    """Return what gradients of that norm are multiplied by to stay within the limit."""
    return 1.0 if limit is None or norm <= limit else limit / norm


class AdamW:
    """The optimiser; it changes the arrays that it was given.

    Parameters
    ----------
    parameters : mapping of name to float64 array

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101.
    """

    def __init__(self, parameters: Arrays) -> None:
        self._parameters = parameters
        self._first = {name: np.zeros_like(p) for name, p in parameters.items()}
        self._second = {name: np.zeros_like(p) for name, p in parameters.items()}
        self._count = 0

    def step(self, gradients: Arrays, update: Update, *, factor: float = 1.0) -> None:
        """Take one step; gradients are multiplied by `factor` first."""
        self._count += 1
        one, two = update.betas
        rate = update.learning_rate
        for name, parameter in self._parameters.items():
            gradient = gradients[name] * factor
            first, second = self._first[name], self._second[name]
            first += (1 - one) * (gradient - first)
            second += (1 - two) * (gradient * gradient - second)
            parameter *= 1 - rate * update.weight_decay
            slope = first / (1 - one**self._count)
            spread = np.sqrt(second / (1 - two**self._count))
            parameter -= rate * slope / (spread + update.eps)

    def state(self) -> tuple[int, dict[str, NDArray[np.float64]]]:
        """Return the number of steps and the moments by name."""
        moments = {f"first.{k}": v for k, v in self._first.items()}
        moments |= {f"second.{k}": v for k, v in self._second.items()}
        return self._count, moments

    def load(self, count: int, moments: Arrays) -> None:
        """Set what `state` returned."""
        self._count = count
        for name in self._parameters:
            self._first[name][...] = moments[f"first.{name}"]
            self._second[name][...] = moments[f"second.{name}"]
