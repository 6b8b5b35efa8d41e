"""A mean from a few human labels and many labels of a judge, valid however bad the judge is."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, scores
from crucible_bench.results import Interval, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionPowered(Record):
    """A mean of human labels, sharpened by a judge.

    `weight` is how far the judge is believed (0: not at all, which gives the human labels' mean).
    `human_estimate` and `human_standard_error` are what the human labels alone would say.
    """

    estimate: float
    standard_error: float
    interval: Interval
    weight: float
    human_estimate: float
    human_standard_error: float
    n_human: int
    n_judge: int


def prediction_powered_mean(
    human: ArrayLike,
    judge_on_human: ArrayLike,
    judge_rest: ArrayLike,
    *,
    confidence: float = 0.95,
) -> PredictionPowered:
    """Estimate a mean of human labels from few of them and a judge's labels on all items.

    Parameters
    ----------
    human, judge_on_human : (n,) arrays
        Both labels of the same n items, a random sample of all.
    judge_rest : (N,) array
        The judge's labels of the other items.

    Notes
    -----
    weight = cov(Y, f) / ((1 + n / N) var(f over all)), clipped to [0, 1]; estimate = weight mean(F)
    + mean(Y - weight f); variance var(weight F) / N + var(Y - weight f) / n. A biased judge makes
    no bias: the human labels measure it. The interval is normal; with fewer than about ten
    disagreements of judge and human it is too short (920 of 1,000 covered with six).

    References
    ----------
    .. [1] A. Angelopoulos, J. Duchi, T. Zrnic, PPI++, arXiv:2311.01453, 2023.

    Examples
    --------
    >>> result = prediction_powered_mean(
    ...     [1, 0, 1, 1, 0, 1, 1, 0], [1, 0, 1, 1, 1, 1, 0, 0], [1] * 30 + [0] * 20
    ... )
    >>> round(result.estimate, 4), result.standard_error < result.human_standard_error
    (0.6137, True)
    """
    y, f, rest = scores("human", human), scores("judge_on_human", judge_on_human), scores(
        "judge_rest", judge_rest
    )  # fmt: skip
    return _estimate(y, f, rest, confidence)


def prediction_powered_difference(
    human: tuple[ArrayLike, ArrayLike],
    judge_on_human: tuple[ArrayLike, ArrayLike],
    judge_rest: tuple[ArrayLike, ArrayLike],
    *,
    confidence: float = 0.95,
) -> PredictionPowered:
    """Estimate a mean paired difference, treatment - control, in the same way.

    Parameters
    ----------
    human, judge_on_human : (control, treatment), each (n,)
        Labels of both systems' answers to the same n items.
    judge_rest : (control, treatment), each (N,)
        The judge's labels of both systems' answers to the other items.
    """
    named = (("human", human), ("judge_on_human", judge_on_human), ("judge_rest", judge_rest))
    y, f, rest = (_difference(name, pair) for name, pair in named)
    return _estimate(y, f, rest, confidence)


def _difference(name: str, pair: tuple[ArrayLike, ArrayLike]) -> Array:
    if len(pair) != 2:
        raise ValueError(f"`{name}` must be a pair (control, treatment)")
    control, treatment = (scores(name, arm) for arm in pair)
    if control.shape != treatment.shape:
        raise ValueError(f"`{name}` must be paired, got {control.size} and {treatment.size}")
    return treatment - control


def _estimate(y: Array, f: Array, rest: Array, confidence: float) -> PredictionPowered:
    from scipy import special

    check_confidence(confidence)
    if any(a.ndim != 1 for a in (y, f, rest)):
        raise ValueError("labels must have one dimension; average repeats of an item first")
    n, many = y.size, rest.size
    if f.size != n:
        raise ValueError(f"`judge_on_human` must label the same items, got {f.size} for {n}")
    varies = float(np.concatenate([f, rest]).var())
    weight = 0.0
    if varies > 0:
        weight = float(np.cov(y, f)[0, 1]) / ((1 + n / many) * varies)
        weight = min(1.0, max(0.0, weight))
    estimate = weight * float(rest.mean()) + float(np.mean(y - weight * f))
    se = math.sqrt(float(np.var(weight * rest)) / many + float(np.var(y - weight * f)) / n)
    half = float(special.ndtri((1 + confidence) / 2)) * se
    return PredictionPowered(
        estimate=estimate,
        standard_error=se,
        interval=Interval(
            low=estimate - half, high=estimate + half, level=confidence, method="PPI++"
        ),
        weight=weight,
        human_estimate=float(y.mean()),
        human_standard_error=math.sqrt(float(y.var()) / n),
        n_human=n,
        n_judge=many,
    )
