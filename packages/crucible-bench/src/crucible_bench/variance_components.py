"""How much scores vary between items or clusters, and how much within them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import Array, scores
from crucible_bench.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceComponents(Record):
    """Variance between and within items; `icc` is None where nothing varies."""

    between: float
    within: float
    icc: float | None
    n_items: int
    n_scores: int


def variance_components(x: ArrayLike) -> VarianceComponents:
    """Split the variance of (items, repeats) into between and within items.

    Parameters
    ----------
    x : (items, repeats) array
        NaN marks a missing repeat.

    Notes
    -----
    ANOVA estimators; for unequal numbers of repeats with m0 in place of the number of repeats. A
    negative variance between items is reported as it is; `icc` is ICC(1).

    References
    ----------
    .. [1] S. R. Searle, G. Casella, C. E. McCulloch, Variance Components, 1992, section 3.6.
    """
    table = scores("x", x)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError("`x` must be items x repeats, with at least 2 repeats")
    known = ~np.isnan(table)
    return _components(table[known], np.repeat(np.arange(len(table)), known.sum(axis=1)))


def cluster_components(x: ArrayLike, cluster: ArrayLike) -> VarianceComponents:
    """Split the variance of clustered scores into between and within clusters."""
    y = scores("x", x)
    from crucible_bench.clusters import codes

    return _components(y, codes("cluster", cluster, y.size))


def pooled_components(arms: list[tuple[Array, NDArray[np.intp]]]) -> VarianceComponents | None:
    """Split the variance of (scores, unit numbers) of several arms; None where nothing repeats."""
    between = within = moment = 0.0
    df_between = df_within = n_scores = 0
    for y, numbers in arms:
        sizes = np.bincount(numbers).astype(float)
        sizes_of = sizes[sizes > 0]
        sums = np.bincount(numbers, weights=y)
        averages = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
        within += float(((y - averages[numbers]) ** 2).sum())
        between += float((sizes * (averages - y.mean()) ** 2).sum())
        moment += y.size - float((sizes_of**2).sum()) / y.size
        df_between += sizes_of.size - 1
        df_within += y.size - sizes_of.size
        n_scores += y.size
    if df_within == 0 or df_between == 0:
        return None
    squares = within / df_within
    component = (between / df_between - squares) * df_between / moment
    total = component + squares
    return VarianceComponents(
        between=component,
        within=squares,
        icc=component / total if total > 0 else None,
        n_items=df_between + len(arms),
        n_scores=n_scores,
    )


def _components(y: Array, numbers: NDArray[np.intp]) -> VarianceComponents:
    found = pooled_components([(y, numbers)])
    if found is None:
        raise ValueError("`x` must hold at least 2 items, one of them with 2 scores")
    return found
