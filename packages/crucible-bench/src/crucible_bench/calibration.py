"""Whether stated confidence deserves trust: Brier score, log loss, calibration error, AUROC."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.discrimination import Auroc, auroc
from crucible_bench.reliability import (
    CalibrationError,
    ReliabilityBin,
    expected_calibration_error,
    maximum_calibration_error,
    reliability_curve,
    split,
)
from crucible_bench.results import Interval, Record
from crucible_bench.scoring import answers, resampled

__all__ = [
    "Auroc",
    "BrierScore",
    "CalibrationError",
    "LogLoss",
    "ReliabilityBin",
    "auroc",
    "brier",
    "expected_calibration_error",
    "log_loss",
    "maximum_calibration_error",
    "reliability_curve",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrierScore(Record):
    """Mean squared distance of confidence from outcome, and Murphy's parts of it.

    value = reliability - resolution + uncertainty + within_bins: how far bins are from calibrated,
    how well they tell right from wrong, what the outcomes alone contribute, and what the bins hide
    (0 where each bin holds one confidence).
    """

    value: float
    interval: Interval | None
    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float
    n: int
    bins: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLoss(Record):
    """Mean of -log(probability of what happened); None where a certain answer was wrong.

    `n_certain_and_wrong` counts the answers that make it infinite.
    """

    value: float | None
    interval: Interval | None
    n_certain_and_wrong: int
    clip: float | None
    n: int


def brier(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    bins: int = 15,
    level: float = 0.95,
    cluster: ArrayLike | None = None,
    n_resamples: int = 999,
    rng: int | np.random.Generator | None = None,
) -> BrierScore:
    """Compute the Brier score and its decomposition.

    Parameters
    ----------
    confidence : (n,) array, in [0, 1]
    correct : (n,) array of 0 and 1
    bins : int, >= 1
        Equal-mass bins of the decomposition; the score itself needs none.
    level, cluster, n_resamples, rng
        Of the percentile bootstrap interval, which exists where `rng` is given; clusters are
        resampled whole.

    References
    ----------
    .. [1] A. H. Murphy, J Appl Meteorol 12(4), 595-600, 1973.
    .. [2] D. B. Stephenson, C. A. S. Coelho, I. T. Jolliffe, Weather Forecast 23(4), 752-757, 2008.

    Examples
    --------
    >>> round(brier([0.9, 0.8, 0.3], [1, 1, 0]).value, 4)
    0.0467
    """
    c, y = answers(confidence, correct)
    groups = split(c, bins, "equal_mass")
    weight = np.array([g.size for g in groups]) / c.size
    means = np.array([c[g].mean() for g in groups])
    rates = np.array([y[g].mean() for g in groups])
    value, base = float(np.mean((c - y) ** 2)), float(y.mean())
    reliability = float(weight @ (means - rates) ** 2)
    resolution = float(weight @ (rates - base) ** 2)
    uncertainty = base * (1 - base)
    return BrierScore(
        value=value,
        interval=resampled(
            lambda p, r: float(np.mean((p - r) ** 2)), c, y, cluster, level, n_resamples, rng
        ),
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        within_bins=value - (reliability - resolution + uncertainty),
        n=c.size,
        bins=len(groups),
    )


def log_loss(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    clip: float | None = None,
    level: float = 0.95,
    cluster: ArrayLike | None = None,
    n_resamples: int = 999,
    rng: int | np.random.Generator | None = None,
) -> LogLoss:
    """Compute the mean log loss, in nats.

    Parameters
    ----------
    clip : float, in (0, 0.5)
        Moves each confidence into [clip, 1 - clip]. Without it one certain wrong answer makes the
        loss infinite: the value is then None, and counted. The number chosen decides how much such
        an answer costs, so it is part of the result.

    Examples
    --------
    >>> log_loss([1.0, 0.6], [0, 1]).value is None
    True
    """
    c, y = answers(confidence, correct)
    if clip is not None and not 0 < clip < 0.5:
        raise ValueError(f"`clip` must be in (0, 0.5), got {clip}")
    wrong = int(((c == 1) & (y == 0)).sum() + ((c == 0) & (y == 1)).sum())
    if clip is not None:
        c = np.clip(c, clip, 1 - clip)
    finite = clip is not None or wrong == 0
    if cluster is not None and rng is None:
        raise ValueError("`rng` is required for an interval over clusters")

    def loss(p: np.ndarray, r: np.ndarray) -> float:
        return float(-np.mean(np.log(np.where(r == 1, p, 1 - p))))

    return LogLoss(
        value=loss(c, y) if finite else None,
        interval=resampled(loss, c, y, cluster, level, n_resamples, rng) if finite else None,
        n_certain_and_wrong=wrong,
        clip=clip,
        n=c.size,
    )
