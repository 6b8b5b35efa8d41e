"""Where to set the threshold of a cascade: the whole curve of cost against accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crucible_ensemble.calibration import Calibrator, Method, fit_calibrator
from crucible_ensemble.confidence import ConfidenceSource, confidence_of
from crucible_ensemble.executions.cascade import Cascade
from crucible_ensemble.matrix import Labels, ResponseMatrix, Scorer
from crucible_ensemble.model import Normaliser
from crucible_ensemble.normalise import NormaliserName

if TYPE_CHECKING:
    import numpy as np

_RESAMPLES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadePoint:
    """One threshold: what it gives on items that did not choose it.

    `escalated` is the share of items that the strong model is asked about as well; cost is US
    dollars per item; intervals are 95 % bootstrap percentiles over items.
    """

    threshold: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    cost_usd: float
    cost_low: float
    cost_high: float
    escalated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeFit:
    """A cascade of two models.

    `curve` goes from never to always asking the strong model, by cross-fitted confidences;
    `accuracy` and `cost_usd` are those of thresholds chosen without the fold that they are judged
    on; `calibrator` belongs to the cheap member, `execution` to the ensemble.
    """

    cheap: str
    strong: str
    threshold: float
    accuracy: float
    cost_usd: float
    curve: tuple[CascadePoint, ...]
    calibrator: Calibrator
    execution: Cascade


def fit_cascade(
    matrix: ResponseMatrix,
    *,
    cheap: str,
    strong: str,
    labels: Labels | None = None,
    scorer: Scorer | None = None,
    normalise: NormaliserName | Normaliser = "text",
    confidence: ConfidenceSource | None = None,
    target_accuracy: float | None = None,
    budget_usd: float | None = None,
    method: Method = "temperature",
    folds: int = 5,
    seed: int = 0,
) -> CascadeFit:
    """Choose the confidence below which the strong model is asked.

    Parameters
    ----------
    matrix, labels, scorer, normalise
        As in `ResponseMatrix.correct`; the first sample of each cell is used.
    cheap, strong : str
        Models of the matrix.
    confidence : source, optional
        Of the cheap model.
    target_accuracy : float, in (0, 1], optional
        The cheapest threshold that reaches it.
    budget_usd : float, > 0, optional
        The most accurate threshold whose mean cost per item is within it.
    method, folds, seed
        Of the calibrator, and of choosing thresholds on other items.

    Raises
    ------
    ValueError
        Unless exactly one of target and budget is given, and it can be met; for unknown costs.
    """
    import numpy as np

    if (target_accuracy is None) == (budget_usd is None):
        raise ValueError("`target_accuracy` or `budget_usd` must be given, one of them")
    pair = matrix.subset(models=(cheap, strong))
    right = pair.correct(labels, scorer=scorer, normalise=normalise)[:, :, 0]
    costs = pair.costs()[:, :, 0]
    if np.isnan(costs).any():
        raise ValueError("`matrix` must hold a known cost for every cell of both models")
    stated = _stated(pair, cheap, confidence)
    n = len(stated)
    if not 2 <= folds <= n:
        raise ValueError(f"`folds` must be in [2, {n}], got {folds}")
    spoke = ~np.isnan(stated)
    fold = np.random.default_rng(seed).permutation(n) % folds
    p = np.full(n, -1.0)  # who gives no confidence is never accepted
    for f in range(folds):
        outside, inside = (fold != f) & spoke, (fold == f) & spoke
        fitted = fit_calibrator(stated[outside], right[outside, 0], method=method)
        p[inside] = [fitted(float(c)) for c in stated[inside]]
    grid = _grid(p)
    correct, cost = _outcomes(p, grid, right, costs)  # (thresholds, items)
    choose = _chooser(grid, target_accuracy, budget_usd)
    judged = np.zeros((2, n))
    for f in range(folds):
        inside = fold == f
        k = choose(correct[:, ~inside].mean(axis=1), cost[:, ~inside].mean(axis=1), strict=False)
        judged[0, inside], judged[1, inside] = correct[k, inside], cost[k, inside]
    best = choose(correct.mean(axis=1), cost.mean(axis=1), strict=True)
    return CascadeFit(
        cheap=cheap, strong=strong, threshold=float(min(max(grid[best], 0.0), 1.0)),
        accuracy=float(judged[0].mean()), cost_usd=float(judged[1].mean()),
        curve=_curve(grid, correct, cost, p, seed),
        calibrator=fit_calibrator(stated[spoke], right[spoke, 0], method=method),
        execution=Cascade(threshold=float(min(max(grid[best], 0.0), 1.0)), order="given"),
    )  # fmt: skip


def _stated(matrix: ResponseMatrix, model: str, source: ConfidenceSource | None) -> Any:
    import numpy as np

    found = np.full(len(matrix.items), np.nan)
    for i, item in enumerate(matrix.items):
        cell = matrix.cell(item, model)
        if cell is not None and cell.completion is not None:
            value = confidence_of(cell.completion, source)
            found[i] = np.nan if value is None else value
    return found


def _grid(p: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return 0, the confidences that occur (at most 200 quantiles), and one above all."""
    import numpy as np

    seen = np.unique(p[p >= 0])
    if len(seen) > 200:
        seen = np.unique(np.quantile(seen, np.linspace(0, 1, 200), method="inverted_cdf"))
    return np.concatenate([[0.0], seen, [np.nextafter(1.0, 2.0)]])


def _outcomes(p: Any, grid: Any, right: Any, costs: Any) -> tuple[Any, Any]:
    import numpy as np

    accepted = p[None, :] >= grid[:, None]
    correct = np.where(accepted, right[None, :, 0], right[None, :, 1])
    cost = np.where(accepted, costs[None, :, 0], costs[None, :, 0] + costs[None, :, 1])
    return correct, cost


def _chooser(grid: Any, target: float | None, budget: float | None) -> Any:
    def choose(accuracy: Sequence[float], cost: Sequence[float], *, strict: bool) -> int:
        places = range(len(grid))
        if target is not None:
            good = [k for k in places if accuracy[k] >= target]
            if not good and strict:
                raise ValueError(f"`target_accuracy` must be <= {max(accuracy):.4f}, the best of any threshold, got {target}")  # noqa: E501 # fmt: skip
            if not good:
                return max(places, key=lambda k: (accuracy[k], -cost[k]))
            return min(good, key=lambda k: (cost[k], -accuracy[k]))
        assert budget is not None
        good = [k for k in places if cost[k] <= budget]
        if not good and strict:
            raise ValueError(f"`budget_usd` must be >= {min(cost):.3g} per item, got {budget}")
        if not good:
            return min(places, key=lambda k: cost[k])
        return max(good, key=lambda k: (accuracy[k], -cost[k]))

    return choose


def _curve(grid: Any, correct: Any, cost: Any, p: Any, seed: int) -> tuple[CascadePoint, ...]:
    import numpy as np

    n = correct.shape[1]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, [1 / n] * n, size=_RESAMPLES) / n  # (resamples, items)
    bounds_a = np.quantile(correct @ weights.T, [0.025, 0.975], axis=1)
    bounds_c = np.quantile(cost @ weights.T, [0.025, 0.975], axis=1)
    return tuple(
        CascadePoint(
            threshold=float(grid[k]), accuracy=float(correct[k].mean()),
            accuracy_low=float(bounds_a[0, k]), accuracy_high=float(bounds_a[1, k]),
            cost_usd=float(cost[k].mean()), cost_low=float(bounds_c[0, k]),
            cost_high=float(bounds_c[1, k]), escalated=float((p < grid[k]).mean()),
        )
        for k in range(len(grid))
    )  # fmt: skip
