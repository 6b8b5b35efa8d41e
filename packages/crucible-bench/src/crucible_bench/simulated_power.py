"""Power by simulation: for any analysis, and for quantiles from pilot data."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crucible_bench.arrays import scores
from crucible_bench.designs import Monotone
from crucible_bench.proportion_intervals import proportion_interval
from crucible_bench.results import Alternative, Interval, Record

Data = TypeVar("Data")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPower(Record):
    """The share of simulated studies that reject, with its Wilson interval."""

    power: float
    interval: Interval
    rejected: int
    n_simulations: int


def simulate_power(
    generate: Callable[[np.random.Generator], Data],
    analyse: Callable[[Data], bool],
    *,
    n_simulations: int = 1_000,
    confidence: float = 0.95,
    rng: int | np.random.Generator,
) -> SimulatedPower:
    """Simulate studies and count how often the analysis rejects.

    Parameters
    ----------
    generate : callable
        Takes a generator, returns one study's data.
    analyse : callable
        Takes the data, says whether it rejects. A p-value is refused: as a truth value it would
        always count.
    n_simulations : int, >= 1
    rng : int or numpy.random.Generator

    Examples
    --------
    >>> from crucible_bench.means import one_sample_t
    >>> def study(rng):
    ...     return rng.normal(0.5, 1, size=34)
    >>> def finds(data):
    ...     return one_sample_t(data).p_value <= 0.05
    >>> result = simulate_power(study, finds, n_simulations=500, rng=1)
    >>> result.interval.low < 0.81 < result.interval.high
    True
    """
    if n_simulations < 1:
        raise ValueError(f"`n_simulations` must be >= 1, got {n_simulations}")
    generator = np.random.default_rng(rng)
    rejected = 0
    for _ in range(n_simulations):
        answer = analyse(generate(generator))
        if not isinstance(answer, bool | np.bool_):
            raise ValueError(f"`analyse` must return True or False, got {answer!r}")
        rejected += bool(answer)
    return SimulatedPower(
        power=rejected / n_simulations,
        interval=proportion_interval(rejected, n_simulations, confidence=confidence),
        rejected=rejected,
        n_simulations=n_simulations,
    )


@dataclass(frozen=True, slots=True)
class QuantileDifference(Monotone):
    """A difference of the q-th percentiles of two independent groups, planned from pilot data.

    The effect is in the pilot's unit, such as seconds.

    Parameters
    ----------
    q : float, in (0, 100)
    pilot : (n,) array, at least 20 values
        Stands for the population of both groups; the effect shifts its quantile.
    rng : int
        Seeds the simulation, so that the same question has the same answer.
    n_simulations : int, >= 1,000

    Notes
    -----
    Both groups' sample quantiles (type 7) are drawn from the exact distribution of order
    statistics of n values of the pilot; the test rejects beyond the critical value of their
    difference without an effect. A pilot that has few values beyond q cannot speak about the tail:
    with fewer than 10 there, a note says so.
    """

    q: float
    pilot: tuple[float, ...]
    rng: int = field(kw_only=True)
    n_simulations: int = field(default=10_000, kw_only=True)
    unit = "per group"

    def __init__(self, q: float, pilot: object, *, rng: int, n_simulations: int = 10_000) -> None:
        if not 0 < q < 100:
            raise ValueError(f"`q` must be in (0, 100), got {q}")
        if n_simulations < 1_000:
            raise ValueError(f"`n_simulations` must be >= 1000, got {n_simulations}")
        values = scores("pilot", pilot, minimum=20)  # type: ignore[arg-type]
        if values.ndim != 1:
            raise ValueError(f"`pilot` must have one dimension, got {values.ndim}")
        object.__setattr__(self, "q", q)
        object.__setattr__(self, "pilot", tuple(np.sort(values).tolist()))
        object.__setattr__(self, "rng", rng)
        object.__setattr__(self, "n_simulations", n_simulations)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say that this is a simulation, and whether the pilot is too small for the tail."""
        beyond = len(self.pilot) * min(self.q, 100 - self.q) / 100
        note = f"simulated from {len(self.pilot)} pilot values"
        return (note,) if beyond >= 10 else (note, f"only {beyond:.1f} of them expected beyond q")

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the power with n per group."""
        noise = self._noise(max(2, math.floor(n)))
        if alternative == "two-sided":
            return float(np.mean(np.abs(noise + effect) > np.quantile(np.abs(noise), 1 - alpha)))
        if alternative == "less":
            return float(np.mean(noise + effect < np.quantile(noise, alpha)))
        return float(np.mean(noise + effect > np.quantile(noise, 1 - alpha)))

    def total(self, n: int) -> int:
        """Return the items of both groups."""
        return 2 * n

    def _noise(self, n: int) -> NDArray[np.float64]:
        """Return differences of two groups' sample quantiles without an effect."""
        # The same uniforms for every n keep the power smooth in n.
        uniforms = np.random.default_rng(self.rng).random((4, self.n_simulations))
        control = self._sample_quantile(uniforms[:2], n)
        treatment = self._sample_quantile(uniforms[2:], n)
        # The groups are independent: one draw of a group serves beside several of the other.
        shifts = range(0, self.n_simulations, self.n_simulations // 8)
        return np.concatenate([np.roll(treatment, k) - control for k in shifts])

    def _sample_quantile(self, uniforms: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        from scipy import special

        place = (n - 1) * self.q / 100
        k = math.floor(place) + 1  # 1-based rank of the lower order statistic of type 7
        lower = special.betaincinv(k, n - k + 1, uniforms[0])
        values = np.asarray(self.pilot)
        at = np.minimum((lower * values.size).astype(np.int64), values.size - 1)
        result: NDArray[np.float64] = values[at]
        if k < n:
            # Given U_(k), the next is the smallest of n - k uniforms above it.
            upper = lower + (1 - lower) * (1 - (1 - uniforms[1]) ** (1 / (n - k)))
            at = np.minimum((upper * values.size).astype(np.int64), values.size - 1)
            result = result + (place - math.floor(place)) * (values[at] - result)
        return result
