"""Bootstrap intervals over items, pairs, clusters or blocks of time."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import Array, check_confidence, scores
from crucible_bench.clusters import codes
from crucible_bench.jackknife import influences
from crucible_bench.permutations import paired_permutation as paired_permutation
from crucible_bench.permutations import permutation_test as permutation_test
from crucible_bench.quantile_resampling import independent
from crucible_bench.results import BootstrapResult, Interval
from crucible_bench.spans import span

Statistic = Callable[..., Array]
Name = Literal["mean", "median", "std"]
Method = Literal["auto", "percentile", "basic", "bca", "studentized"]
_BLOCK_BYTES = 32 * 2**20
_EXTREMES = (np.max, np.min, np.ptp, max, min)


def _std(x: Array, axis: int) -> Array:
    deviations: Array = np.std(x, axis=axis, ddof=1)
    return deviations


_NAMED: dict[str, Statistic] = {"mean": np.mean, "median": np.median, "std": _std}


def bootstrap(
    statistic: Statistic | Name,
    *samples: ArrayLike,
    paired: bool = False,
    cluster: ArrayLike | None = None,
    method: Method = "auto",
    block_length: int | None = None,
    n_resamples: int = 9_999,
    confidence: float = 0.95,
    keep: bool = False,
    rng: int | np.random.Generator,
) -> BootstrapResult:
    """Compute a bootstrap interval for a statistic of one or several samples.

    Parameters
    ----------
    statistic : callable or {"mean", "median", "std"}
        A callable takes the samples and `axis=`. A name given two samples is their difference,
        second - first.
    *samples : (n,) arrays
    paired : bool
        Resample the same items from every sample; lengths must be equal.
    cluster : (n,) array of labels, optional
        Resample whole clusters; several samples must be paired.
    method : {"auto", "percentile", "basic", "bca", "studentized"}
        "auto" is studentised for means and differences of means, BCa [2]_ otherwise; percentile
        with blocks.
    block_length : int, optional
        Resample blocks of this many consecutive scores, for latencies in order of time.
    keep : bool
        Keep the resampled statistics as `distribution`.
    rng : int or numpy.random.Generator
        There is no hidden global seed.

    Raises
    ------
    ValueError
        If an argument is out of range, paired samples differ in length, or the method does not fit
        the statistic.

    Notes
    -----
    The mean of 0/1 scores is drawn from its binomial distribution, a median from order statistics
    of a uniform sample, means of clusters from cluster sums: the same distributions as resampling,
    without it. BCa's acceleration is from a jackknife of linear time.

    References
    ----------
    .. [1] B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapters 12-14.
    .. [2] B. Efron, JASA 82(397), 171-185, 1987.

    Examples
    --------
    >>> found = bootstrap("mean", [0.2, 0.4, 0.4, 0.5, 0.9, 0.3], rng=1)
    >>> round(found.estimate, 3), found.method
    (0.45, 'studentized')
    """
    check_confidence(confidence)
    if n_resamples < 2:
        raise ValueError(f"`n_resamples` must be >= 2, got {n_resamples}")
    if method not in ("auto", "percentile", "basic", "bca", "studentized"):
        raise ValueError(f"`method` is not known: {method!r}")
    arrays = [scores(f"samples[{i}]", sample) for i, sample in enumerate(samples)]
    if not arrays:
        raise ValueError("`samples` must hold at least one array")
    if any(a.ndim != 1 for a in arrays):
        raise ValueError("`samples` must have one dimension: average repeats within items first")
    together = paired or cluster is not None
    if together and len({a.size for a in arrays}) > 1:
        raise ValueError(f"paired samples must be of one length, got {[a.size for a in arrays]}")
    if cluster is not None and len(arrays) > 1 and not paired:
        raise ValueError("`paired` must be True to resample clusters of several samples")
    if block_length is not None and (cluster is not None or (len(arrays) > 1 and not paired)):
        raise ValueError("`block_length` must be None with clusters or unpaired samples")
    if block_length is not None and not 1 <= block_length <= arrays[0].size:
        raise ValueError(f"`block_length` must be in [1, {arrays[0].size}], got {block_length}")
    named = statistic if isinstance(statistic, str) else None
    if named is not None and (named not in _NAMED or len(arrays) > 2):
        raise ValueError('`statistic` must be a callable, or "mean", "median", "std" of 1 or 2')
    if named == "mean" and len(arrays) == 2 and paired:
        arrays = [arrays[1] - arrays[0]]  # the mean of differences is the difference of means
    compute = statistic if callable(statistic) else _named(statistic, len(arrays))
    if method == "auto":
        simple = named == "mean" and cluster is None and block_length is None
        method = "studentized" if simple else "percentile" if block_length is not None else "bca"
    if method == "studentized" and (named != "mean" or cluster is not None or block_length):
        raise ValueError('`method` "studentized" is for means and differences of means of items')
    if method == "bca" and block_length is not None:
        raise ValueError('`method` "bca" assumes independent scores, not blocks of time')
    generator = np.random.default_rng(rng)
    with span("bootstrap", n_resamples=n_resamples, n_control=arrays[0].size):
        estimate = float(np.asarray(compute(*arrays, axis=-1)))
        pivots = None
        if method == "studentized":
            distribution, pivots = _means(arrays, n_resamples, generator)
        elif cluster is not None:
            groups = codes("cluster", cluster, arrays[0].size)
            distribution = _clustered(arrays, groups, named, compute, n_resamples, generator)
        elif named == "mean" and len(arrays) == 1 and np.isin(arrays[0], (0.0, 1.0)).all():
            n = arrays[0].size
            distribution = generator.binomial(n, estimate, size=n_resamples) / n
        elif named == "median" and len(arrays) == 1 and block_length is None:
            distribution = independent(arrays[0], 50.0, n_resamples, generator)
        else:
            distribution = _plain(arrays, paired, block_length, compute, n_resamples, generator)
        tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
        notes = []
        if pivots is not None:
            spread = _standard_error(arrays)
            upper, lower = np.quantile(pivots, tails)
            low, high = estimate - lower * spread, estimate - upper * spread
        elif method == "bca":
            blocks = None if cluster is None else codes("cluster", cluster, arrays[0].size)
            shifted = _bca(
                estimate, distribution, influences(named, compute, arrays, paired, blocks), tails
            )
            if shifted is None:
                notes.append("BCa is undefined for this distribution; percentile limits are given")
                method, shifted = "percentile", tails
            low, high = np.quantile(distribution, shifted)
        else:
            low, high = np.quantile(distribution, tails)
            if method == "basic":
                low, high = 2 * estimate - high, 2 * estimate - low
    if statistic in _EXTREMES:
        notes.append("the bootstrap is inconsistent for extremes: do not rely on this interval")
    return BootstrapResult(
        estimate=estimate,
        interval=Interval(low=float(low), high=float(high), level=confidence, method=method),
        standard_error=float(distribution.std(ddof=1)),
        bias=float(distribution.mean() - estimate),
        n_resamples=n_resamples,
        method=method,
        distribution=tuple(distribution.tolist()) if keep else None,
        warnings=tuple(notes),
    )


def _named(name: str, samples: int) -> Statistic:
    one = _NAMED[name]
    if samples == 1:
        return one

    def difference(x: Array, y: Array, axis: int = -1) -> Array:
        gap: Array = one(y, axis=axis) - one(x, axis=axis)
        return gap

    return difference


def _rows(n: int) -> int:
    """Return how many resamples make a block; it depends on n alone, and so do the draws."""
    return max(1, _BLOCK_BYTES // (12 * n))


def _plain(
    arrays: list[Array],
    paired: bool,
    block_length: int | None,
    compute: Statistic,
    n_resamples: int,
    generator: np.random.Generator,
) -> Array:
    rows = _rows(sum(a.size for a in arrays))
    draws = []
    for start in range(0, n_resamples, rows):
        size = min(rows, n_resamples - start)
        drawn = arrays[:1] if paired else arrays
        picks = [_picks(a.size, size, block_length, generator) for a in drawn]
        resampled = [a.take(picks[0 if paired else i]) for i, a in enumerate(arrays)]
        draws.append(np.asarray(compute(*resampled, axis=-1), dtype=float))
    return np.concatenate(draws)


def _picks(
    n: int, size: int, block_length: int | None, generator: np.random.Generator
) -> NDArray[np.int32]:
    if block_length is None:
        return generator.integers(n, size=(size, n), dtype=np.int32)
    count = -(-n // block_length)
    starts = generator.integers(n - block_length + 1, size=(size, count), dtype=np.int32)
    steps = np.arange(block_length, dtype=np.int32)
    return (starts[:, :, None] + steps).reshape(size, -1)[:, :n]


def _means(
    arrays: list[Array], n_resamples: int, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Return resampled means (or differences, second - first) and their pivots."""
    centre, squared = np.zeros(n_resamples), np.zeros(n_resamples)
    for sign, x in zip((1.0,) if len(arrays) == 1 else (-1.0, 1.0), arrays, strict=True):
        mean = float(x.mean())
        if np.isin(x, (0.0, 1.0)).all():
            p = generator.binomial(x.size, mean, size=n_resamples) / x.size
            centre += sign * p
            squared += p * (1 - p) / (x.size - 1)
            continue
        rows, shifted = _rows(x.size), x - mean
        for start in range(0, n_resamples, rows):
            size = min(rows, n_resamples - start)
            drawn = shifted.take(_picks(x.size, size, None, generator))
            at = slice(start, start + size)
            means = drawn.mean(axis=1)
            centre[at] += sign * (means + mean)
            variance = np.einsum("ij,ij->i", drawn, drawn) / x.size - means**2
            squared[at] += np.maximum(variance, 0.0) / (x.size - 1)
    estimate = sum(
        s * float(x.mean()) for s, x in zip((-1.0, 1.0)[-len(arrays) :], arrays, strict=True)
    )
    # A resample of equal scores has no spread; its pivot is as far out as there is.
    with np.errstate(divide="ignore", invalid="ignore"):
        pivots = (centre - estimate) / np.sqrt(squared)
    pivots[np.isnan(pivots)] = 0.0
    finite = pivots[np.isfinite(pivots)]
    widest = float(np.abs(finite).max()) if finite.size else 0.0
    return centre, np.clip(pivots, -widest, widest)


def _standard_error(arrays: list[Array]) -> float:
    return float(np.sqrt(sum(float(a.var(ddof=1)) / a.size for a in arrays)))


def _clustered(
    arrays: list[Array],
    groups: NDArray[np.intp],
    named: str | None,
    compute: Statistic,
    n_resamples: int,
    generator: np.random.Generator,
) -> Array:
    c = int(groups.max()) + 1
    if named == "mean" and len(arrays) == 1:
        sums, sizes = np.bincount(groups, arrays[0]), np.bincount(groups).astype(float)
        rows = _rows(c)
        found = []
        for start in range(0, n_resamples, rows):
            picks = _picks(c, min(rows, n_resamples - start), None, generator)
            found.append(sums[picks].sum(axis=1) / sizes[picks].sum(axis=1))
        return np.concatenate(found)
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    drawn = np.empty(n_resamples)
    for i in range(n_resamples):
        rows_of = np.concatenate([members[g] for g in generator.integers(c, size=c)])
        drawn[i] = float(np.asarray(compute(*(a[rows_of] for a in arrays), axis=-1)))
    return drawn


def _bca(
    estimate: float, distribution: Array, influence: list[Array], tails: Array
) -> Array | None:
    """Return the tail probabilities of the bias-corrected and accelerated interval."""
    from scipy import special

    below = (distribution < estimate).mean() + (distribution == estimate).mean() / 2
    if not 0 < below < 1:
        return None
    z0 = float(special.ndtri(below))
    cubes = sum(float((u**3).sum()) / u.size**3 for u in influence)
    squares = sum(float((u**2).sum()) / u.size**2 for u in influence)
    if squares == 0:
        return None
    a = cubes / (6 * squares**1.5)
    z = z0 + special.ndtri(tails)
    shifted: Array = special.ndtr(z0 + z / (1 - a * z))
    return shifted
