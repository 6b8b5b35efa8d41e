"""Effect sizes of ranks: how often one score beats another."""

import math

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, item_means, scores
from crucible_bench.results import Effect, Interval


def placements(x: Array, y: Array) -> tuple[float, float, float]:
    """Return P(Y > X) + P(Y = X) / 2 with Brunner and Munzel's standard error and df."""
    from crucible_bench.midranks import midranks

    n0, n1 = x.size, y.size
    ranks = midranks(np.concatenate([x, y]))
    v0 = float((ranks[:n0] - midranks(x)).var(ddof=1)) / (n0 * n1**2)
    v1 = float((ranks[n0:] - midranks(y)).var(ddof=1)) / (n1 * n0**2)
    estimate = (float(ranks[n0:].mean()) - (n1 + 1) / 2) / n0
    if v0 + v1 <= 0:
        return estimate, 0.0, 0.0
    df = (v0 + v1) ** 2 / (v0**2 / (n0 - 1) + v1**2 / (n1 - 1))
    return estimate, math.sqrt(v0 + v1), df


def prob_superiority(
    control: ArrayLike, treatment: ArrayLike, *, confidence: float = 0.95
) -> Effect:
    """Compute P(treatment > control) + P(equal) / 2.

    Notes
    -----
    Brunner and Munzel's variance and t quantile on the logit scale; where the groups do not
    overlap, Wilson's interval with the smaller n.

    References
    ----------
    .. [1] E. Brunner, U. Munzel, Biometrical Journal 42(1), 17-25, 2000.
    """
    from scipy import special

    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    p, se, df = placements(x, y)
    if 0 < p < 1 and se > 0:
        half = float(special.stdtrit(df, (1 + confidence) / 2)) * se / (p * (1 - p))
        low, high = (float(special.expit(special.logit(p) + s * half)) for s in (-1, 1))
        interval = Interval(low=low, high=high, level=confidence, method="Brunner-Munzel, logit")
    elif p in (0.0, 1.0):
        from crucible_bench.proportion_intervals import proportion_interval

        n = min(x.size, y.size)
        wilson = proportion_interval(round(p * n), n, confidence=confidence)
        interval = Interval(low=wilson.low, high=wilson.high, level=confidence, method="wilson")
    else:
        return Effect(name="prob_superiority", value=p, reason="no variation: no interval")
    return Effect(name="prob_superiority", value=p, interval=interval)


def rank_biserial(control: ArrayLike, treatment: ArrayLike, *, confidence: float = 0.95) -> Effect:
    """Compute the rank-biserial correlation (Cliff's delta), 2 P(T > C) + P(equal) - 1."""
    from crucible_bench.effects import r_band

    p = prob_superiority(control, treatment, confidence=confidence)
    assert p.value is not None
    interval = p.interval
    if interval is not None and interval.low is not None and interval.high is not None:
        interval = Interval(
            low=2 * interval.low - 1,
            high=2 * interval.high - 1,
            level=confidence,
            method=interval.method,
        )
    value = 2 * p.value - 1
    return Effect(
        name="rank_biserial",
        value=value,
        interval=interval,
        magnitude=r_band(value),
        reason=p.reason,
    )


def matched_rank_biserial(differences: ArrayLike, *, confidence: float = 0.95) -> Effect:
    """Compute (W+ - W-) / (W+ + W-) of paired differences, zeros left out.

    Notes
    -----
    The interval is normal on Fisher's z scale with the variance of the signed-rank sum; where all
    differences have one sign there is none.

    References
    ----------
    .. [1] D. S. Kerby, Comprehensive Psychology 3:11.IT.3.1, 2014.
    """
    from scipy import special

    from crucible_bench.effects import r_band
    from crucible_bench.midranks import midranks

    d = scores("differences", differences)
    moved = d[d != 0]
    n = moved.size
    if n == 0:
        return Effect(name="matched_rank_biserial", value=None, reason="no variation")
    ranks = midranks(np.abs(moved))
    value = float((ranks * np.sign(moved)).sum() / ranks.sum())
    if abs(value) == 1:
        return Effect(
            name="matched_rank_biserial", value=value, magnitude=r_band(value),
            reason="all differences have one sign: no interval",
        )  # fmt: skip
    se = math.sqrt((2 * n**3 + 3 * n**2 + n) / 6) / ((n**2 + n) / 2)
    half = float(special.ndtri((1 + confidence) / 2)) * se
    low, high = (math.tanh(math.atanh(value) + sign * half) for sign in (-1, 1))
    return Effect(
        name="matched_rank_biserial",
        value=value,
        interval=Interval(low=low, high=high, level=confidence, method="Fisher z"),
        magnitude=r_band(value),
    )
