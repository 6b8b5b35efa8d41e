"""Bootstrap intervals over items, pairs, clusters or blocks of time."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench import bootstrap_draws as draws
from crucible_bench.arrays import Array, check_confidence, scores
from crucible_bench.bootstrap_draws import Statistic
from crucible_bench.clusters import codes
from crucible_bench.errors import DegenerateDataError
from crucible_bench.jackknife import influences
from crucible_bench.permutations import paired_permutation as paired_permutation
from crucible_bench.permutations import permutation_test as permutation_test
from crucible_bench.quantile_resampling import independent
from crucible_bench.results import BootstrapResult, Interval
from crucible_bench.spans import note, span

Name = Literal["mean", "median", "std"]
Method = Literal["auto", "percentile", "basic", "bca", "studentized"]
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
    DegenerateDataError
        If the statistic is not finite on the samples, or on no resample.
    ValueError
        If an argument is out of range, paired samples differ in length, or the method does not fit
        the statistic.

    Notes
    -----
    Means of scores with few distinct values are drawn from the multinomial distribution of their
    counts (0/1 scores: binomial), a median from order statistics of a uniform sample, means of
    clusters from cluster sums: the same distributions as resampling, without it. BCa's acceleration
    is from a jackknife of linear time. Resamples on which a callable is not finite are left out,
    and counted in a warning.

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
    groups = None if cluster is None else codes("cluster", cluster, arrays[0].size)
    with span("bootstrap", n_resamples=n_resamples, n_control=arrays[0].size) as current:
        estimate = float(np.asarray(compute(*arrays, axis=-1)))
        if not np.isfinite(estimate):
            raise DegenerateDataError("the statistic of the samples is not finite")
        pivots = None
        if groups is not None:
            drawn = draws.clustered(arrays, groups, named, compute, n_resamples, generator)
        elif named == "mean" and block_length is None:
            wanted = method == "studentized"
            drawn, pivots = draws.means(arrays, n_resamples, generator, pivots=wanted)
        elif named == "median" and len(arrays) == 1 and block_length is None:
            drawn = independent(arrays[0], 50.0, n_resamples, generator)
        else:
            drawn = draws.plain(arrays, paired, block_length, compute, n_resamples, generator)
        drawn, notes = _finite(drawn)
        tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
        if method == "studentized" and pivots is not None:
            spread = draws.standard_error(arrays)
            upper, lower = np.quantile(pivots, tails)
            low, high = estimate - lower * spread, estimate - upper * spread
        elif method == "bca":
            moved = influences(named, compute, arrays, paired, groups)
            shifted = _bca(estimate, drawn, moved, tails)
            if shifted is None:
                notes.append("BCa is undefined for this distribution; percentile limits are given")
                method, shifted = "percentile", tails
            low, high = np.quantile(drawn, shifted)
        else:
            low, high = np.quantile(drawn, tails)
            if method == "basic":
                low, high = 2 * estimate - high, 2 * estimate - low
        note(current, test=method, estimate=estimate, interval_low=float(low),
             interval_high=float(high), warnings=len(notes))  # fmt: skip
    if statistic in _EXTREMES:
        notes.append("the bootstrap is inconsistent for extremes: do not rely on this interval")
    return BootstrapResult(
        estimate=estimate,
        interval=Interval(low=float(low), high=float(high), level=confidence, method=method),
        standard_error=float(drawn.std(ddof=1)),
        bias=float(drawn.mean() - estimate),
        n_resamples=n_resamples,
        method=method,
        distribution=tuple(drawn.tolist()) if keep else None,
        warnings=tuple(notes),
    )


def _finite(drawn: Array) -> tuple[Array, list[str]]:
    """Return the finite values of a distribution, and what must be said of it."""
    known = np.isfinite(drawn)
    lost = int((~known).sum())
    if drawn.size - lost < 2:
        raise DegenerateDataError("the statistic is not finite on any resample")
    notes = []
    if lost:
        notes.append(f"the statistic is not finite on {lost} resamples, which were left out")
    if float(np.ptp(drawn[known])) == 0:
        notes.append("no variation: all resamples give one value, and the interval is a point")
    return drawn[known], notes


def _named(name: str, samples: int) -> Statistic:
    one = _NAMED[name]
    if samples == 1:
        return one

    def difference(x: Array, y: Array, axis: int = -1) -> Array:
        gap: Array = one(y, axis=axis) - one(x, axis=axis)
        return gap

    return difference


def _bca(
    estimate: float, distribution: Array, influence: list[Array], tails: Array
) -> Array | None:
    """Return the tail probabilities of the bias-corrected and accelerated interval."""
    from scipy import special

    # A resample that equals the data may differ from them by rounding; it counts half.
    slack = 1e-12 * float(np.abs(distribution).max())
    equal = np.abs(distribution - estimate) <= slack
    below = ((distribution < estimate) & ~equal).mean() + equal.mean() / 2
    if not 0 < below < 1:
        return None
    z0 = float(special.ndtri(below))
    cubes = sum(float((u**3).sum()) / u.size**3 for u in influence)
    squares = sum(float((u**2).sum()) / u.size**2 for u in influence)
    if not (squares > 0 and np.isfinite(cubes) and np.isfinite(squares)):
        return None
    a = cubes / (6 * squares**1.5)
    z = z0 + special.ndtri(tails)
    shifted: Array = special.ndtr(z0 + z / (1 - a * z))
    return shifted
