"""Whether judges agree, and what a judge's labels are worth beside a few human ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from crucible_bench.arrays import Array, check_confidence
from crucible_bench.prediction_powered import (
    PredictionPowered,
    prediction_powered_difference,
    prediction_powered_mean,
)
from crucible_bench.results import Interval, Record

__all__ = [
    "Agreement",
    "PredictionPowered",
    "cohens_kappa",
    "krippendorff_alpha",
    "prediction_powered_difference",
    "prediction_powered_mean",
]

Label = float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement(Record):
    """Agreement beyond chance: 1 is perfect, 0 what chance gives.

    `value` is None where nothing varies, so that chance agreement is perfect; `reason` says so.
    `n` counts items (units) that at least two judged.
    """

    name: Literal["cohens_kappa", "krippendorff_alpha"]
    value: float | None
    interval: Interval | None
    n: int
    categories: tuple[float | str, ...]
    standard_error: float | None = None
    reason: str | None = None


def cohens_kappa(
    first: Sequence[float | str],
    second: Sequence[float | str],
    *,
    weights: Literal["linear", "quadratic"] | None = None,
    categories: Sequence[float | str] | None = None,
    confidence: float = 0.95,
) -> Agreement:
    """Compute Cohen's kappa of two judges who labelled the same items.

    Parameters
    ----------
    first, second : (n,) sequences of numbers or strings
    weights : {"linear", "quadratic"}, optional
        Disagreement grows with the distance of two categories, or its square; without weights all
        disagreements count alike.
    categories : sequence, optional
        All categories in their order. By default those found, sorted; weights on strings need it.

    Notes
    -----
    The interval is normal with the standard error for kappa other than 0 [2]_; perfect agreement
    has none.

    References
    ----------
    .. [1] J. Cohen, Psychological Bulletin 70(4), 213-220, 1968.
    .. [2] J. Fleiss, J. Cohen, B. Everitt, Psychological Bulletin 72(5), 323-327, 1969, eq. 9.

    Examples
    --------
    >>> first = ["yes"] * 25 + ["no"] * 25
    >>> second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    >>> round(cohens_kappa(first, second).value, 6)
    0.4
    """
    from scipy import special

    check_confidence(confidence)
    if weights not in (None, "linear", "quadratic"):
        raise ValueError(f'`weights` must be "linear", "quadratic" or None, got {weights!r}')
    n = len(first)
    if n < 2 or len(second) != n:
        raise ValueError(
            f"`first` and `second` must label the same items, at least 2, got {n} and {len(second)}"
        )
    known = _categories(list(first) + list(second), categories)
    if weights is not None and categories is None and isinstance(known[0], str):
        raise ValueError("`categories` must give the order of strings when there are weights")
    place = {category: i for i, category in enumerate(known)}
    table = np.zeros((len(known), len(known)))
    for a, b in zip(first, second, strict=True):
        table[place[a], place[b]] += 1 / n
    distance = np.abs(np.subtract.outer(np.arange(len(known)), np.arange(len(known))))
    power = {None: 0, "linear": 1, "quadratic": 2}[weights]
    agreement = 1 - (distance / max(1, len(known) - 1)) ** power if power else distance == 0
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed = float((agreement * table).sum())
    expected = float((agreement * np.outer(rows, columns)).sum())
    if math.isclose(expected, 1):
        return Agreement(name="cohens_kappa", value=None, interval=None, n=n, categories=known,
                         reason="both judges gave one and the same label throughout")  # fmt: skip
    kappa = (observed - expected) / (1 - expected)
    by_row = (agreement * columns).sum(axis=1)
    by_column = (agreement * rows[:, None]).sum(axis=0)
    margins = np.add.outer(by_row, by_column)
    spread = float((table * (agreement - margins * (1 - kappa)) ** 2).sum())
    variance = (spread - (kappa - expected * (1 - kappa)) ** 2) / (n * (1 - expected) ** 2)
    se = math.sqrt(max(variance, 0.0))
    half = float(special.ndtri((1 + confidence) / 2)) * se
    return Agreement(
        name="cohens_kappa",
        value=kappa,
        interval=Interval(
            low=max(-1.0, kappa - half), high=min(1.0, kappa + half), level=confidence, method="z"
        )
        if se > 0
        else None,
        n=n,
        categories=known,
        standard_error=se,
        reason=None if se > 0 else "perfect agreement has no standard error",
    )


def krippendorff_alpha(
    ratings: Sequence[Sequence[Label]],
    *,
    level: Literal["nominal", "ordinal", "interval"] = "nominal",
    confidence: float = 0.95,
    n_resamples: int = 999,
    rng: int | np.random.Generator | None = None,
) -> Agreement:
    """Compute Krippendorff's alpha of any number of judges, of whom some may have skipped units.

    Parameters
    ----------
    ratings : judges x units
        Numbers or strings; None or NaN is a missing label. Strings are nominal.
    level : {"nominal", "ordinal", "interval"}
        How far apart two labels are: all alike, by rank, or by squared distance.
    rng : int or numpy.random.Generator, optional
        With it comes a percentile interval by resampling units.

    References
    ----------
    .. [1] K. Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011.

    Examples
    --------
    >>> round(krippendorff_alpha([[1, 1, 2, None], [1, 1, 2, 2], [1, 2, 2, 2]]).value, 3)
    0.667
    """
    check_confidence(confidence)
    if level not in ("nominal", "ordinal", "interval"):
        raise ValueError(f'`level` must be "nominal", "ordinal" or "interval", got {level!r}')
    if n_resamples < 100:
        raise ValueError(f"`n_resamples` must be >= 100, got {n_resamples}")
    rows = [list(row) for row in ratings]
    if len(rows) < 2 or len({len(row) for row in rows}) != 1:
        raise ValueError("`ratings` must hold at least 2 judges with one label per unit")
    present = [x for row in rows for x in row if not _missing(x)]
    if not present:
        raise ValueError("`ratings` must hold at least one label")
    known = _categories(present, None)
    if isinstance(known[0], str) and level != "nominal":
        raise ValueError(f'`level` must be "nominal" for strings, got {level!r}')
    place = {category: i for i, category in enumerate(known)}
    counts = np.zeros((len(rows[0]), len(known)))  # units x categories
    for row in rows:
        for unit, x in enumerate(row):
            if x is not None and not _missing(x):
                counts[unit, place[x]] += 1
    counts = counts[counts.sum(axis=1) >= 2]
    if not len(counts):
        raise ValueError("`ratings` must hold at least one unit with two labels")
    values = np.array([0.0 if isinstance(c, str) else float(c) for c in known])
    alpha = _alpha(counts, values, level)
    interval = None
    if alpha is not None and rng is not None:
        generator = np.random.default_rng(rng)
        drawn = [
            _alpha(counts[generator.integers(len(counts), size=len(counts))], values, level)
            for _ in range(n_resamples)
        ]
        # A resample in which nothing varies has perfect agreement and no alpha; it counts as 1.
        low, high = np.quantile(
            [1.0 if d is None else d for d in drawn], [(1 - confidence) / 2, (1 + confidence) / 2]
        )
        interval = Interval(
            low=float(low), high=float(high), level=confidence,
            method="bootstrap percentile over units",
        )  # fmt: skip
    return Agreement(
        name="krippendorff_alpha",
        value=alpha,
        interval=interval,
        n=len(counts),
        categories=known,
        reason="only one label was ever given" if alpha is None else None,
    )


def _alpha(counts: Array, values: Array, level: str) -> float | None:
    """Return 1 - observed / expected disagreement from the labels of each unit."""
    sizes = counts.sum(axis=1, keepdims=True)
    coincidence = (counts / (sizes - 1)).T @ counts - np.diag((counts / (sizes - 1)).sum(axis=0))
    totals = coincidence.sum(axis=1)
    n = float(totals.sum())
    distance = _distance(totals, values, level)
    expected = float((np.outer(totals, totals) * distance).sum()) / (n - 1)
    return None if expected == 0 else 1 - float((coincidence * distance).sum()) / expected


def _distance(totals: Array, values: Array, level: str) -> Array:
    if level == "nominal":
        return 1 - np.eye(values.size)
    if level == "interval":
        squares: Array = np.subtract.outer(values, values) ** 2
        return squares
    # Ordinal: all labels between the two, and half of those at either end.
    middle = np.cumsum(totals) - totals / 2
    ranks: Array = np.subtract.outer(middle, middle) ** 2
    return ranks


def _order(x: float | str) -> tuple[float, str]:
    return (0.0, x) if isinstance(x, str) else (x, "")


def _missing(x: Label) -> bool:
    return x is None or (isinstance(x, float | np.floating) and math.isnan(x))


def _categories(
    labels: Sequence[Label], given: Sequence[float | str] | None
) -> tuple[float | str, ...]:
    found = {x for x in labels if x is not None and not _missing(x)}
    if any(_missing(x) for x in labels):
        raise ValueError("labels must not be missing")
    if len({isinstance(x, str) for x in found}) > 1:
        raise ValueError("labels must be all numbers or all strings")
    if given is None:
        return tuple(sorted(found, key=_order))
    unknown = found - set(given)
    if unknown:
        raise ValueError(f"`categories` must hold every label, {sorted(map(str, unknown))} missing")
    return tuple(given)
