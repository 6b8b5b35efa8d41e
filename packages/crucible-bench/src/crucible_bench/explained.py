"""Shares of variance explained, and association in tables, from their test statistics."""

import math
from typing import Literal

from crucible_bench.arrays import check_confidence
from crucible_bench.noncentral import noncentral_limits
from crucible_bench.results import Effect, Interval


def eta_band(value: float) -> str:
    """Return Cohen's word for a share of variance: .01 small, .06 medium, .14 large."""
    for limit, word in ((0.01, "negligible"), (0.06, "small"), (0.14, "medium")):
        if value < limit:
            return word
    return "large"


def eta_squared(f: float, df: tuple[float, float], *, confidence: float = 0.95) -> Effect:
    """Compute eta squared of a one-way design: SS between over SS total.

    Parameters
    ----------
    f : float, >= 0
        The F statistic, with `df` = (between, within).

    Notes
    -----
    The interval inverts the noncentral F for lambda and maps it by lambda / (lambda + N); limits
    stop at 0. Limits of eta squared do not leave [0, 1).
    """
    return _from_f("eta_squared", f * df[0] / (f * df[0] + df[1]), f, df, confidence)


def partial_eta_squared(f: float, df: tuple[float, float], *, confidence: float = 0.95) -> Effect:
    """Compute partial eta squared: SS of the effect over SS of effect and error."""
    return _from_f("partial_eta_squared", f * df[0] / (f * df[0] + df[1]), f, df, confidence)


def generalized_eta_squared(
    ss_effect: float,
    ss_error: float,
    ss_subjects: float,
    df: tuple[float, float],
    *,
    confidence: float = 0.95,
) -> Effect:
    """Compute generalised eta squared of a within-subjects design.

    Parameters
    ----------
    ss_effect, ss_error, ss_subjects : float, >= 0
        Sums of squares of the conditions, their interaction with subjects, and subjects.
    df : (effect, error)

    Notes
    -----
    The limits are those of partial eta squared (noncentral F), put on this scale with the ratio of
    the subjects' and the error's sums of squares as observed: both exclude 0 together.

    References
    ----------
    .. [1] S. Olejnik, J. Algina, Psychological Methods 8(4), 434-447, 2003.
    """
    name, total = "generalized_eta_squared", ss_effect + ss_error + ss_subjects
    if total <= 0:
        return Effect(name=name, value=None, reason="no variation")
    value = ss_effect / total
    if ss_error <= 0:
        return Effect(name=name, value=value, magnitude=eta_band(value), reason="no error variance")
    f = (ss_effect / df[0]) / (ss_error / df[1])
    partial = partial_eta_squared(f, df, confidence=confidence).interval
    assert partial is not None  # F is finite
    rest = 1 + ss_subjects / ss_error

    def scaled(share: float | None) -> float:
        odds = (share or 0.0) / (1 - (share or 0.0))  # effect over error
        return odds / (odds + rest)

    interval = Interval(
        low=scaled(partial.low), high=scaled(partial.high), level=confidence,
        method="noncentral F, subjects as observed",
    )  # fmt: skip
    return Effect(name=name, value=value, interval=interval, magnitude=eta_band(value))


def omega_squared(f: float, df: tuple[float, float], *, confidence: float = 0.95) -> Effect:
    """Compute omega squared, (SSb - df_b MSw) / (SSt + MSw); a negative value stays negative."""
    between, within = df
    value = between * (f - 1) / (between * f + within + 1)
    return _from_f("omega_squared", value, f, df, confidence)


def epsilon_squared(f: float, df: tuple[float, float], *, confidence: float = 0.95) -> Effect:
    """Compute epsilon squared, (SSb - df_b MSw) / SSt; a negative value stays negative."""
    between, within = df
    value = between * (f - 1) / (between * f + within)
    return _from_f("epsilon_squared", value, f, df, confidence)


def cramers_v(
    chi2: float,
    n: int,
    shape: tuple[int, int],
    *,
    bias_corrected: bool = False,
    confidence: float = 0.95,
) -> Effect:
    """Compute Cramer's V from Pearson's chi-square.

    Parameters
    ----------
    bias_corrected : bool
        Bergsma's correction [1]_ of the value; the interval is of the population's V either way.

    References
    ----------
    .. [1] W. Bergsma, Journal of the Korean Statistical Society 42(3), 323-328, 2013.
    """
    from scipy import special

    from crucible_bench.effects import r_band

    rows, columns = shape
    least = min(rows, columns) - 1
    if least < 1 or n < 1:
        raise ValueError(f"`shape` must be at least (2, 2) and `n` >= 1, got {shape} and {n}")
    value = math.sqrt(chi2 / (n * least))
    df = (rows - 1) * (columns - 1)
    low, high = noncentral_limits(
        lambda nc: float(special.chndtr(chi2, df, nc)), confidence, chi2, lambda v: v / (n * least)
    )
    interval = Interval(
        low=min(1.0, math.sqrt(low)), high=min(1.0, math.sqrt(high)), level=confidence,
        method="noncentral chi-square",
    )  # fmt: skip
    name = "cramers_v"
    if bias_corrected:
        share = max(0.0, chi2 / n - (rows - 1) * (columns - 1) / (n - 1))
        r, c = (k - (k - 1) ** 2 / (n - 1) for k in shape)
        name, value = "cramers_v_corrected", math.sqrt(share / (min(r, c) - 1))
    return Effect(name=name, value=value, interval=interval, magnitude=r_band(value))


def phi(chi2: float, n: int, *, confidence: float = 0.95) -> Effect:
    """Compute phi of a 2 x 2 table, without sign."""
    v = cramers_v(chi2, n, (2, 2), confidence=confidence)
    return Effect(name="phi", value=v.value, interval=v.interval, magnitude=v.magnitude)


def _from_f(
    name: Literal["eta_squared", "partial_eta_squared", "omega_squared", "epsilon_squared"],
    value: float,
    f: float,
    df: tuple[float, float],
    confidence: float,
) -> Effect:
    from scipy import special

    check_confidence(confidence)
    if not f >= 0:
        raise ValueError(f"`f` must be >= 0, got {f}")
    between, within = df
    total = between + within + 1
    low, high = noncentral_limits(
        lambda nc: float(special.ncfdtr(between, within, nc, f)),
        confidence,
        f * between,
        lambda nc: nc / (nc + total),
    )
    interval = Interval(low=low, high=high, level=confidence, method="noncentral F")
    return Effect(name=name, value=value, interval=interval, magnitude=eta_band(value))
