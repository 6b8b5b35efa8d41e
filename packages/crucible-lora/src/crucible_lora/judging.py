"""What scores of held-out items show about a target, with one-sided confidence bounds."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_lora.gates import Gate, GateResult, QualityReport, Verdict
from crucible_lora.power import needed_items


def judge(gate: Gate, scores: ArrayLike, *, proxy: bool = False) -> GateResult:
    """Return what scores say about a gate.

    Parameters
    ----------
    gate : Gate
    scores : shape (items,) or (items, samples)
        In [0, 1] for rates; NaN is unknown, and then nothing is computed. A failed output is 0 for
        a "min" gate, not absent.
    proxy : bool
        The scores stand in for what the metric means.

    Notes
    -----
    Scores of 0 and 1, one per item, get the exact bounds of Clopper and Pearson: low =
    Beta(alpha; k, n - k + 1), high = Beta(1 - alpha; k + 1, n - k). Other scores get the item mean
    -/+ t(1 - alpha, n - 1) sd / sqrt(n) from 30 items on; fewer, or without spread, Hoeffding's
    -/+ sqrt(ln(1 / alpha) / (2 n)), which holds for scores in [0, 1] alone.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, Biometrika 26(4), 404-413, 1934.
    .. [2] W. Hoeffding, JASA 58(301), 13-30, 1963, theorem 1.

    Examples
    --------
    >>> from crucible_lora import Gate
    >>> result = judge(Gate("schema_compliance", 0.95), [1] * 50)
    >>> result.verdict, round(result.bound_low, 6), result.needed_n
    ('inconclusive', 0.941845, 59)
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    n = len(values)
    if values.size == 0 or np.isnan(values).any():
        unknown = int(np.isnan(values).any(axis=1).sum())
        why = "no item" if values.size == 0 else f"{unknown} of {n} items have no score"
        return not_computed(gate, why, n=n)
    means = values.mean(axis=1)
    observed = float(means.mean())
    binary = values.shape[1] == 1 and bool(np.isin(values, (0.0, 1.0)).all())
    bounded = bool(((values >= 0) & (values <= 1)).all())
    spread = float(means.std(ddof=1)) if n > 1 else 0.0
    if binary:
        low, high = clopper_pearson(int(values.sum()), n, alpha=gate.alpha)
        method = "clopper-pearson"
    elif n >= 30 and spread > 0:
        low, high = _t_bounds(observed, spread, n, alpha=gate.alpha)
        method = "t"
    elif bounded:
        reach = math.sqrt(math.log(1 / gate.alpha) / (2 * n))
        low, high, method = observed - reach, observed + reach, "hoeffding"
    else:
        why = f"{n} items without a known range of scores have no bound; 30 that differ do"
        return not_computed(gate, why, n=n, observed=observed)
    return GateResult(
        metric=gate.metric,
        target=gate.target,
        direction=gate.direction,
        observed=observed,
        n=n,
        bound_low=low,
        bound_high=high,
        method=method,
        verdict=_verdict(gate, low, high),
        needed_n=needed_items(gate, observed) if binary else None,
        proxy=proxy,
        primary=gate.primary,
    )


def not_computed(
    gate: Gate, reason: str, *, n: int = 0, observed: float | None = None
) -> GateResult:
    """Return the result of a gate that nothing can be said about."""
    return GateResult(
        metric=gate.metric,
        target=gate.target,
        direction=gate.direction,
        observed=observed,
        n=n,
        bound_low=None,
        bound_high=None,
        method=None,
        verdict="not_computed",
        reason=reason,
        primary=gate.primary,
    )


def judge_all(
    gates: Sequence[Gate],
    scores: Mapping[str, NDArray[np.float64]],
    *,
    reasons: Mapping[str, str],
    proxies: Collection[str] = (),
    n_expected: int,
    n_produced: int,
    n_failed: int,
    checkpoint: str,
) -> QualityReport:
    """Return the report of several gates.

    Parameters
    ----------
    scores : mapping of metric to scores, shape (items, samples)
    reasons : mapping of metric to why it has no scores
    proxies : names of metrics that a stand-in computed
    """
    results = []
    for gate in gates:
        if gate.metric in scores:
            results.append(judge(gate, scores[gate.metric], proxy=gate.metric in proxies))
        else:
            results.append(not_computed(gate, reasons.get(gate.metric) or "it was not asked for"))
    primary = [r.verdict for r in results if r.primary]
    order: tuple[Verdict, ...] = ("fail", "not_computed", "inconclusive")
    verdict: Verdict = next((v for v in order if v in primary), "pass")
    if not primary:
        verdict = "not_computed"
    rate, low = _joint([g for g in gates if g.primary], scores)
    return QualityReport(
        gates=tuple(results),
        verdict=verdict,
        passed=verdict == "pass",
        n_expected=n_expected,
        n_produced=n_produced,
        n_failed=n_failed,
        joint_pass_rate=rate,
        joint_bound_low=low,
        checkpoint=checkpoint,
    )


def clopper_pearson(k: int, n: int, *, alpha: float) -> tuple[float, float]:
    """Return the exact bounds of a rate, each one-sided at level 1 - alpha."""
    from scipy import special

    low = 0.0 if k == 0 else float(special.betaincinv(k, n - k + 1, alpha))
    high = 1.0 if k == n else float(special.betaincinv(k + 1, n - k, 1 - alpha))
    return low, high


def _t_bounds(mean: float, sd: float, n: int, *, alpha: float) -> tuple[float, float]:
    from scipy import special

    reach = float(special.stdtrit(n - 1, 1 - alpha)) * sd / math.sqrt(n)
    return mean - reach, mean + reach


def _verdict(gate: Gate, low: float, high: float) -> Verdict:
    if gate.direction == "min":
        return "pass" if low >= gate.target else "fail" if high < gate.target else "inconclusive"
    return "pass" if high <= gate.target else "fail" if low > gate.target else "inconclusive"


def _joint(gates: Sequence[Gate], scores: Mapping[str, Any]) -> tuple[float | None, float | None]:
    if not gates or any(g.direction == "max" or g.metric not in scores for g in gates):
        return None, None
    table = np.stack([scores[g.metric] for g in gates])
    if table.shape[2] != 1 or not np.isin(table, (0.0, 1.0)).all():
        return None, None
    right, n = table[:, :, 0].all(axis=0), table.shape[1]
    low, _ = clopper_pearson(int(np.sum(right)), n, alpha=max(g.alpha for g in gates))
    return float(np.mean(right)), low
