"""Quality gates: what held-out items show about a target, with one-sided confidence bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_lora.records import Record

Direction = Literal["min", "max"]
Verdict = Literal["pass", "fail", "inconclusive", "not_computed"]
_MOST = 5000  # items: beyond that, nobody is told to collect more


@dataclass(frozen=True, slots=True)
class Gate(Record):
    """What a metric must reach.

    Parameters
    ----------
    metric : str
    target : float
        The least ("min") or the most ("max") that is good enough.
    direction : {"min", "max"}
    alpha : float, in (0, 1)
        The chance of passing a model that is exactly at the target.
    primary : bool
        Whether the report passes only if this gate does.

    Raises
    ------
    ValueError
        For a target of exactly 1 ("min") or 0 ("max"), which no finite sample can show.
    """

    metric: str
    target: float
    _: KW_ONLY
    direction: Direction = "min"
    alpha: float = 0.05
    primary: bool = True

    def __post_init__(self) -> None:
        if not self.metric:
            raise ValueError(f"`metric` must be a name, got {self.metric!r}")
        if self.direction not in ("min", "max"):
            raise ValueError(f"`direction` must be min or max, got {self.direction!r}")
        if not math.isfinite(self.target):
            raise ValueError(f"`target` must be a number, got {self.target}")
        limit = 1.0 if self.direction == "min" else 0.0
        if self.target == limit:
            raise ValueError(
                f"`target` must not be exactly {limit:g}, which no finite sample can show, "
                f"got {self.target} for {self.metric!r}"
            )
        if not 0 < self.alpha < 1:
            raise ValueError(f"`alpha` must be in (0, 1), got {self.alpha}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult(Record):
    """What the outputs say about a gate.

    `bound_low` and `bound_high` are each one-sided at level 1 - alpha. `needed_n` is the number of
    items from which a rate like the observed one passes in 4 of 5 studies; None where it is not
    beyond the target or more than 5,000 are needed. `reason` says why nothing was computed.
    """

    metric: str
    target: float
    direction: Direction
    observed: float | None
    n: int
    bound_low: float | None
    bound_high: float | None
    method: str | None
    verdict: Verdict
    needed_n: int | None = None
    proxy: bool = False
    reason: str | None = None
    primary: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport(Record):
    """All gates of one adapter.

    `n_expected` outputs were asked for and `n_produced` came; `n_failed` of the expected were
    missing, empty or cut off, and count as wrong. `joint_pass_rate` is the share of items that are
    right by every primary gate at once, with its one-sided lower bound, where all are 0 or 1.
    """

    gates: tuple[GateResult, ...]
    verdict: Verdict
    passed: bool
    n_expected: int
    n_produced: int
    n_failed: int
    joint_pass_rate: float | None
    joint_bound_low: float | None
    checkpoint: str

    def markdown(self) -> str:
        """Return the gates as a Markdown table."""
        from crucible_lora.tables import markdown_table

        return markdown_table(*gate_table(self))


def gate_table(report: QualityReport) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows that show a report's gates."""
    columns = ["gate", "observed", "bounds", "n", "verdict", "n needed"]
    rows = []
    for g in report.gates:
        sign = "≥" if g.direction == "min" else "≤"
        bounds = "unknown" if g.bound_low is None else f"{g.bound_low:.3f} to {g.bound_high:.3f}"
        verdict = g.verdict.replace("_", " ") + (" (by word overlap)" if g.proxy else "")
        if g.reason is not None:
            verdict += f": {g.reason}"
        rows.append(
            [
                f"{g.metric} {sign} {g.target:g}" + ("" if g.primary else " (secondary)"),
                "unknown" if g.observed is None else f"{g.observed:.3f}",
                bounds,
                str(g.n),
                verdict,
                "" if g.needed_n is None or g.verdict != "inconclusive" else str(g.needed_n),
            ]
        )
    return columns, rows


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
        needed_n=_needed(gate, observed) if binary else None,
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
    """
    results = []
    for gate in gates:
        if gate.metric in scores:
            results.append(judge(gate, scores[gate.metric]))
        else:
            results.append(not_computed(gate, reasons.get(gate.metric, "it was not asked for")))
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


def gate_sample_size(
    target: float,
    expected_rate: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    direction: Direction = "min",
) -> int:
    """Return the items from which a rate passes its gate with the given power, and stays so.

    Parameters
    ----------
    target : float, in (0, 1)
    expected_rate : float, in [0, 1]
        What the adapter's rate is thought to be: above the target, or below it for "max".
    power : float, in (0, 1)
    alpha : float, in (0, 1)
    direction : {"min", "max"}

    Raises
    ------
    ValueError
        If an argument is out of range, or more than a million items would be needed.

    Notes
    -----
    The power of an exact test saw-tooths in n; the answer is behind the last n that falls short.

    Examples
    --------
    >>> gate_sample_size(0.95, 0.98)
    286
    """
    for name, value in (("target", target), ("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise ValueError(f"`{name}` must be in (0, 1), got {value}")
    if direction not in ("min", "max"):
        raise ValueError(f"`direction` must be min or max, got {direction!r}")
    if direction == "max":
        target, expected_rate = 1 - target, 1 - expected_rate
    if not target < expected_rate <= 1:
        side = "above" if direction == "min" else "below"
        raise ValueError(
            f"`expected_rate` must be {side} the target and in [0, 1]: a model at the target "
            "passes no more often than alpha"
        )
    from scipy import special

    spread = special.ndtri(1 - alpha) * math.sqrt(target * (1 - target))
    spread += special.ndtri(power) * math.sqrt(expected_rate * (1 - expected_rate))
    reach = math.ceil(1.5 * (spread / (expected_rate - target)) ** 2) + 200
    if reach > 1_000_000:
        raise ValueError(
            f"`expected_rate` must be further from the target: {expected_rate} needs more than "
            "a million items"
        )
    return _first_staying(target, expected_rate, power=power, alpha=alpha, reach=reach)


def pass_probability(
    n: NDArray[np.int64], *, target: float, rate: float, alpha: float
) -> NDArray[np.float64]:
    """Return the chance that n items of a rate pass a "min" gate, for each n."""
    from scipy import stats

    # The lower bound reaches the target exactly where P(X >= k | target) <= alpha.
    critical = stats.binom.ppf(1 - alpha, n, target) + 1
    chance: NDArray[np.float64] = stats.binom.sf(critical - 1, n, rate)
    return chance


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


def _needed(gate: Gate, observed: float) -> int | None:
    target, rate = gate.target, observed
    if gate.direction == "max":
        target, rate = 1 - target, 1 - rate
    if not 0 < target < rate:
        return None
    needed = _first_staying(target, rate, power=0.8, alpha=gate.alpha, reach=_MOST)
    return needed if needed <= _MOST else None


def _first_staying(target: float, rate: float, *, power: float, alpha: float, reach: int) -> int:
    sizes = np.arange(1, reach + 1, dtype=np.int64)
    short = pass_probability(sizes, target=target, rate=rate, alpha=alpha) < power
    return int(sizes[short][-1]) + 1 if short.any() else 1


def _joint(gates: Sequence[Gate], scores: Mapping[str, Any]) -> tuple[float | None, float | None]:
    if not gates or any(g.direction == "max" or g.metric not in scores for g in gates):
        return None, None
    table = np.stack([scores[g.metric] for g in gates])
    if table.shape[2] != 1 or not np.isin(table, (0.0, 1.0)).all():
        return None, None
    right, n = table[:, :, 0].all(axis=0), table.shape[1]
    low, _ = clopper_pearson(int(np.sum(right)), n, alpha=max(g.alpha for g in gates))
    return float(np.mean(right)), low
