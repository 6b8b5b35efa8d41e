"""Effect sizes of tests on ranks of several groups, with bootstrap intervals."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence
from crucible_bench.midranks import midranks, tie_sum
from crucible_bench.results import Effect, Interval

Several = Mapping[str, ArrayLike] | Sequence[ArrayLike]
_NO_SEED = "the interval is a bootstrap's, which needs rng"


def kendalls_w(
    groups: Several,
    *,
    confidence: float = 0.95,
    n_resamples: int = 2_000,
    rng: int | np.random.Generator | None = None,
) -> Effect:
    """Compute Kendall's W of several conditions on the same items: 0 no order, 1 one order.

    Parameters
    ----------
    groups : conditions, each (items,) or (items, repeats)
    n_resamples : int, >= 100
    rng : int or numpy.random.Generator, optional
        With it comes a percentile interval by resampling items.

    Notes
    -----
    W = chi-square of Friedman's test, ties corrected, over n (k - 1). It is never negative, so
    without any effect the interval lies above 0: it does not replace the test.

    References
    ----------
    .. [1] M. G. Kendall, B. B. Smith, Annals of Mathematical Statistics 10(3), 275-287, 1939.

    Examples
    --------
    >>> kendalls_w([[1, 2, 1, 2], [3, 4, 4, 3], [5, 6, 7, 5]]).value
    1.0
    """
    from crucible_bench.anova import blocks

    table = blocks(groups)
    n, k = table.shape
    ranks = np.stack([midranks(row) for row in table])
    ties = np.array([tie_sum(row) for row in table])

    def of(weights: Array) -> Array:
        """Return W for each row of item counts."""
        centred = weights @ ranks - n * (k + 1) / 2
        spread = n**2 * k * (k * k - 1) - n * (weights @ ties)
        found: Array = np.divide(
            12 * (centred**2).sum(axis=1), spread, out=np.full(len(weights), np.nan),
            where=spread > 0,
        )  # fmt: skip
        return found

    value = float(of(np.ones((1, n)))[0])
    if np.isnan(value):
        return Effect(name="kendalls_w", value=None, reason="no variation")

    def draw(size: int, generator: np.random.Generator) -> Array:
        return of(generator.multinomial(n, np.full(n, 1 / n), size=size).astype(float))

    return _with_interval("kendalls_w", value, draw, confidence, n_resamples, rng)


def rank_epsilon_squared(
    groups: Several,
    *,
    confidence: float = 0.95,
    n_resamples: int = 2_000,
    rng: int | np.random.Generator | None = None,
) -> Effect:
    """Compute epsilon squared of ranks of several independent groups, H / (N - 1).

    Parameters
    ----------
    groups : groups, each (items,) or (items, repeats)
    n_resamples : int, >= 100
    rng : int or numpy.random.Generator, optional
        With it comes a percentile interval by resampling items within their group.

    Notes
    -----
    It is never negative, so without any effect the interval lies above 0: it does not replace the
    test.

    References
    ----------
    .. [1] M. Tomczak, E. Tomczak, Trends in Sport Sciences 21(1), 19-25, 2014.

    Examples
    --------
    >>> round(rank_epsilon_squared([[1, 2, 3], [4, 5, 6], [7, 8, 9]]).value, 3)
    0.9
    """
    from crucible_bench.anova import arms

    samples = arms(groups)
    sizes = np.array([s.size for s in samples])
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    n = int(sizes.sum())

    def of(pooled: Array) -> float:
        """Return epsilon squared: the share of the ranks' variance between groups."""
        ranks = midranks(pooled) - (n + 1) / 2
        total = float(ranks @ ranks)
        if total == 0:
            return float("nan")
        return float((np.add.reduceat(ranks, starts) ** 2 / sizes).sum()) / total

    value = of(np.concatenate(samples))
    if np.isnan(value):
        return Effect(name="rank_epsilon_squared", value=None, reason="no variation")

    def draw(size: int, generator: np.random.Generator) -> Array:
        return np.array(
            [
                of(np.concatenate([s[generator.integers(s.size, size=s.size)] for s in samples]))
                for _ in range(size)
            ]
        )

    return _with_interval("rank_epsilon_squared", value, draw, confidence, n_resamples, rng)


def _with_interval(
    name: str,
    value: float,
    draw: Callable[[int, np.random.Generator], Array],
    confidence: float,
    n_resamples: int,
    rng: int | np.random.Generator | None,
) -> Effect:
    check_confidence(confidence)
    if n_resamples < 100:
        raise ValueError(f"`n_resamples` must be >= 100, got {n_resamples}")
    if rng is None:
        return Effect(name=name, value=value, reason=_NO_SEED)
    drawn = draw(n_resamples, np.random.default_rng(rng))
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Effect(
        name=name,
        value=value,
        interval=Interval(
            low=float(low), high=float(high), level=confidence, method="bootstrap percentile"
        ),
    )
