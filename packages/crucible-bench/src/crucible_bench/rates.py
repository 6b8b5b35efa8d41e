"""Effect sizes of success rates: differences, risk ratios, odds ratios."""

import math
from typing import Literal

from crucible_bench.results import Effect, Interval

Counts = tuple[int, int]


def check_counts(name: str, counts: Counts) -> None:
    """Raise `ValueError` unless 0 <= successes <= trials and trials >= 1."""
    x, n = counts
    if n < 1 or not 0 <= x <= n:
        raise ValueError(f"`{name}` must be (successes, trials), got ({x}, {n})")


def risk_difference(value: float, interval: Interval | None) -> Effect:
    """Wrap a difference of proportions as an effect size."""
    return Effect(name="risk_difference", value=value, interval=interval)


def cohens_h(control: Counts, treatment: Counts, *, confidence: float = 0.95) -> Effect:
    """Compute Cohen's h, the difference of 2 asin(sqrt(p)); normal interval.

    References
    ----------
    .. [1] J. Cohen, Statistical Power Analysis, 2nd ed., 1988, chapter 6.
    """
    from crucible_bench.effects import d_band

    check_counts("control", control)
    check_counts("treatment", treatment)
    (x0, n0), (x1, n1) = control, treatment
    value = 2 * math.asin(math.sqrt(x1 / n1)) - 2 * math.asin(math.sqrt(x0 / n0))
    half = _z(confidence) * math.sqrt(1 / n0 + 1 / n1)
    interval = Interval(low=value - half, high=value + half, level=confidence, method="normal")
    return Effect(name="cohens_h", value=value, interval=interval, magnitude=d_band(value))


def risk_ratio(control: Counts, treatment: Counts, *, confidence: float = 0.95) -> Effect:
    """Compute the ratio of success rates, treatment / control, with Katz's log interval.

    Notes
    -----
    Without successes in an arm there is no log; the value is then 0 or None, without interval.

    References
    ----------
    .. [1] D. Katz et al., Biometrics 34(3), 469-474, 1978.
    """
    check_counts("control", control)
    check_counts("treatment", treatment)
    (x0, n0), (x1, n1) = control, treatment
    if x0 == 0:
        reason = "undefined: no success in either arm" if x1 == 0 else "infinite"
        return Effect(name="risk_ratio", value=None, reason=reason)
    if x1 == 0:
        return Effect(name="risk_ratio", value=0.0, reason="no success in treatment: no interval")
    value = (x1 / n1) / (x0 / n0)
    half = _z(confidence) * math.sqrt(1 / x1 - 1 / n1 + 1 / x0 - 1 / n0)
    return Effect(
        name="risk_ratio",
        value=value,
        interval=Interval(
            low=value * math.exp(-half), high=value * math.exp(half), level=confidence,
            method="Katz log",
        ),
    )  # fmt: skip


def odds_ratio(
    control: Counts,
    treatment: Counts,
    *,
    kind: Literal["sample", "conditional"] = "sample",
    confidence: float = 0.95,
) -> Effect:
    """Compute the odds ratio of two independent arms, treatment / control.

    Parameters
    ----------
    kind : {"sample", "conditional"}
        The cross product with Woolf's log interval, or the conditional maximum likelihood estimate
        with its exact interval, which goes with Fisher's test.

    Notes
    -----
    If a cell is 0 the sample ratio adds 0.5 to every cell (Haldane, Anscombe), and the reason says
    so.
    """
    check_counts("control", control)
    check_counts("treatment", treatment)
    (x0, n0), (x1, n1) = control, treatment
    if kind == "conditional":
        from scipy.stats.contingency import odds_ratio as conditional

        found = conditional([[x1, n1 - x1], [x0, n0 - x0]], kind="conditional")
        low, high = found.confidence_interval(confidence_level=confidence)
        value = float(found.statistic)
        if not math.isfinite(value):
            reason = "infinite" if math.isinf(value) else "undefined"
            return Effect(name="odds_ratio_conditional", value=None, reason=reason)
        return Effect(
            name="odds_ratio_conditional",
            value=value,
            interval=Interval(
                low=float(low), high=float(high) if math.isfinite(high) else None,
                level=confidence, method="exact conditional",
            ),
        )  # fmt: skip
    if kind != "sample":
        raise ValueError(f'`kind` must be "sample" or "conditional", got {kind!r}')
    cells = [x1, n1 - x1, x0, n0 - x0]
    shift = 0.5 if 0 in cells else 0.0
    a, b, c, d = (cell + shift for cell in cells)
    value = a * d / (b * c)
    half = _z(confidence) * math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    return Effect(
        name="odds_ratio",
        value=value,
        interval=Interval(
            low=value * math.exp(-half), high=value * math.exp(half), level=confidence,
            method="Woolf log",
        ),
        reason="a cell is 0: 0.5 was added to each (Haldane-Anscombe)" if shift else None,
    )  # fmt: skip


def odds_ratio_paired(
    control_only: int, treatment_only: int, *, confidence: float = 0.95
) -> Effect:
    """Compute the conditional odds ratio of paired binary scores, treatment_only / control_only.

    Notes
    -----
    The interval maps the Clopper-Pearson interval of c / (b + c). Without discordant pairs, or with
    none on one side, there is no value.
    """
    from crucible_bench.proportion_intervals import proportion_interval

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


def _z(confidence: float) -> float:
    from scipy import special

    return float(special.ndtri((1 + confidence) / 2))
