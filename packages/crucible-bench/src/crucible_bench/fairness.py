"""Rates by group: differences with intervals, corrected over all pairs of groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import check_confidence, is_binary, scores
from crucible_bench.corrections import correct
from crucible_bench.proportion_intervals import miettinen_nurminen, proportion_interval
from crucible_bench.results import Interval, Record
from crucible_bench.tables import two_proportions

CAUTION = "screening heuristic, not legal advice"
Metric = Literal[
    "selection_rate", "true_positive_rate", "false_positive_rate", "positive_predictive_value"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRate(Record):
    """A rate in one group with its Wilson interval; None, with the reason, where undefined."""

    group: str
    rate: float | None
    interval: Interval | None
    successes: int
    n: int
    reason: str | None = None
    caution: str = CAUTION


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDifference(Record):
    """Rate of `second` minus rate of `first`; p corrected over all pairs (Holm)."""

    first: str
    second: str
    difference: float
    interval: Interval
    p_value: float
    p_adjusted: float
    caution: str = CAUTION


@dataclass(frozen=True, slots=True, kw_only=True)
class FairnessReport(Record):
    """One rate in every group, and the difference of every pair for which it is defined."""

    metric: Metric
    rates: tuple[GroupRate, ...]
    differences: tuple[GroupDifference, ...]
    caution: str = CAUTION


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualizedOdds(Record):
    """True and false positive rates together; p corrected over the pairs of both."""

    true_positive: FairnessReport
    false_positive: FairnessReport
    caution: str = CAUTION


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionRatio(Record):
    """A group's rate over the highest group's; `below` says whether it is under four fifths."""

    group: str
    ratio: float | None
    below: bool | None
    reason: str | None = None
    caution: str = CAUTION


@dataclass(frozen=True, slots=True, kw_only=True)
class FourFifths(Record):
    """The four-fifths rule; `passes` is None where a rate is undefined and none falls below."""

    highest: str | None
    ratios: tuple[SelectionRatio, ...]
    passes: bool | None
    caution: str = CAUTION


def group_rates(
    selected: ArrayLike,
    group: Sequence[str],
    *,
    min_group: int = 10,
    confidence: float = 0.95,
) -> tuple[GroupRate, ...]:
    """Return the share of 1 in each group.

    Parameters
    ----------
    selected : (n,) array of 0 and 1
    group : (n,) sequence of labels
        In the report, groups are sorted by label.
    min_group : int, >= 1
        A smaller group has no rate: it would say more about individuals than about the group.

    Examples
    --------
    >>> group_rates([1, 0] * 10 + [1], ["a"] * 20 + ["b"])[1].reason
    'only 1 of at least 10'
    """
    return _rates(_binary("selected", selected), _labels(group), None, min_group, confidence)


def demographic_parity(
    selected: ArrayLike,
    group: Sequence[str],
    *,
    min_group: int = 10,
    confidence: float = 0.95,
) -> FairnessReport:
    """Compare how often each group is selected."""
    rates = group_rates(selected, group, min_group=min_group, confidence=confidence)
    return _report([("selection_rate", rates)], confidence)[0]


def equal_opportunity(
    selected: ArrayLike,
    actual: ArrayLike,
    group: Sequence[str],
    *,
    min_group: int = 10,
    confidence: float = 0.95,
) -> FairnessReport:
    """Compare how often those who should be selected are (true positive rate)."""
    x, y, labels = _binary("selected", selected), _binary("actual", actual), _labels(group)
    rates = _rates(x, labels, y == 1, min_group, confidence)
    return _report([("true_positive_rate", rates)], confidence)[0]


def equalized_odds(
    selected: ArrayLike,
    actual: ArrayLike,
    group: Sequence[str],
    *,
    min_group: int = 10,
    confidence: float = 0.95,
) -> EqualizedOdds:
    """Compare true and false positive rates."""
    x, y, labels = _binary("selected", selected), _binary("actual", actual), _labels(group)
    positive, negative = _report(
        [
            ("true_positive_rate", _rates(x, labels, y == 1, min_group, confidence)),
            ("false_positive_rate", _rates(x, labels, y == 0, min_group, confidence)),
        ],
        confidence,
    )
    return EqualizedOdds(true_positive=positive, false_positive=negative)


def predictive_parity(
    selected: ArrayLike,
    actual: ArrayLike,
    group: Sequence[str],
    *,
    min_group: int = 10,
    confidence: float = 0.95,
) -> FairnessReport:
    """Compare how often those who are selected should be (positive predictive value)."""
    x, y, labels = _binary("selected", selected), _binary("actual", actual), _labels(group)
    rates = _rates(y, labels, x == 1, min_group, confidence)
    return _report([("positive_predictive_value", rates)], confidence)[0]


def four_fifths(
    selected: ArrayLike,
    group: Sequence[str],
    *,
    min_group: int = 10,
) -> FourFifths:
    """Compare each group's selection rate with the highest: below 4/5 is a warning sign.

    References
    ----------
    .. [1] Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4(D).
    """
    rates = group_rates(selected, group, min_group=min_group)
    known = [r for r in rates if r.rate is not None]
    best = max(known, key=lambda r: r.rate or 0.0, default=None)
    top = None if best is None else best.rate
    ratios = []
    for r in rates:
        if r.rate is None or not top:
            reason = r.reason if r.rate is None else "no group has a selection"
            ratios.append(SelectionRatio(group=r.group, ratio=None, below=None, reason=reason))
        else:
            ratio = r.rate / top
            ratios.append(SelectionRatio(group=r.group, ratio=ratio, below=ratio < 0.8 - 1e-12))
    verdicts = [r.below for r in ratios]
    passes: bool | None = None
    if any(verdicts):
        passes = False
    elif None not in verdicts:
        passes = True
    return FourFifths(
        highest=None if best is None or not top else best.group, ratios=tuple(ratios), passes=passes
    )


def _rates(
    outcome: NDArray[np.float64],
    labels: NDArray[np.str_],
    among: NDArray[np.bool_] | None,
    min_group: int,
    confidence: float,
) -> tuple[GroupRate, ...]:
    check_confidence(confidence)
    if min_group < 1:
        raise ValueError(f"`min_group` must be >= 1, got {min_group}")
    sizes = {labels.size, outcome.size, outcome.size if among is None else among.size}
    if len(sizes) > 1:
        raise ValueError(f"`group` and outcomes must be of one length, got {sorted(sizes)}")
    rates = []
    for label in np.unique(labels).tolist():
        member = labels == label if among is None else (labels == label) & among
        n, successes = int(member.sum()), int(outcome[member].sum())
        if n < min_group:
            reason = f"only {n} of at least {min_group}" if n else "no one to take a rate of"
            rates.append(GroupRate(group=label, rate=None, interval=None, successes=successes,
                                   n=n, reason=reason))  # fmt: skip
            continue
        interval = proportion_interval(successes, n, confidence=confidence)
        rates.append(GroupRate(group=label, rate=successes / n, interval=interval,
                               successes=successes, n=n))  # fmt: skip
    return tuple(rates)


def _report(
    families: Sequence[tuple[Metric, tuple[GroupRate, ...]]], confidence: float
) -> list[FairnessReport]:
    pairs = [
        [(a, b) for a, b in combinations(rates, 2) if a.rate is not None and b.rate is not None]
        for _, rates in families
    ]
    tests = [_tested(a, b, confidence) for family in pairs for a, b in family]
    raw = [p for p, _, _ in tests]
    adjusted = correct(raw, family="pairs of groups").adjusted if raw else ()
    found = iter(zip(tests, adjusted, strict=True))
    reports = []
    for (metric, rates), family in zip(families, pairs, strict=True):
        differences = []
        for a, b in family:
            (p_value, difference, interval), p_adjusted = next(found)
            differences.append(
                GroupDifference(
                    first=a.group,
                    second=b.group,
                    difference=difference,
                    interval=interval,
                    p_value=p_value,
                    p_adjusted=p_adjusted,
                )
            )
        reports.append(FairnessReport(metric=metric, rates=rates, differences=tuple(differences)))
    return reports


def _tested(a: GroupRate, b: GroupRate, confidence: float) -> tuple[float, float, Interval]:
    """Return p, difference and interval of the score test."""
    first, second = (a.successes, a.n), (b.successes, b.n)
    p_value = two_proportions(first, second, confidence=confidence).p_value
    difference = b.successes / b.n - a.successes / a.n
    interval = miettinen_nurminen(first, second, confidence=confidence)
    return 1.0 if p_value is None else p_value, difference, interval


def _binary(name: str, data: ArrayLike) -> NDArray[np.float64]:
    array = scores(name, data)
    if array.ndim != 1 or not is_binary(array):
        raise ValueError(f"`{name}` must be one dimension of 0 and 1")
    return array


def _labels(group: Sequence[str]) -> NDArray[np.str_]:
    if any(not isinstance(label, str) for label in group):
        raise ValueError("`group` must hold a string for every item; an unknown group is no group")
    return np.asarray(group, dtype=np.str_)
