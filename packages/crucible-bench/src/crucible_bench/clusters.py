"""Means of clustered scores: repeats of an item, questions on one text, items of one author."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import Array, check_confidence, scores
from crucible_bench.errors import PseudoReplicationError
from crucible_bench.intervals import t_interval
from crucible_bench.records import Record
from crucible_bench.results import Alternative, TestResult, undefined
from crucible_bench.variance_components import cluster_components as cluster_components
from crucible_bench.variance_components import variance_components as variance_components

FEW = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterMean(Record):
    """A mean over all scores, with a standard error that counts clusters."""

    estimate: float
    se: float
    df: float
    n: int
    n_clusters: int
    variance: Literal["CR2", "CR1"]


def codes(name: str, cluster: ArrayLike, n: int) -> NDArray[np.intp]:
    """Return cluster labels as 0 .. C-1.

    Raises
    ------
    ValueError
        Unless there is one label per score and at least two clusters.
    """
    labels = np.asarray(cluster)
    if labels.ndim != 1 or labels.size != n:
        raise ValueError(f"`{name}` must have one label per score, got {labels.size} for {n}")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(f"`{name}` must not hold NaN")
    if labels.dtype.kind == "O":
        labels = labels.astype(str)
    found, numbers = np.unique(labels, return_inverse=True)
    if found.size < 2:
        raise ValueError(f"`{name}` must hold at least 2 clusters, got {found.size}")
    return numbers


def separate(control: ArrayLike, treatment: ArrayLike) -> None:
    """Raise `PseudoReplicationError` if a cluster has scores in both independent arms."""
    shared = sorted({str(c) for c in np.unique(np.asarray(control))}
                    & {str(c) for c in np.unique(np.asarray(treatment))})  # fmt: skip
    if shared:
        raise PseudoReplicationError(
            tuple(shared),
            "these clusters are in both arms: pair their scores, then compare_paired(cluster=...)",
        )


def cluster_mean(
    x: ArrayLike, cluster: ArrayLike, *, variance: Literal["CR2", "CR1"] = "CR2"
) -> ClusterMean:
    """Estimate a mean over all scores and its standard error from clusters.

    Parameters
    ----------
    x : (n,) array
    cluster : (n,) array of labels
    variance : {"CR2", "CR1"}
        CR2 [1]_ is unbiased when scores are independent, and has Satterthwaite's degrees of
        freedom; CR1 is the sandwich times C / (C - 1), with C - 1, as most software prints it [2]_.

    Raises
    ------
    ValueError
        If there are fewer than 2 clusters, or a score is not finite.

    Notes
    -----
    With r_c the sum of a cluster's residuals and n_c of N its size, CR2 is the sum of
    r_c^2 / (1 - n_c / N) over N^2. df = tr(G)^2 / tr(G^2) where, with a_c = (1 - n_c / N)^(-1/2),
    G_cc' = a_c a_c' (n_c [c = c'] - n_c n_c' / N). Of clusters of one size both are equal.

    References
    ----------
    .. [1] R. M. Bell, D. F. McCaffrey, Survey Methodology 28(2), 169-181, 2002.
    .. [2] E. Miller, Adding Error Bars to Evals, arXiv 2411.00640, 2024, equation 4 (without the
       factor C / (C - 1)).

    Examples
    --------
    >>> result = cluster_mean([1, 1, 0, 1, 0, 0, 1, 1], [1, 1, 1, 2, 2, 2, 3, 3])
    >>> round(result.estimate, 3), round(result.se, 3), round(result.df, 2)
    (0.625, 0.177, 1.92)
    """
    y = scores("x", x)
    if y.ndim != 1:
        raise ValueError("`x` must have one dimension: repeats are what clusters are for")
    numbers = codes("cluster", cluster, y.size)
    sizes = np.bincount(numbers).astype(float)
    total = y.size
    mean = float(y.mean())
    sums = np.bincount(numbers, weights=y - mean)
    if variance == "CR1":
        c = sizes.size
        squared = c / (c - 1) * float(sums @ sums) / total**2
        df = float(c - 1)
    elif variance == "CR2":
        squared = float((sums**2 / (1 - sizes / total)).sum()) / total**2
        df = satterthwaite(sizes)
    else:
        raise ValueError(f'`variance` must be "CR2" or "CR1", got {variance!r}')
    return ClusterMean(
        estimate=mean,
        se=math.sqrt(squared),
        df=df,
        n=total,
        n_clusters=sizes.size,
        variance=variance,
    )


def satterthwaite(sizes: Array) -> float:
    """Return the degrees of freedom of CR2's variance of a mean; closed form of the traces."""
    total = float(sizes.sum())
    share = sizes**2 / (1 - sizes / total)
    squares = (
        float((sizes**2).sum()) + (float(share.sum()) ** 2 - float((share**2).sum())) / total**2
    )
    return total**2 / squares


def cluster_t(
    x: ArrayLike,
    cluster: ArrayLike,
    *,
    mean: float = 0.0,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test whether a mean of clustered scores differs from `mean`: CR2, Satterthwaite.

    Notes
    -----
    With fewer than 10 clusters a note says so: the approximation is then rough.
    """
    check_confidence(confidence)
    found = cluster_mean(x, cluster)
    return _test(found.estimate, mean, found.se, found.df, found.n, (found.n_clusters,),
                 alternative, confidence)  # fmt: skip


def cluster_welch(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    cluster: tuple[ArrayLike, ArrayLike],
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> TestResult:
    """Test a difference of two independent means of clustered scores.

    Parameters
    ----------
    cluster : pair of (n,) arrays of labels
        A cluster lies in one arm; paired clusters belong into `compare_paired`.

    Notes
    -----
    The CR2 variances of both means add; Satterthwaite's degrees of freedom combine theirs.
    """
    check_confidence(confidence)
    separate(*cluster)
    a, b = cluster_mean(control, cluster[0]), cluster_mean(treatment, cluster[1])
    va, vb = a.se**2, b.se**2
    df = (va + vb) ** 2 / (va**2 / a.df + vb**2 / b.df) if va + vb > 0 else a.df + b.df
    return _test(b.estimate - a.estimate, 0.0, math.sqrt(va + vb), df, a.n + b.n,
                 (a.n_clusters, b.n_clusters), alternative, confidence)  # fmt: skip


def _test(
    estimate: float,
    null: float,
    se: float,
    df: float,
    n: int,
    clusters: tuple[int, ...],
    alternative: Alternative,
    confidence: float,
) -> TestResult:
    from crucible_bench.p_values import t_p_value

    notes = []
    if min(clusters) < FEW:
        notes.append(
            f"only {min(clusters)} clusters: with fewer than {FEW} the cluster-robust interval is "
            "rough"
        )
    if not se > 1e-14 * max(1.0, abs(estimate)):
        same = math.isclose(estimate, null, abs_tol=1e-14)
        notes.append("no variation" if same else "differences without variation")
        return undefined(
            "cluster_t", "t", df=(df,), alternative=alternative, n=n, estimate=estimate,
            notes=tuple(notes),
        )  # fmt: skip
    t = (estimate - null) / se
    return TestResult(
        name="cluster_t",
        statistic_name="t",
        statistic=t,
        df=(df,),
        p_value=t_p_value(t, df, alternative),
        alternative=alternative,
        method="asymptotic",
        n=n,
        estimate=estimate,
        interval=t_interval(estimate, se, df, confidence=confidence, method="CR2 t"),
        notes=tuple(notes),
    )
