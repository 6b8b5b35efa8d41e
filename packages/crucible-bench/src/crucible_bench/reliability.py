"""Calibration error over bins of confidence, with the noise of small bins taken out."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import Array, check_confidence
from crucible_bench.proportion_intervals import proportion_interval
from crucible_bench.results import Interval, Record
from crucible_bench.scoring import answers, resampled

Strategy = Literal["equal_mass", "equal_width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationError(Record):
    """How far stated confidence is from the share that is right.

    `value` is debiased where `debiased` says so; `plain` never is. `squared` is the debiased square
    before its root, which may be negative; None for the l1 norm.
    """

    value: float
    plain: float
    interval: Interval | None
    norm: Literal["l1", "l2", "max"]
    strategy: Strategy
    debiased: bool
    bins: int
    n: int
    squared: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin(Record):
    """One bin: its range and mean of confidence, and the share that is right, Wilson interval."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    interval: Interval


def expected_calibration_error(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    bins: int = 15,
    strategy: Strategy = "equal_mass",
    norm: Literal["l1", "l2"] = "l1",
    debias: bool = True,
    level: float = 0.95,
    cluster: ArrayLike | None = None,
    n_resamples: int = 999,
    rng: int | np.random.Generator | None = None,
) -> CalibrationError:
    """Compute the expected calibration error.

    Parameters
    ----------
    confidence : (n,) array, in [0, 1]
    correct : (n,) array of 0 and 1
    bins : int, >= 1
        Empty bins are left out.
    strategy : {"equal_mass", "equal_width"}
    norm : {"l1", "l2"}
        Weighted mean of the gaps, or root of their weighted mean square.
    debias : bool
        The share that is right varies by chance in each bin, which makes a perfect system look
        miscalibrated: .038 for 1,000 answers in 15 bins.
    level, cluster, n_resamples, rng
        Of the percentile bootstrap interval, which exists where `rng` is given.

    Notes
    -----
    l2: sum w (g^2 - y (1 - y) / (n_k - 1)) [1]_, rooted, clipped at 0 only under the root. l1: sum
    w (2 |g| - E|N(g, y (1 - y) / n_k)|), the folded normal's mean in closed form, not below 0.

    References
    ----------
    .. [1] A. Kumar, P. Liang, T. Ma, NeurIPS 2019, definition 4.1 and following.

    Examples
    --------
    >>> confidence = [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5]
    >>> correct = [1, 1, 1, 0, 1, 1, 0, 1, 0, 0]
    >>> round(expected_calibration_error(confidence, correct, bins=5).value, 3)
    0.216
    """
    c, y = answers(confidence, correct)
    if norm not in ("l1", "l2"):
        raise ValueError(f'`norm` must be "l1" or "l2", got {norm!r}')

    def squared_or_mean(p: Array, r: Array, *, debiased: bool) -> float:
        return _mean_gap(*_gaps(p, r, bins, strategy), norm=norm, debias=debiased)

    def measure(p: Array, r: Array) -> float:
        found = squared_or_mean(p, r, debiased=debias)
        return math.sqrt(max(found, 0.0)) if norm == "l2" else found

    plain = squared_or_mean(c, y, debiased=False)
    return CalibrationError(
        value=measure(c, y),
        plain=math.sqrt(plain) if norm == "l2" else plain,
        interval=resampled(measure, c, y, cluster, level, n_resamples, rng),
        norm=norm,
        strategy=strategy,
        debiased=debias,
        bins=len(split(c, bins, strategy)),
        n=c.size,
        squared=squared_or_mean(c, y, debiased=debias) if norm == "l2" else None,
    )


def maximum_calibration_error(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    bins: int = 15,
    strategy: Strategy = "equal_mass",
    level: float = 0.95,
    cluster: ArrayLike | None = None,
    n_resamples: int = 999,
    rng: int | np.random.Generator | None = None,
) -> CalibrationError:
    """Compute the largest gap of any bin; it grows with the number of bins and is not debiased."""
    c, y = answers(confidence, correct)

    def measure(p: Array, r: Array) -> float:
        return float(np.abs(_gaps(p, r, bins, strategy)[1]).max())

    return CalibrationError(
        value=measure(c, y),
        plain=measure(c, y),
        interval=resampled(measure, c, y, cluster, level, n_resamples, rng),
        norm="max",
        strategy=strategy,
        debiased=False,
        bins=len(split(c, bins, strategy)),
        n=c.size,
    )


def reliability_curve(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    bins: int = 15,
    strategy: Strategy = "equal_mass",
    level: float = 0.95,
) -> tuple[ReliabilityBin, ...]:
    """Return the bins of a reliability diagram, from low to high confidence."""
    check_confidence(level)
    c, y = answers(confidence, correct)
    return tuple(
        ReliabilityBin(
            low=float(c[rows].min()),
            high=float(c[rows].max()),
            n=rows.size,
            confidence=float(c[rows].mean()),
            accuracy=float(y[rows].mean()),
            interval=proportion_interval(int(y[rows].sum()), rows.size, confidence=level),
        )
        for rows in split(c, bins, strategy)
    )


def split(confidence: Array, bins: int, strategy: Strategy) -> list[NDArray[np.intp]]:
    """Return the row numbers of each bin that is not empty, from low to high confidence."""
    if bins < 1:
        raise ValueError(f"`bins` must be >= 1, got {bins}")
    order = np.argsort(confidence, kind="stable")
    if strategy == "equal_mass":
        parts = np.array_split(order, bins)
    elif strategy == "equal_width":
        place = np.minimum((confidence[order] * bins).astype(np.int64), bins - 1)
        parts = np.split(order, np.searchsorted(place, np.arange(1, bins)))
    else:
        raise ValueError(f'`strategy` must be "equal_mass" or "equal_width", got {strategy!r}')
    return [part for part in parts if part.size]


def _gaps(
    confidence: Array, correct: Array, bins: int, strategy: Strategy
) -> tuple[Array, Array, Array]:
    """Return size, gap (share right - confidence) and share right of each bin."""
    groups = split(confidence, bins, strategy)
    sizes = np.array([rows.size for rows in groups], dtype=float)
    right = np.array([correct[rows].mean() for rows in groups])
    return sizes, right - np.array([confidence[rows].mean() for rows in groups]), right


def _mean_gap(sizes: Array, gaps: Array, right: Array, *, norm: str, debias: bool) -> float:
    """Return the weighted mean of gaps, or of squared gaps for l2."""
    from scipy import special

    weight = sizes / sizes.sum()
    noise = right * (1 - right)
    if norm == "l2":
        # A bin of one answer has y (1 - y) = 0: nothing can be taken out.
        squares = gaps**2 - (noise / np.maximum(sizes - 1, 1) if debias else 0.0)
        return float(weight @ squares)
    if not debias:
        return float(weight @ np.abs(gaps))
    sd = np.sqrt(noise / sizes)
    z = np.divide(gaps, sd, out=np.zeros_like(gaps), where=sd > 0)
    folded = np.where(
        sd > 0,
        sd * math.sqrt(2 / math.pi) * np.exp(-(z**2) / 2) + gaps * (1 - 2 * special.ndtr(-z)),
        np.abs(gaps),
    )
    return max(0.0, float(weight @ (2 * np.abs(gaps) - folded)))
