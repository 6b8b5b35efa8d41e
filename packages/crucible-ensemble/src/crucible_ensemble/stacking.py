"""Weights for a linear pool of members, fitted out of sample."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crucible_ensemble.calibration import Method, fit_calibrator
from crucible_ensemble.confidence import ConfidenceSource, confidence_of
from crucible_ensemble.matrix import Labels, ResponseMatrix
from crucible_ensemble.model import Normaliser
from crucible_ensemble.normalise import NormaliserName
from crucible_ensemble.votes.weighted import Stacked, classes_from

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class PoolWeights:
    """Weights on the simplex and the log loss of the pool."""

    weights: tuple[float, ...]
    log_loss: float


def pool_weights(probabilities: "npt.ArrayLike") -> PoolWeights:
    """Return the weights that minimise the log loss of a linear pool.

    Parameters
    ----------
    probabilities : array of shape (items, members), in [0, 1]
        What each member gave to the right answer, by a calibrator that did not see the item.

    Raises
    ------
    ValueError
        If a value is out of range, or an item got probability 0 from everybody.

    Notes
    -----
    Convex; solved by expectation maximisation, which stays on the simplex, and polished.
    """
    import numpy as np
    from scipy.optimize import minimize

    p = np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or not p.size or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"`probabilities` must be in [0, 1] of shape (items, members), got shape {p.shape}")  # noqa: E501 # fmt: skip
    if not (p.sum(axis=1) > 0).all():
        raise ValueError("`probabilities` must not be 0 from every member for an item")
    weights = np.full(p.shape[1], 1 / p.shape[1])
    for _ in range(1000):
        new = weights * (p / (p @ weights)[:, None]).mean(axis=0)
        moved = float(np.abs(new - weights).max())
        weights = new
        if moved < 1e-12:
            break
    found = minimize(
        lambda w: -float(np.log(np.maximum(p @ w, 1e-300)).mean()), weights,
        jac=lambda w: -(p / np.maximum(p @ w, 1e-300)[:, None]).mean(axis=0), method="SLSQP",
        bounds=[(0, 1)] * len(weights), constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 500},
    )  # fmt: skip
    best = np.clip(found.x, 0, None)
    best = best / best.sum()
    losses = [-float(np.log(np.maximum(p @ w, 1e-300)).mean()) for w in (weights, best)]
    chosen = best if losses[1] <= losses[0] else weights
    return PoolWeights(tuple(chosen.tolist()), min(losses))


def fit_stacking(
    matrix: ResponseMatrix,
    *,
    labels: Labels | None = None,
    normalise: NormaliserName | Normaliser = "text",
    confidence: ConfidenceSource | None = None,
    classes: float | None = None,
    method: Method = "temperature",
    folds: int = 5,
    seed: int = 0,
) -> Stacked:
    """Return the `Stacked` vote whose weights minimise the out-of-fold log loss.

    Parameters
    ----------
    matrix, labels, normalise
        As in `ResponseMatrix.correct`; the first sample of each cell is used.
    confidence : source, optional
    classes : float, > 1, optional
        Possible answers, among which a member's doubt is spread; see `votes.Weighted`.
    method, folds, seed
        Of the calibrators, which are fitted without the fold they are applied to.

    Notes
    -----
    Members vote in it with calibrated confidences: give them those of `fit_calibrators`.

    Raises
    ------
    ValueError
        For a member without confidences, or with too few.
    """
    import numpy as np

    k = classes_from(0, 0) if classes is None else classes
    right = matrix.correct(labels, normalise=normalise)[:, :, 0]
    n_items, n_models = right.shape
    if not 2 <= folds <= n_items:
        raise ValueError(f"`folds` must be in [2, {n_items}], got {folds}")
    fold = np.random.default_rng(seed).permutation(n_items) % folds
    stated = np.full((n_items, n_models), np.nan)
    for i, item in enumerate(matrix.items):
        for m, model in enumerate(matrix.models):
            cell = matrix.cell(item, model)
            if cell is not None and cell.completion is not None:
                value: Any = confidence_of(cell.completion, confidence)
                stated[i, m] = np.nan if value is None else value
    given = np.zeros((n_items, n_models))
    for m, model in enumerate(matrix.models):
        for f in range(folds):
            outside = (fold != f) & ~np.isnan(stated[:, m])
            inside = (fold == f) & ~np.isnan(stated[:, m])
            try:
                fitted = fit_calibrator(stated[outside, m], right[outside, m], method=method)
            except ValueError as error:
                error.add_note(f"model {model}")
                raise
            p = np.array([fitted(float(c)) for c in stated[inside, m]])
            given[inside, m] = np.where(right[inside, m] == 1, p, (1 - p) / (k - 1))
        # Who says nothing about an item spreads over all its answers.
        given[np.isnan(stated[:, m]), m] = 1 / k
    fit = pool_weights(np.clip(given, 1e-6, 1.0))
    return Stacked(weights=dict(zip(matrix.models, fit.weights, strict=True)), classes=classes)
