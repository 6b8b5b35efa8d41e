"""Difference and ratio of a quantile between two arms, by the bootstrap without its loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench import quantile_resampling as resampling
from crucible_bench.arrays import Array, check_confidence, scores
from crucible_bench.results import Interval, Record

Draws = tuple[Array, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileContrast(Record):
    """A quantile of treatment against the same quantile of control.

    `estimate` is treatment - control for a difference, treatment / control for a ratio. `p_value`
    (against 0, or 1) is the dual of the percentile interval; it is never below 2 / (n_resamples +
    1). `n_clusters` is None where every observation counts by itself.
    """

    kind: Literal["difference", "ratio"]
    design: Literal["independent", "paired"]
    q: float
    control: float
    treatment: float
    estimate: float
    interval: Interval
    standard_error: float
    p_value: float
    n: tuple[int, int]
    n_clusters: tuple[int, int] | None
    n_resamples: int
    method: str
    warnings: tuple[str, ...] = ()


def quantile_difference(
    control: ArrayLike,
    treatment: ArrayLike,
    q: float,
    *,
    paired: bool,
    cluster: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    block_length: int | None = None,
    n_resamples: int = 9_999,
    confidence: float = 0.95,
    rng: int | np.random.Generator,
) -> QuantileContrast:
    """Estimate the difference of a percentile, treatment - control.

    Parameters
    ----------
    control, treatment : (n,) or (items, repeats) arrays
        Repeats are resampled with their item; NaN is a missing repeat. Quantiles are taken over all
        observations (type 7).
    q : float, in (0, 100)
    paired : bool
        Whether position i holds the same item in both arms, which is then resampled in both.
    cluster : (n,) array, or a pair of arrays if not paired
        Observations of one cluster are resampled together. Not with 2-D data, whose items are the
        clusters.
    block_length : int, in [1, n]
        Resample moving blocks of neighbours in time. Not with clusters.
    n_resamples : int, >= 100
    rng : int or numpy.random.Generator

    Raises
    ------
    ValueError
        If an argument is out of range, or options exclude each other.

    Notes
    -----
    Percentile interval. Nothing is resampled item by item where the distribution is known: a
    quantile of an independent resample comes from the Beta distribution of order statistics [1]_;
    paired resamples need only the multinomial counts of the items in either arm's tail. Both are
    exactly the bootstrap distribution. With fewer than 10 observations expected beyond q a warning
    says so.

    References
    ----------
    .. [1] H. A. David, H. N. Nagaraja, Order Statistics, 3rd ed., 2003, section 2.1.

    Examples
    --------
    >>> plain = [1.0, 1.1, 1.2, 1.3, 9.0] * 100
    >>> hedged = [1.0, 1.1, 1.2, 1.3, 4.0] * 100
    >>> result = quantile_difference(plain, hedged, 95, paired=True, rng=1)
    >>> result.estimate, result.interval.high
    (-5.0, -5.0)
    """
    return _contrast("difference", control, treatment, q, paired, cluster, block_length,
                     n_resamples, confidence, rng)  # fmt: skip


def quantile_ratio(
    control: ArrayLike,
    treatment: ArrayLike,
    q: float,
    *,
    paired: bool,
    cluster: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    block_length: int | None = None,
    n_resamples: int = 9_999,
    confidence: float = 0.95,
    rng: int | np.random.Generator,
) -> QuantileContrast:
    """Estimate the ratio of a percentile, treatment / control; every observation must be > 0.

    Parameters and method are those of `quantile_difference`.
    """
    return _contrast("ratio", control, treatment, q, paired, cluster, block_length,
                     n_resamples, confidence, rng)  # fmt: skip


def thin_tail(q: float, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Warn for each sample with fewer than 10 observations expected beyond the quantile."""
    share = min(q, 100 - q) / 100
    return tuple(
        f"only {n * share:.1f} observations of `{name}` are expected beyond P{q:g}"
        for name, n in sizes.items()
        if n * share < 10 - 1e-9
    )


def _contrast(
    kind: Literal["difference", "ratio"],
    control: ArrayLike,
    treatment: ArrayLike,
    q: float,
    paired: bool,
    cluster: ArrayLike | tuple[ArrayLike, ArrayLike] | None,
    block_length: int | None,
    n_resamples: int,
    confidence: float,
    rng: int | np.random.Generator,
) -> QuantileContrast:
    check_confidence(confidence)
    if not 0 < q < 100:
        raise ValueError(f"`q` must be in (0, 100), got {q}")
    if n_resamples < 100:
        raise ValueError(f"`n_resamples` must be >= 100, got {n_resamples}")
    a, b = scores("control", control), scores("treatment", treatment)
    if paired and a.shape != b.shape:
        raise ValueError(f"`control` and `treatment` must be paired, got {a.shape} and {b.shape}")
    groups = _groups(a, b, paired, cluster)
    if groups is not None and block_length is not None:
        raise ValueError("`block_length` must not be given with clusters or repeats")
    for name, array in (("control", a), ("treatment", b)):
        if kind == "ratio" and not (array[~np.isnan(array)] > 0).all():
            raise ValueError(f"`{name}` must be > 0 for a ratio, got {np.nanmin(array):g}")
    if groups is not None:
        (a, ga), (b, gb) = (_long(x, g) for x, g in zip((a, b), groups, strict=True))
        groups = (ga, gb)
    draw, method = _sampler(a, b, q, paired, groups, block_length)
    first, second = draw(n_resamples, np.random.default_rng(rng))
    before, after = float(np.percentile(a, q)), float(np.percentile(b, q))
    drawn = second - first if kind == "difference" else second / first
    null = 0.0 if kind == "difference" else 1.0
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    at_most, at_least = int((drawn <= null).sum()), int((drawn >= null).sum())
    return QuantileContrast(
        kind=kind,
        design="paired" if paired else "independent",
        q=q,
        control=before,
        treatment=after,
        estimate=after - before if kind == "difference" else after / before,
        interval=Interval(
            low=float(low), high=float(high), level=confidence, method="bootstrap percentile"
        ),
        standard_error=float(drawn.std(ddof=1)),
        p_value=min(1.0, 2 * (1 + min(at_most, at_least)) / (1 + n_resamples)),
        n=(a.size, b.size),
        n_clusters=None
        if groups is None
        else (int(np.unique(groups[0]).size), int(np.unique(groups[1]).size)),
        n_resamples=n_resamples,
        method=method,
        warnings=thin_tail(q, {"control": a.size, "treatment": b.size}),
    )


def _groups(
    a: Array, b: Array, paired: bool, cluster: ArrayLike | tuple[ArrayLike, ArrayLike] | None
) -> tuple[Array, Array] | None:
    """Return a cluster number for each row of both arms; None where each row is its own."""
    if a.ndim == 2 or b.ndim == 2:
        if cluster is not None:
            raise ValueError("`cluster` must not be given with items x repeats")
        return np.arange(len(a), dtype=float), np.arange(len(b), dtype=float)
    if cluster is None:
        return None
    if paired:
        pair = (np.asarray(cluster), np.asarray(cluster))
    elif isinstance(cluster, tuple) and len(cluster) == 2:
        pair = (np.asarray(cluster[0]), np.asarray(cluster[1]))
    else:
        raise ValueError("`cluster` must be a pair (control, treatment) for independent arms")
    codes = []
    for name, labels, array in zip(("control", "treatment"), pair, (a, b), strict=True):
        if labels.shape != array.shape:
            raise ValueError(
                f"`cluster` must have one label per score of {name}, got {labels.shape} for "
                f"{array.shape}"
            )
        _, code = np.unique(labels, return_inverse=True)
        if code.max() == 0:
            raise ValueError(f"`cluster` must have at least 2 clusters in {name}, got 1")
        codes.append(code.astype(float))
    if not paired and np.isin(pair[0], pair[1]).any():
        raise ValueError(
            "`cluster` must differ between independent arms; the same items are paired"
        )
    return codes[0], codes[1]


def _long(array: Array, group: Array) -> Draws:
    """Return the observations that exist, and each one's cluster."""
    if array.ndim == 1:
        return array, group
    present = ~np.isnan(array)
    return array[present], np.broadcast_to(group[:, None], array.shape)[present]


def _sampler(
    a: Array,
    b: Array,
    q: float,
    paired: bool,
    groups: tuple[Array, Array] | None,
    block_length: int | None,
) -> tuple[Callable[[int, np.random.Generator], Draws], str]:
    if groups is not None:
        ga, gb = groups

        def by_cluster(size: int, rng: np.random.Generator) -> Draws:
            if paired:
                return resampling.clustered(((a, ga), (b, gb)), q, size, rng)
            one = resampling.clustered(((a, ga),), q, size, rng)
            return one[0], resampling.clustered(((b, gb),), q, size, rng)[0]

        return by_cluster, "resampled clusters"
    if block_length is not None:
        length = block_length
        if not 1 <= length <= min(a.size, b.size):
            raise ValueError(f"`block_length` must be in [1, n], got {length}")

        def by_block(size: int, rng: np.random.Generator) -> Draws:
            if paired:
                return resampling.blocks((a, b), q, size, length, rng)
            one = resampling.blocks((a,), q, size, length, rng)
            return one[0], resampling.blocks((b,), q, size, length, rng)[0]

        return by_block, f"moving blocks of {length}"
    if paired:
        return lambda size, rng: resampling.paired(a, b, q, size, rng), "multinomial tail counts"
    return (
        lambda size, rng: (
            resampling.independent(a, q, size, rng),
            resampling.independent(b, q, size, rng),
        ),
        "Beta order statistics",
    )
