"""Effect sizes with intervals. Magnitude words are conventions and are named as such.

Standardised differences and conversions are here; `rates` (risks and odds), `dominance` (ranks of
two groups), `rank_effects` (of several) and `explained` (shares of variance, association) hold the
others, and all can be had from here.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import check_confidence, item_means, scores
from crucible_bench.dominance import matched_rank_biserial as matched_rank_biserial
from crucible_bench.dominance import prob_superiority as prob_superiority
from crucible_bench.dominance import rank_biserial as rank_biserial
from crucible_bench.explained import cramers_v as cramers_v
from crucible_bench.explained import epsilon_squared as epsilon_squared
from crucible_bench.explained import eta_squared as eta_squared
from crucible_bench.explained import generalized_eta_squared as generalized_eta_squared
from crucible_bench.explained import omega_squared as omega_squared
from crucible_bench.explained import partial_eta_squared as partial_eta_squared
from crucible_bench.explained import phi as phi
from crucible_bench.noncentral import noncentrality
from crucible_bench.rank_effects import kendalls_w as kendalls_w
from crucible_bench.rank_effects import rank_epsilon_squared as rank_epsilon_squared
from crucible_bench.rates import cohens_h as cohens_h
from crucible_bench.rates import odds_ratio as odds_ratio
from crucible_bench.rates import odds_ratio_paired as odds_ratio_paired
from crucible_bench.rates import risk_difference as risk_difference
from crucible_bench.rates import risk_ratio as risk_ratio
from crucible_bench.results import Effect, Interval


def cohens_d(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    standardizer: Literal["pooled", "average", "control"] = "pooled",
    confidence: float = 0.95,
) -> Effect:
    """Compute Cohen's d of two independent groups, interval from the noncentral t.

    Parameters
    ----------
    standardizer : {"pooled", "average", "control"}
        What the difference is divided by: the pooled SD, the root mean of both variances, or the
        control's SD (Glass's delta, with the control's degrees of freedom).

    Notes
    -----
    Without variation there is no value; the reason says whether the means differ. For "average" the
    noncentral t is that of Welch's t with Delacre's degrees of freedom.

    References
    ----------
    .. [1] J. Cohen, Statistical Power Analysis, 2nd ed., 1988; the bands .2, .5, .8 are his, 1.2 is
       Sawilowsky's (JMASM 8(2), 2009).
    .. [2] M. Delacre et al., "Why Hedges' g_s* ...", PsyArXiv tu6mp, 2021.
    """
    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    n0, n1 = x.size, y.size
    v0, v1 = float(x.var(ddof=1)), float(y.var(ddof=1))
    difference = float(y.mean() - x.mean())
    scale = math.sqrt(1 / n0 + 1 / n1)
    if standardizer == "pooled":
        df = float(n0 + n1 - 2)
        sd = math.sqrt(((n0 - 1) * v0 + (n1 - 1) * v1) / df)
        return _standardised("cohens_d", difference, sd, scale, df, confidence)
    if standardizer == "control":
        sd = math.sqrt(v0)
        return _standardised("glass_delta", difference, sd, scale, n0 - 1, confidence)
    if standardizer != "average":
        raise ValueError(
            f'`standardizer` must be "pooled", "average" or "control", got {standardizer!r}'
        )
    sd = math.sqrt((v0 + v1) / 2)
    weight = (n1 - 1) * v0**2 + (n0 - 1) * v1**2
    df = (n0 - 1) * (n1 - 1) * (v0 + v1) ** 2 / weight if weight > 0 else float(n0 + n1 - 2)
    scale = math.sqrt(v0 / n0 + v1 / n1) / sd if sd > 0 else scale
    return _standardised("cohens_d_average", difference, sd, scale, df, confidence)


def hedges_g(control: ArrayLike, treatment: ArrayLike, *, confidence: float = 0.95) -> Effect:
    """Compute Hedges' g: Cohen's d times the exact small-sample factor J(df).

    References
    ----------
    .. [1] L. V. Hedges, Journal of Educational Statistics 6(2), 107-128, 1981.
    """
    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    d = cohens_d(x, y, confidence=confidence)
    return _corrected("hedges_g", d, x.size + y.size - 2)


def d_z(differences: ArrayLike, *, confidence: float = 0.95) -> Effect:
    """Compute d_z: mean of the paired differences over their SD, interval from the noncentral t."""
    d = item_means(scores("differences", differences))
    n = d.size
    return _standardised(
        "d_z", float(d.mean()), float(d.std(ddof=1)), math.sqrt(1 / n), n - 1, confidence
    )


def g_z(differences: ArrayLike, *, confidence: float = 0.95) -> Effect:
    """Compute g_z: d_z times the exact small-sample factor J(n - 1)."""
    d = item_means(scores("differences", differences))
    return _corrected("g_z", d_z(d, confidence=confidence), d.size - 1)


def d_av(control: ArrayLike, treatment: ArrayLike, *, confidence: float = 0.95) -> Effect:
    """Compute d_av of paired scores: mean difference over the average SD of the two arms.

    Notes
    -----
    It is on the scale of an independent d, unlike d_z. The interval is normal with Bonett's
    variance.

    References
    ----------
    .. [1] D. G. Bonett, Psychological Methods 13(2), 99-109, 2008, equation 12.
    """
    from scipy import special

    x = item_means(scores("control", control))
    y = item_means(scores("treatment", treatment))
    if x.size != y.size:
        raise ValueError(f"`control` and `treatment` must be paired, got {x.size} and {y.size}")
    n = x.size
    difference = float((y - x).mean())
    v0, v1 = float(x.var(ddof=1)), float(y.var(ddof=1))
    sd = math.sqrt((v0 + v1) / 2)
    if (nothing := _no_variation("d_av", difference, sd)) is not None:
        return nothing
    value = difference / sd
    covariance = float(np.cov(x, y)[0, 1])
    variance = value**2 * (v0**2 + v1**2 + 2 * covariance**2) / (8 * (n - 1) * sd**4) + float(
        (y - x).var(ddof=1)
    ) / ((n - 1) * sd**2)
    half = float(special.ndtri((1 + confidence) / 2)) * math.sqrt(variance)
    return Effect(
        name="d_av",
        value=value,
        interval=Interval(
            low=value - half, high=value + half, level=confidence, method="Bonett 2008"
        ),
        magnitude=d_band(value),
    )


def r_from_z(z: float, n: int, *, confidence: float = 0.95) -> Effect:
    """Compute r = z / sqrt(n) of a normal test statistic.

    Notes
    -----
    The limits are (z -+ critical z) / sqrt(n), the signed form of the noncentral chi-square with
    one degree of freedom, cut at -1 and 1.
    """
    from scipy import special

    check_confidence(confidence)
    if n < 1:
        raise ValueError(f"`n` must be >= 1, got {n}")
    if not math.isfinite(z):
        raise ValueError(f"`z` must be finite, got {z}")
    value, half = z / math.sqrt(n), float(special.ndtri((1 + confidence) / 2)) / math.sqrt(n)
    return Effect(
        name="r",
        value=value,
        interval=Interval(
            low=max(-1.0, value - half), high=min(1.0, value + half), level=confidence,
            method="normal",
        ),
        magnitude=r_band(value),
    )  # fmt: skip


def d_to_r(d: float, *, ratio: float = 1.0) -> float:
    """Convert Cohen's d to a point-biserial r; `ratio` is n_treatment / n_control."""
    return d / math.sqrt(d**2 + (1 + ratio) ** 2 / ratio)


def r_to_d(r: float, *, ratio: float = 1.0) -> float:
    """Convert a point-biserial r to Cohen's d; `ratio` is n_treatment / n_control."""
    if not -1 < r < 1:
        raise ValueError(f"`r` must be in (-1, 1), got {r}")
    return r * math.sqrt((1 + ratio) ** 2 / ratio) / math.sqrt(1 - r**2)


def d_to_log_odds(d: float) -> float:
    """Convert Cohen's d to a log odds ratio, d * pi / sqrt(3) (logistic distributions)."""
    return d * math.pi / math.sqrt(3)


def log_odds_to_d(log_odds: float) -> float:
    """Convert a log odds ratio to Cohen's d."""
    return log_odds * math.sqrt(3) / math.pi


def eta_to_f(eta_squared: float) -> float:
    """Convert eta squared to Cohen's f."""
    if not 0 <= eta_squared < 1:
        raise ValueError(f"`eta_squared` must be in [0, 1), got {eta_squared}")
    return math.sqrt(eta_squared / (1 - eta_squared))


def f_to_eta(f: float) -> float:
    """Convert Cohen's f to eta squared."""
    return f**2 / (1 + f**2)


def d_band(d: float) -> str:
    """Return the conventional word for abs(d)."""
    for limit, word in ((0.2, "negligible"), (0.5, "small"), (0.8, "medium"), (1.2, "large")):
        if abs(d) < limit:
            return word
    return "very large"


def r_band(r: float) -> str:
    """Return Cohen's word for abs(r): .1 small, .3 medium, .5 large."""
    for limit, word in ((0.1, "negligible"), (0.3, "small"), (0.5, "medium")):
        if abs(r) < limit:
            return word
    return "large"


def _corrected(name: str, d: Effect, df: float) -> Effect:
    from scipy import special

    if d.value is None:
        return Effect(name=name, value=None, reason=d.reason)
    j = math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2)
    interval = d.interval
    if interval is not None and interval.low is not None and interval.high is not None:
        interval = Interval(
            low=interval.low * j, high=interval.high * j, level=interval.level, method="J * d"
        )
    return Effect(name=name, value=d.value * j, interval=interval, magnitude=d_band(d.value * j))


def _no_variation(name: str, difference: float, sd: float) -> Effect | None:
    if sd > 1e-14 * max(1.0, abs(difference)) and np.isfinite(sd):
        return None
    same = math.isclose(difference, 0.0, abs_tol=1e-14)
    return Effect(name=name, value=None, reason="no variation" if same else "infinite")


def _standardised(
    name: str, difference: float, sd: float, scale: float, df: float, confidence: float
) -> Effect:
    if (nothing := _no_variation(name, difference, sd)) is not None:
        return nothing
    value = difference / sd
    low, high = (
        noncentrality(value / scale, df, probability) * scale
        for probability in ((1 + confidence) / 2, (1 - confidence) / 2)
    )
    return Effect(
        name=name,
        value=value,
        interval=Interval(low=low, high=high, level=confidence, method="noncentral t"),
        magnitude=d_band(value),
    )
