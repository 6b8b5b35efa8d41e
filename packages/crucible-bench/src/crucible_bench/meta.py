"""One answer from several studies: random-effects meta-analysis."""

import math
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, check_confidence, scores
from crucible_bench.intervals import t_interval
from crucible_bench.results import Interval, Record
from crucible_bench.spans import note, span

Method = Literal["reml", "dl", "fixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaAnalysis(Record):
    """Several studies' effects, pooled.

    `tau2` is the variance of the true effects between studies and `i2` its share, in percent, of
    what the estimates vary; `q` tests whether it is 0. `prediction` holds the true effect of a new
    study. What so few studies cannot give is None, and `reasons` says why.
    """

    method: Method
    k: int
    estimate: float
    standard_error: float
    interval: Interval | None
    p_value: float | None
    tau2: float | None
    i2: float | None
    q: float | None
    q_p_value: float | None
    prediction: Interval | None
    weights: tuple[float, ...]
    reasons: tuple[str, ...] = ()


def meta_analysis(
    effects: ArrayLike,
    variances: ArrayLike,
    *,
    method: Method = "reml",
    hksj: bool | None = None,
    confidence: float = 0.95,
) -> MetaAnalysis:
    """Pool the effects of several studies, benchmarks or languages.

    Parameters
    ----------
    effects : (k,) array
        On a scale where they may be averaged: differences, log odds ratios, d.
    variances : (k,) array, > 0
        Squared standard errors.
    method : {"reml", "dl", "fixed"}
        Of the variance between studies: restricted maximum likelihood [1]_ or DerSimonian and
        Laird's moments [2]_; "fixed" supposes that it is 0.
    hksj : bool, optional
        Standard error of Hartung, Knapp, Sidik and Jonkman with t on k - 1 df [3]_; by default for
        random effects. With few studies the normal interval is much too short.
    confidence : float, in (0, 1)

    Raises
    ------
    ValueError
        If an argument is out of range, or `hksj=True` with method "fixed".

    Notes
    -----
    I^2 = tau^2 / (tau^2 + typical variance). The prediction interval has t on k - 2 df and the
    standard error without the adjustment [4]_. One study has no tau^2; two have no prediction
    interval.

    References
    ----------
    .. [1] W. Viechtbauer, J Educ Behav Stat 30(3), 261-293, 2005.
    .. [2] R. DerSimonian, N. Laird, Controlled Clinical Trials 7(3), 177-188, 1986.
    .. [3] J. IntHout, J. Ioannidis, G. Borm, BMC Med Res Methodol 14:25, 2014.
    .. [4] J. Higgins, S. Thompson, D. Spiegelhalter, JRSS A 172(1), 137-159, 2009, section 4.

    Examples
    --------
    >>> result = meta_analysis([0.10, 0.30, 0.35, 0.65], [0.01, 0.02, 0.015, 0.02])
    >>> round(result.estimate, 3), round(result.tau2, 4)
    (0.338, 0.0366)
    """
    check_confidence(confidence)
    if method not in ("reml", "dl", "fixed"):
        raise ValueError(f'`method` must be "reml", "dl" or "fixed", got {method!r}')
    adjusted = method != "fixed" if hksj is None else hksj
    if adjusted and method == "fixed":
        raise ValueError('`hksj` must be False for method="fixed", got True')
    y = scores("effects", effects, minimum=1)
    v = scores("variances", variances, minimum=1)
    if y.ndim != 1 or y.shape != v.shape:
        raise ValueError(f"`variances` must have one value per effect, got {v.size} for {y.size}")
    if not (v > 0).all():
        raise ValueError(f"`variances` must be > 0, got {v.min():g}")
    with span("meta_analysis", test=method) as current:
        result = _pooled(y, v, method, adjusted, confidence)
        note(current, estimate=result.estimate, p_value=result.p_value)
        if result.interval is not None:
            note(current, interval_low=result.interval.low, interval_high=result.interval.high)
        return result


def _pooled(y: Array, v: Array, method: Method, hksj: bool, confidence: float) -> MetaAnalysis:
    from scipy import special

    k, reasons = y.size, []
    fixed = 1 / v
    q = float(fixed @ (y - fixed @ y / fixed.sum()) ** 2) if k > 1 else None
    tau2: float | None = 0.0
    if method != "fixed":
        tau2 = None if k == 1 else _reml(y, v) if method == "reml" else _moments(y, v)
    if tau2 is None:
        reasons.append("one study says nothing of the variance between studies")
    weights = 1 / (v + (tau2 or 0.0))
    estimate = float(weights @ y / weights.sum())
    plain = 1 / math.sqrt(float(weights.sum()))
    se = plain
    interval: Interval | None
    if not hksj:
        half = float(special.ndtri((1 + confidence) / 2)) * plain
        interval = Interval(low=estimate - half, high=estimate + half, level=confidence, method="z")
        p_value: float | None = float(2 * special.ndtr(-abs(estimate) / plain))
    elif k == 1:
        interval = p_value = None
        reasons.append("one study has no interval with the HKSJ standard error")
    else:
        spread = float(weights @ (y - estimate) ** 2)
        se = math.sqrt(spread / ((k - 1) * float(weights.sum())))
        interval = t_interval(estimate, se, k - 1, confidence=confidence, method="HKSJ t")
        p_value = float(2 * special.stdtr(k - 1, -abs(estimate) / se)) if se > 0 else None
        if se == 0:
            interval = None
            reasons.append("the effects do not vary, so HKSJ has no standard error")
    prediction = None
    if method == "fixed":
        reasons.append("fixed effects have one true effect and so no prediction interval")
    elif k < 3 or tau2 is None:
        reasons.append(f"a prediction interval needs at least 3 studies, got {k}")
    else:
        prediction = t_interval(
            estimate, math.hypot(math.sqrt(tau2), plain), k - 2, confidence=confidence,
            method="t, k - 2 df",
        )  # fmt: skip
    typical = None if k == 1 else (k - 1) * fixed.sum() / (fixed.sum() ** 2 - fixed @ fixed)
    return MetaAnalysis(
        method=method,
        k=k,
        estimate=estimate,
        standard_error=se,
        interval=interval,
        p_value=p_value,
        tau2=None if method == "fixed" else tau2,
        i2=None
        if tau2 is None or typical is None or method == "fixed"
        else 100 * tau2 / (tau2 + float(typical)),
        q=q,
        q_p_value=None if q is None else float(special.chdtrc(k - 1, q)),
        prediction=prediction,
        weights=tuple((weights / weights.sum()).tolist()),
        reasons=tuple(reasons),
    )


def _reml(y: Array, v: Array) -> float:
    """Return where the derivative of the restricted likelihood is zero; 0 if it falls from 0 on."""
    from scipy import optimize

    def slope(tau2: float) -> float:
        w = 1 / (v + tau2)
        mean = w @ y / w.sum()
        return float(-w.sum() + w @ w / w.sum() + (w**2) @ (y - mean) ** 2)

    if slope(0.0) <= 0:
        return 0.0
    top = max(float(y.var()), float(v.max()))
    while slope(top) > 0:
        top *= 2
    return float(optimize.brentq(slope, 0.0, top, xtol=1e-15, rtol=1e-14))


def _moments(y: Array, v: Array) -> float:
    w = 1 / v
    q = float(w @ (y - w @ y / w.sum()) ** 2)
    return max(0.0, (q - (y.size - 1)) / float(w.sum() - w @ w / w.sum()))
