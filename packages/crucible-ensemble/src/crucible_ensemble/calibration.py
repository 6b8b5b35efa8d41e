"""From stated confidence to probability: calibrators, fitted and judged out of sample."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from crucible_ensemble.confidence import ConfidenceSource, confidence_of
from crucible_ensemble.matrix import Labels, ResponseMatrix, Scorer
from crucible_ensemble.model import Normaliser
from crucible_ensemble.normalise import NormaliserName

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Method = Literal["temperature", "platt", "beta", "isotonic"]
_EDGE = 1e-6
_FEW = 30


class Calibrator(Protocol):
    """Turns a raw confidence into a probability."""

    def __call__(self, confidence: float, /) -> float:
        """Return a probability in [0, 1]."""
        ...


@dataclass(frozen=True, slots=True)
class Temperature:
    """sigma(logit(p) / T): one parameter, keeps the order."""

    temperature: float

    def __call__(self, confidence: float, /) -> float:
        """Return the calibrated probability."""
        return _expit(_logit(confidence) / self.temperature)


@dataclass(frozen=True, slots=True)
class Platt:
    """sigma(a logit(p) + b)."""

    a: float
    b: float

    def __call__(self, confidence: float, /) -> float:
        """Return the calibrated probability."""
        return _expit(self.a * _logit(confidence) + self.b)


@dataclass(frozen=True, slots=True)
class Beta:
    """sigma(a log(p) - b log(1-p) + c).

    References
    ----------
    .. [1] M. Kull, T. Silva Filho and P. Flach, AISTATS 2017.
    """

    a: float
    b: float
    c: float

    def __call__(self, confidence: float, /) -> float:
        """Return the calibrated probability."""
        p = min(max(confidence, _EDGE), 1 - _EDGE)
        return _expit(self.a * math.log(p) - self.b * math.log1p(-p) + self.c)


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A function that never falls, straight between its points (`xs`, `ys`)."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]

    def __call__(self, confidence: float, /) -> float:
        """Return the calibrated probability."""
        place = bisect_right(self.xs, confidence)
        if place == 0:
            return self.ys[0]
        if place == len(self.xs):
            return self.ys[-1]
        x0, x1, y0, y1 = *self.xs[place - 1 : place + 1], *self.ys[place - 1 : place + 1]
        return y0 + (y1 - y0) * (confidence - x0) / (x1 - x0)


def fit_calibrator(
    confidences: "npt.ArrayLike",
    outcomes: "npt.ArrayLike",
    *,
    method: Method = "temperature",
    min_pairs: int = _FEW,
) -> Calibrator:
    """Fit a calibrator by maximum likelihood.

    Parameters
    ----------
    confidences : array of shape (pairs,), in [0, 1]
    outcomes : array of shape (pairs,), 0 or 1
    method : {"temperature", "platt", "beta", "isotonic"}
    min_pairs : int, >= 2
        Fewer are refused.

    Raises
    ------
    ValueError
        For too few pairs, outcomes that are all right or all wrong, values out of range.
    """
    import numpy as np
    from scipy.optimize import minimize, minimize_scalar

    p, y = _checked(confidences, outcomes, min_pairs)
    z = _logits(p)
    if method == "temperature":
        found = minimize_scalar(lambda t: _loss(z * math.exp(-t), y), bracket=(-1.0, 1.0), tol=1e-12)  # noqa: E501 # fmt: skip
        return Temperature(math.exp(float(found.x)))
    if method == "platt":
        columns = np.stack([z, np.ones_like(z)])
        best = minimize(_loss_and_slope, [1.0, 0.0], args=(columns, y), jac=True, method="BFGS",
                        options={"gtol": 1e-9})  # fmt: skip
        return Platt(float(best.x[0]), float(best.x[1]))
    if method == "beta":
        safe = np.clip(p, _EDGE, 1 - _EDGE)
        columns = np.stack([np.log(safe), -np.log1p(-safe), np.ones_like(safe)])
        # a and b below 0 would turn the order round.
        best = minimize(
            _loss_and_slope, [1.0, 1.0, 0.0], args=(columns, y), jac=True, method="L-BFGS-B",
            bounds=[(0, None), (0, None), (None, None)], options={"ftol": 1e-12, "gtol": 1e-9},
        )  # fmt: skip
        return Beta(*(float(v) for v in best.x))
    if method == "isotonic":
        from scipy.optimize import isotonic_regression

        xs, place = np.unique(p, return_inverse=True)
        weights = np.bincount(place)
        means = np.bincount(place, weights=y) / weights
        ys = isotonic_regression(means, weights=weights).x
        return Isotonic(tuple(xs.tolist()), tuple(ys.tolist()))
    raise ValueError(
        f'`method` must be "temperature", "platt", "beta" or "isotonic", got {method!r}'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossfit:
    """Confidences that were calibrated by the other folds, and what that gained.

    `calibrated` has the order of the pairs; Brier score and log loss are means over the pairs,
    lower is better.
    """

    calibrated: "np.ndarray[Any, Any]"
    brier_before: float
    brier_after: float
    log_loss_before: float
    log_loss_after: float


def crossfit(
    confidences: "npt.ArrayLike",
    outcomes: "npt.ArrayLike",
    *,
    method: Method = "temperature",
    folds: int = 5,
    seed: int = 0,
    min_pairs: int = _FEW,
) -> Crossfit:
    """Calibrate each fold with what was fitted on the others, and say what it gained.

    Raises
    ------
    ValueError
        As `fit_calibrator`, also for the pairs outside any fold.
    """
    import numpy as np

    p, y = _checked(confidences, outcomes, min_pairs)
    if not 2 <= folds <= len(p):
        raise ValueError(f"`folds` must be in [2, {len(p)}], got {folds}")
    fold = np.random.default_rng(seed).permutation(len(p)) % folds
    after = np.zeros(len(p))
    for k in range(folds):
        inside = fold == k
        fitted = fit_calibrator(p[~inside], y[~inside], method=method, min_pairs=2)
        after[inside] = [fitted(float(c)) for c in p[inside]]
    return Crossfit(
        calibrated=after,
        brier_before=brier(p, y), brier_after=brier(after, y),
        log_loss_before=log_loss(p, y), log_loss_after=log_loss(after, y),
    )  # fmt: skip


def brier(probabilities: "npt.ArrayLike", outcomes: "npt.ArrayLike") -> float:
    """Return the mean squared distance of probabilities from outcomes."""
    import numpy as np

    return float(((np.asarray(probabilities, float) - np.asarray(outcomes, float)) ** 2).mean())


def log_loss(probabilities: "npt.ArrayLike", outcomes: "npt.ArrayLike") -> float:
    """Return the mean negative log-likelihood, probabilities clipped to [1e-6, 1 - 1e-6]."""
    import numpy as np

    return _loss(_logits(np.asarray(probabilities, float)), np.asarray(outcomes, float))


def fit_calibrators(
    matrix: ResponseMatrix,
    *,
    labels: Labels | None = None,
    scorer: Scorer | None = None,
    normalise: NormaliserName | Normaliser = "text",
    confidence: ConfidenceSource | None = None,
    method: Method = "temperature",
) -> dict[str, Calibrator]:
    """Fit a calibrator for each model of a matrix, for `Member(calibrator=...)`.

    Use it on other items than those it was fitted on: `matrix.subset(items=...)`.

    Raises
    ------
    ValueError
        For a model with fewer than 30 confidences, or that is always right or always wrong.
    """
    pairs = confidence_pairs(matrix, labels, scorer, normalise, confidence)
    fitted = {}
    for model, (stated, right) in pairs.items():
        try:
            fitted[model] = fit_calibrator(stated, right, method=method)
        except ValueError as error:
            error.add_note(f"model {model}")
            raise
    return fitted


def confidence_pairs(
    matrix: ResponseMatrix,
    labels: Labels | None,
    scorer: Scorer | None,
    normalise: Any,
    source: ConfidenceSource | None,
) -> dict[str, tuple[list[float], list[float]]]:
    """Return for each model its confidences and whether it was right, where it stated one."""
    right = matrix.correct(labels, scorer=scorer, normalise=normalise)
    found: dict[str, tuple[list[float], list[float]]] = {}
    for m, model in enumerate(matrix.models):
        stated: list[float] = []
        outcomes: list[float] = []
        for i, item in enumerate(matrix.items):
            for s in range(matrix.samples):
                cell = matrix.cell(item, model, s)
                if cell is None or cell.completion is None:
                    continue
                value = confidence_of(cell.completion, source)
                if value is not None:
                    stated.append(value)
                    outcomes.append(float(right[i, m, s]))
        found[model] = stated, outcomes
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """How often answers are wrong if only the surest are given.

    `coverage` rises from 1/n to 1; `risk` is the error rate among those answers; `aurc` the mean
    risk, lower is better.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    aurc: float


def risk_coverage(confidence: "npt.ArrayLike", correct: "npt.ArrayLike") -> RiskCoverage:
    """Return the risk-coverage curve.

    Parameters
    ----------
    confidence : array of shape (items,)
    correct : array of shape (items,), in [0, 1]

    Notes
    -----
    Items of equal confidence enter together in their mean, so their order plays no part.

    References
    ----------
    .. [1] Y. Geifman, G. Uziel and R. El-Yaniv, ICLR 2019.
    """
    import numpy as np

    stated, right = np.asarray(confidence, float), np.asarray(correct, float)
    if stated.shape != right.shape or stated.ndim != 1 or not len(stated):
        raise ValueError(f"`confidence` and `correct` must have one shape (items,), got {stated.shape} and {right.shape}")  # noqa: E501 # fmt: skip
    if np.isnan(stated).any() or np.isnan(right).any():
        raise ValueError("`confidence` and `correct` must be known for every item, got nan")
    _, place = np.unique(-stated, return_inverse=True)
    mean = np.bincount(place, weights=1 - right) / np.bincount(place)
    wrong = np.sort(place)
    n = np.arange(1, len(stated) + 1)
    risk = np.cumsum(mean[wrong]) / n
    return RiskCoverage(
        coverage=tuple((n / len(stated)).tolist()),
        risk=tuple(risk.tolist()),
        aurc=float(risk.mean()),
    )


def _checked(confidences: Any, outcomes: Any, min_pairs: int) -> tuple[Any, Any]:
    import numpy as np

    p, y = np.asarray(confidences, float), np.asarray(outcomes, float)
    if p.shape != y.shape or p.ndim != 1:
        raise ValueError(f"`confidences` and `outcomes` must have one shape (pairs,), got {p.shape} and {y.shape}")  # noqa: E501 # fmt: skip
    if len(p) < min_pairs:
        raise ValueError(f"`confidences` must be at least {min_pairs} pairs, got {len(p)}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("`confidences` must be in [0, 1]")
    if not np.isin(y, (0.0, 1.0)).all() or y.min() == y.max():
        raise ValueError("`outcomes` must hold both 0 and 1, and nothing else")
    return p, y


def _logits(p: Any) -> Any:
    import numpy as np

    safe = np.clip(p, _EDGE, 1 - _EDGE)
    return np.log(safe) - np.log1p(-safe)


def _loss(z: Any, y: Any) -> float:
    import numpy as np

    return float((np.logaddexp(0.0, z) - y * z).mean())


def _loss_and_slope(weights: Any, columns: Any, y: Any) -> tuple[float, Any]:
    """Return the loss of weighted columns (weights, pairs) and its gradient by the weights."""
    from scipy.special import expit

    z = weights @ columns
    return _loss(z, y), columns @ (expit(z) - y) / len(y)


def _logit(p: float) -> float:
    p = min(max(p, _EDGE), 1 - _EDGE)
    return math.log(p) - math.log1p(-p)


def _expit(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))
