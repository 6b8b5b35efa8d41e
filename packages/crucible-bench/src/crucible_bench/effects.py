"""Effect sizes with intervals. Magnitude words are conventions and are named as such."""

import math

import numpy as np

from crucible_bench.arrays import Array
from crucible_bench.results import Effect, Interval


def cohens_d(control: Array, treatment: Array, *, confidence: float = 0.95) -> Effect:
    """Compute Cohen's d: difference over the pooled SD, interval from the noncentral t.

    References
    ----------
    .. [1] J. Cohen, Statistical Power Analysis, 2nd ed., 1988; the bands .2, .5, .8 are his.
    """
    n0, n1 = control.size, treatment.size
    df = n0 + n1 - 2
    pooled = math.sqrt(
        ((n0 - 1) * float(control.var(ddof=1)) + (n1 - 1) * float(treatment.var(ddof=1))) / df
    )
    difference = float(treatment.mean() - control.mean())
    scale = math.sqrt(1 / n0 + 1 / n1)
    return _standardised("cohens_d", difference, pooled, scale, df, confidence)


def hedges_g(control: Array, treatment: Array, *, confidence: float = 0.95) -> Effect:
    """Compute Hedges' g: Cohen's d times the exact small-sample factor J(df)."""
    from scipy import special

    d = cohens_d(control, treatment, confidence=confidence)
    if d.value is None:
        return Effect(name="hedges_g", value=None, reason=d.reason)
    half = (control.size + treatment.size - 2) / 2
    j = math.exp(special.gammaln(half) - special.gammaln(half - 0.5)) / math.sqrt(half)
    interval = d.interval
    if interval is not None and interval.low is not None and interval.high is not None:
        interval = Interval(
            low=interval.low * j, high=interval.high * j, level=interval.level, method="J * d"
        )
    return Effect(name="hedges_g", value=d.value * j, interval=interval, magnitude=d.magnitude)


def d_z(differences: Array, *, confidence: float = 0.95) -> Effect:
    """Compute d_z: mean of the paired differences over their SD, interval from the noncentral t."""
    n = differences.size
    return _standardised(
        "d_z",
        float(differences.mean()),
        float(differences.std(ddof=1)),
        math.sqrt(1 / n),
        n - 1,
        confidence,
    )


def risk_difference(value: float, interval: Interval | None) -> Effect:
    """Wrap a difference of proportions as an effect size."""
    return Effect(name="risk_difference", value=value, interval=interval)


def odds_ratio_paired(
    control_only: int, treatment_only: int, *, confidence: float = 0.95
) -> Effect:
    """Compute the conditional odds ratio of paired binary scores, treatment_only / control_only.

    Notes
    -----
    The interval maps the Clopper-Pearson interval of c / (b + c). Without discordant pairs, or with
    none on one side, there is no value.
    """
    from crucible_bench.intervals import proportion_interval

    b, c = control_only, treatment_only
    if b + c == 0:
        return Effect(name="odds_ratio", value=None, reason="no discordant pairs")
    share = proportion_interval(c, b + c, confidence=confidence, method="clopper_pearson")
    assert share.low is not None
    assert share.high is not None
    interval = Interval(
        low=share.low / (1 - share.low),
        high=None if share.high == 1 else share.high / (1 - share.high),
        level=confidence,
        method="clopper_pearson",
    )
    if b == 0:
        return Effect(name="odds_ratio", value=None, interval=interval, reason="infinite")
    return Effect(name="odds_ratio", value=c / b, interval=interval)


def _standardised(
    name: str, difference: float, sd: float, scale: float, df: float, confidence: float
) -> Effect:
    if not sd > 1e-14 * max(1.0, abs(difference)) or not np.isfinite(sd):
        same = math.isclose(difference, 0.0, abs_tol=1e-14)
        return Effect(name=name, value=None, reason="no variation" if same else "infinite")
    value = difference / sd
    low, high = (
        _noncentrality(value / scale, df, probability) * scale
        for probability in ((1 + confidence) / 2, (1 - confidence) / 2)
    )
    return Effect(
        name=name,
        value=value,
        interval=Interval(low=low, high=high, level=confidence, method="noncentral t"),
        magnitude=_band(abs(value)),
    )


def _noncentrality(t: float, df: float, probability: float) -> float:
    """Return the noncentrality at which P(T <= t) is `probability`."""
    from scipy import optimize, special

    def distance(nc: float) -> float:
        return float(special.nctdtr(df, nc, t)) - probability

    width = 2.0 + abs(t) / math.sqrt(2 * df)
    low, high = t - 2 * width, t + 2 * width
    while distance(low) < 0:
        low -= width
    while distance(high) > 0:
        high += width
    return float(optimize.brentq(distance, low, high, xtol=1e-12))


def _band(d: float) -> str:
    for limit, word in ((0.2, "negligible"), (0.5, "small"), (0.8, "medium"), (1.2, "large")):
        if d < limit:
            return word
    return "very large"
