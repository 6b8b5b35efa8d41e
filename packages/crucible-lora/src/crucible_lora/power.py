"""How many items a quality gate needs: the exact power of its test."""

import math

import numpy as np
from numpy.typing import NDArray

from crucible_lora.gates import Direction, Gate

_MOST = 5000  # items: beyond that, nobody is told to collect more


def gate_sample_size(
    target: float,
    expected_rate: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    direction: Direction = "min",
) -> int:
    """Return the items from which a rate passes its gate with the given power, and stays so.

    Parameters
    ----------
    target : float, in (0, 1)
    expected_rate : float, in [0, 1]
        What the adapter's rate is thought to be: above the target, or below it for "max".
    power : float, in (0, 1)
    alpha : float, in (0, 1)
    direction : {"min", "max"}

    Raises
    ------
    ValueError
        If an argument is out of range, or more than a million items would be needed.

    Notes
    -----
    The power of an exact test saw-tooths in n; the answer is behind the last n that falls short.

    Examples
    --------
    >>> gate_sample_size(0.95, 0.98)
    286
    """
    for name, value in (("target", target), ("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise ValueError(f"`{name}` must be in (0, 1), got {value}")
    if direction not in ("min", "max"):
        raise ValueError(f"`direction` must be min or max, got {direction!r}")
    if direction == "max":
        target, expected_rate = 1 - target, 1 - expected_rate
    if not target < expected_rate <= 1:
        side = "above" if direction == "min" else "below"
        raise ValueError(
            f"`expected_rate` must be {side} the target and in [0, 1]: a model at the target "
            "passes no more often than alpha"
        )
    from scipy import special

    spread = special.ndtri(1 - alpha) * math.sqrt(target * (1 - target))
    spread += special.ndtri(power) * math.sqrt(expected_rate * (1 - expected_rate))
    reach = math.ceil(1.5 * (spread / (expected_rate - target)) ** 2) + 200
    if reach > 1_000_000:
        raise ValueError(
            f"`expected_rate` must be further from the target: {expected_rate} needs more than "
            "a million items"
        )
    return _first_staying(target, expected_rate, power=power, alpha=alpha, reach=reach)


def pass_probability(
    n: NDArray[np.int64], *, target: float, rate: float, alpha: float
) -> NDArray[np.float64]:
    """Return the chance that n items of a rate pass a "min" gate, for each n."""
    from scipy import stats

    # The lower bound reaches the target exactly where P(X >= k | target) <= alpha.
    critical = stats.binom.ppf(1 - alpha, n, target) + 1
    chance: NDArray[np.float64] = stats.binom.sf(critical - 1, n, rate)
    return chance


def needed_items(gate: Gate, observed: float) -> int | None:
    """Return the items from which a rate as observed passes in 4 of 5 studies.

    None where it is not beyond the target, or more than 5,000 are needed.
    """
    target, rate = gate.target, observed
    if gate.direction == "max":
        target, rate = 1 - target, 1 - rate
    if not 0 < target < rate:
        return None
    needed = _first_staying(target, rate, power=0.8, alpha=gate.alpha, reach=_MOST)
    return needed if needed <= _MOST else None


def _first_staying(target: float, rate: float, *, power: float, alpha: float, reach: int) -> int:
    sizes = np.arange(1, reach + 1, dtype=np.int64)
    short = pass_probability(sizes, target=target, rate=rate, alpha=alpha) < power
    return int(sizes[short][-1]) + 1 if short.any() else 1
