"""Whether confidence is higher on right answers than on wrong ones."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import check_confidence
from crucible_bench.results import Interval, Record
from crucible_bench.scoring import answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Auroc(Record):
    """P(a right answer has higher confidence than a wrong one), ties counting half.

    What cannot be computed is None, and `reason` says why.
    """

    value: float | None
    standard_error: float | None
    interval: Interval | None
    n_correct: int
    n_wrong: int
    reason: str | None = None


def auroc(confidence: ArrayLike, correct: ArrayLike, *, level: float = 0.95) -> Auroc:
    """Compute the area under the ROC curve with DeLong's standard error.

    Notes
    -----
    The interval is normal on the logit scale; complete separation has none. Answers must be
    independent.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44(3), 837-845, 1988.
    .. [2] X. Sun, W. Xu, IEEE Signal Process Lett 21(11), 1389-1393, 2014 (by midranks).

    Examples
    --------
    >>> round(auroc([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0]).value, 2)
    0.75
    """
    from scipy import special, stats

    check_confidence(level)
    c, y = answers(confidence, correct)
    right, wrong = c[y == 1], c[y == 0]
    m, n = right.size, wrong.size
    if not m or not n:
        missing = "right" if not m else "wrong"
        return Auroc(value=None, standard_error=None, interval=None, n_correct=m, n_wrong=n,
                     reason=f"no {missing} answer")  # fmt: skip
    ranks = stats.rankdata(np.concatenate([right, wrong]))
    over_wrong = (ranks[:m] - stats.rankdata(right)) / n
    under_right = 1 - (ranks[m:] - stats.rankdata(wrong)) / m
    value = float(over_wrong.mean())
    if m < 2 or n < 2:
        return Auroc(value=value, standard_error=None, interval=None, n_correct=m, n_wrong=n,
                     reason="fewer than 2 right or wrong answers")  # fmt: skip
    se = math.sqrt(float(over_wrong.var(ddof=1)) / m + float(under_right.var(ddof=1)) / n)
    if value in (0.0, 1.0):
        return Auroc(value=value, standard_error=se, interval=None, n_correct=m, n_wrong=n,
                     reason="complete separation")  # fmt: skip
    half = float(special.ndtri((1 + level) / 2)) * se / (value * (1 - value))
    centre = math.log(value / (1 - value))
    low, high = (float(special.expit(centre + sign * half)) for sign in (-1, 1))
    return Auroc(
        value=value,
        standard_error=se,
        interval=Interval(low=low, high=high, level=level, method="DeLong, logit"),
        n_correct=m,
        n_wrong=n,
    )
