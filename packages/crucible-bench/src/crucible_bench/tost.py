"""Equivalence and non-inferiority: showing that a difference is too small to matter."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike

from crucible_bench import clusters, means
from crucible_bench.arms import two_arms
from crucible_bench.arrays import Array, is_binary, item_means, pair
from crucible_bench.proportion_intervals import miettinen_nurminen, score_z, tango, tango_z
from crucible_bench.records import Record
from crucible_bench.results import Alternative, Interval, TestResult

Scores = ArrayLike | Mapping[str, float]
Labels = ArrayLike | Mapping[str, object] | tuple[ArrayLike, ArrayLike] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EquivalenceResult(Record):
    """Two one-sided tests: `p_lower` against differences below, `p_upper` above the margin.

    `interval` is at 1 - 2 alpha; `equivalent` says that it lies inside the margin. Without
    variation p-values are None, and the difference itself decides.
    """

    test: str
    difference: float
    margin: tuple[float, float]
    statistic_lower: float | None
    statistic_upper: float | None
    p_lower: float | None
    p_upper: float | None
    p_value: float | None
    alpha: float
    interval: Interval | None
    equivalent: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NonInferiorityResult(Record):
    """One one-sided test of whether treatment is worse by less than the margin.

    `interval` is one-sided at 1 - alpha.
    """

    test: str
    difference: float
    margin: float
    statistic: float | None
    p_value: float | None
    alpha: float
    interval: Interval | None
    non_inferior: bool
    notes: tuple[str, ...] = ()


def equivalence(
    control: Scores,
    treatment: Scores,
    *,
    margin: float | tuple[float, float],
    paired: bool,
    alpha: float = 0.05,
    cluster: Labels = None,
    ids: Sequence[str] | tuple[Sequence[str], Sequence[str]] | None = None,
    missing: Literal["raise", "drop"] = "raise",
    nan: Literal["raise", "omit"] = "raise",
) -> EquivalenceResult:
    """Test whether a difference lies inside a margin (TOST).

    Parameters
    ----------
    control, treatment : (items,) or (items, repeats) arrays, or mappings of item id to score
    margin : float > 0, or (lower < 0, upper > 0)
        In the score's unit, named before looking.
    paired : bool
    alpha : float, in (0, 0.5)
    cluster : labels, or a pair of them for independent arms, optional
    ids, missing, nan
        As for `compare_paired` and `compare`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Means by Welch's, the paired or the cluster t test; shares by the score statistic of Miettinen
    and Nurminen, or of Tango, at the margin. p is the larger of the two. "Not significant" is never
    evidence for equivalence; this is.

    References
    ----------
    .. [1] D. J. Schuirmann, J Pharmacokin Biopharm 15(6), 657-680, 1987.

    Examples
    --------
    >>> a, b = [1] * 88 + [0] * 12, [1] * 90 + [0] * 10
    >>> round(equivalence(a, b, margin=0.1, paired=False).p_value, 4)
    0.0417
    """
    low, high = margin if isinstance(margin, tuple) else (-margin, margin)
    if not (low < 0 < high and math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"`margin` must be > 0, or (lower < 0, upper > 0), got {margin}")
    question = _Question(control, treatment, paired, cluster, alpha, ids, missing, nan)
    s_low, p_low = question.beyond(low, "greater")
    s_high, p_high = question.beyond(high, "less")
    p = None if p_low is None or p_high is None else max(p_low, p_high)
    inside = low < question.difference < high
    return EquivalenceResult(
        test=question.name,
        difference=question.difference,
        margin=(low, high),
        statistic_lower=s_low,
        statistic_upper=s_high,
        p_lower=p_low,
        p_upper=p_high,
        p_value=p,
        alpha=alpha,
        interval=question.interval(1 - 2 * alpha),
        equivalent=inside if p is None else p <= alpha,
        notes=question.notes,
    )


def non_inferiority(
    control: Scores,
    treatment: Scores,
    *,
    margin: float,
    paired: bool,
    higher_is_better: bool = True,
    alpha: float = 0.05,
    cluster: Labels = None,
    ids: Sequence[str] | tuple[Sequence[str], Sequence[str]] | None = None,
    missing: Literal["raise", "drop"] = "raise",
    nan: Literal["raise", "omit"] = "raise",
) -> NonInferiorityResult:
    """Test whether treatment is worse than control by less than a margin.

    Parameters
    ----------
    margin : float, > 0
        The largest loss that would be accepted, in the score's unit.
    control, treatment, paired, alpha, cluster, ids, missing, nan
        As for `equivalence`.

    See Also
    --------
    equivalence : the same tests on both sides.
    """
    if not (margin > 0 and math.isfinite(margin)):
        raise ValueError(f"`margin` must be > 0, got {margin}")
    question = _Question(control, treatment, paired, cluster, alpha, ids, missing, nan)
    limit = -margin if higher_is_better else margin
    statistic, p = question.beyond(limit, "greater" if higher_is_better else "less")
    both = question.interval(1 - 2 * alpha)
    interval = None
    if both is not None:
        interval = Interval(
            low=both.low if higher_is_better else None,
            high=None if higher_is_better else both.high,
            level=1 - alpha,
            method=both.method,
        )
    worse = question.difference <= limit if higher_is_better else question.difference >= limit
    return NonInferiorityResult(
        test=question.name,
        difference=question.difference,
        margin=margin,
        statistic=statistic,
        p_value=p,
        alpha=alpha,
        interval=interval,
        non_inferior=not worse if p is None else p <= alpha,
        notes=question.notes,
    )


class _Question:
    """One comparison that can be tested against any hypothetical difference."""

    def __init__(
        self,
        control: Scores,
        treatment: Scores,
        paired: bool,
        cluster: Labels,
        alpha: float,
        ids: Any,
        missing: Literal["raise", "drop"],
        nan: Literal["raise", "omit"],
    ) -> None:
        if not 0 < alpha < 0.5:
            raise ValueError(f"`alpha` must be in (0, 0.5), got {alpha}")
        if paired:
            if isinstance(cluster, tuple):
                raise ValueError("`cluster` must be one sequence of labels when paired")
            a, b, labels, _ = pair(
                control, treatment, ids=ids, cluster=cluster, missing=missing, nan=nan
            )
            x, y = item_means(a), item_means(b)
        else:
            if cluster is not None and not isinstance(cluster, tuple):
                raise ValueError("`cluster` must be a pair of label sequences, one for each arm")
            if missing != "raise":
                raise ValueError(f'`missing` must be "raise" for independent arms, got {missing!r}')
            arms = two_arms(control, treatment, cluster=cluster, ids=ids, nan=nan)
            x, y, cluster, labels = arms.x, arms.y, arms.groups, None
        self.difference = float(y.mean() - x.mean())
        self.notes: tuple[str, ...] = ()
        self._t: Callable[[float, Alternative, float], TestResult] | None = None
        self._z: Callable[[float], float] | None = None
        self._interval: Callable[[float], Interval] | None = None
        if cluster is None and is_binary(x, y):
            self._shares(x, y, paired)
        elif paired and labels is not None:
            self._set(lambda shift, side, level: clusters.cluster_t(
                y - x, labels, mean=shift, alternative=side, confidence=level))  # fmt: skip
        elif isinstance(cluster, tuple):
            groups = cluster
            self._set(lambda shift, side, level: clusters.cluster_welch(
                x, y - shift, cluster=groups, alternative=side, confidence=level))  # fmt: skip
        elif paired:
            self._set(lambda shift, side, level: means.one_sample_t(
                y - x, mean=shift, alternative=side, confidence=level))  # fmt: skip
        else:
            self._set(lambda shift, side, level: means.welch_t(
                x, y - shift, alternative=side, confidence=level))  # fmt: skip

    def _set(self, test: Callable[[float, Alternative, float], TestResult]) -> None:
        self._t = test
        first = test(0.0, "two-sided", 0.95)
        self.name = "paired_t" if first.name == "one_sample_t" else first.name
        self.notes = first.notes

    def _shares(self, x: Array, y: Array, paired: bool) -> None:
        if paired:
            b, c = int(((x == 1) & (y == 0)).sum()), int(((x == 0) & (y == 1)).sum())
            n = x.size
            self.name = "tango"
            self._z = lambda d: tango_z(b, c, n, d)
            self._interval = lambda level: tango(b, c, n, confidence=level)
            return
        x0, n0, x1, n1 = int(x.sum()), x.size, int(y.sum()), y.size
        self.name = "two_proportions"
        self._z = lambda d: score_z(x0, n0, x1, n1, d)
        self._interval = lambda level: miettinen_nurminen((x0, n0), (x1, n1), confidence=level)

    def beyond(self, limit: float, side: Alternative) -> tuple[float | None, float | None]:
        """Return statistic and p of the one-sided test against `limit`."""
        if self._t is not None:
            found = self._t(limit, side, 0.95)
            return found.statistic, found.p_value
        from crucible_bench.p_values import normal_p

        assert self._z is not None  # either the means or the shares were set
        z = self._z(limit)
        return (z if math.isfinite(z) else None), normal_p(z, side)

    def interval(self, level: float) -> Interval | None:
        """Return the two-sided interval of the difference."""
        if self._t is not None:
            return self._t(0.0, "two-sided", level).interval
        assert self._interval is not None
        return self._interval(level)
