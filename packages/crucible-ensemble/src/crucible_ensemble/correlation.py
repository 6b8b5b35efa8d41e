"""How much the members err together, and what that leaves to a vote."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crucible_ensemble.evaluate import wilson
from crucible_ensemble.matrix import Labels, ResponseMatrix, Scorer
from crucible_ensemble.model import Normaliser
from crucible_ensemble.normalise import NormaliserName
from crucible_ensemble.theory import BetaBinomialFit, fit_beta_binomial, n_eff

if TYPE_CHECKING:
    import numpy as np

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCorrelation:
    """Dependence between the errors of M models.

    Attributes
    ----------
    models : tuple of str
    accuracies : tuple of float
    phi : tuple of tuples of float or None
        Correlation of right and wrong for each pair; None where a model never varies.
    mean_phi, low, high : float or None
        Over the pairs, with a bootstrap interval over items.
    icc : float or None
        ICC(1): variance between items over all variance.
    same_wrong, pairs_wrong : int
        Pairs of wrong answers to one item that are equal, and all such pairs.
    same_wrong_rate : float or None
    classes : float or None
        Effective number of answers K = 1 + 1/rate.
    n_eff : float or None
        M / (1 + (M - 1) mean_phi), or None where mean_phi is negative or not defined.
    all_wrong, all_wrong_rate : int, float
        Items that nobody gets right: beta.
    ceiling, ceiling_low, ceiling_high : float
        1 - beta, which no vote can pass, with Wilson's interval.
    independent_all_wrong : float
        What beta would be if errors were independent.
    fit : BetaBinomialFit or None
    warning : str or None
        Where the members are worth less than half their number.
    """

    models: tuple[str, ...]
    accuracies: tuple[float, ...]
    phi: tuple[tuple[float | None, ...], ...]
    mean_phi: float | None
    low: float | None
    high: float | None
    icc: float | None
    same_wrong: int
    pairs_wrong: int
    same_wrong_rate: float | None
    classes: float | None
    n_eff: float | None
    all_wrong: int
    all_wrong_rate: float
    ceiling: float
    ceiling_low: float
    ceiling_high: float
    independent_all_wrong: float
    fit: BetaBinomialFit | None
    warning: str | None


def error_correlation(
    matrix: ResponseMatrix,
    *,
    labels: Labels | None = None,
    scorer: Scorer | None = None,
    normalise: NormaliserName | Normaliser = "text",
    confidence: float = 0.95,
    seed: int = 0,
) -> ErrorCorrelation:
    """Measure how much models err together.

    Parameters
    ----------
    matrix : ResponseMatrix
        Of two or more models; the first sample of each cell is used.
    labels, scorer, normalise
        As in `ResponseMatrix.correct`.
    confidence : float, in (0, 1)
    seed : int
        Of the bootstrap, 2,000 resamples of items.

    Raises
    ------
    ValueError
        For fewer than two models or items, cells that were not asked, scores that are not 0 or 1.
    """
    import numpy as np

    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1), got {confidence}")
    right = matrix.correct(labels, scorer=scorer, normalise=normalise)[:, :, 0]
    n_items, n_models = right.shape
    if n_models < 2 or n_items < 2:
        raise ValueError(f"`matrix` must hold 2 models and 2 items at least, got {matrix!r}")
    if np.isnan(right).any():
        raise ValueError("`matrix` must hold every cell; take a `subset` of what was asked")
    if not np.isin(right, (0.0, 1.0)).all():
        raise ValueError("`scorer` must give right or wrong, got other scores")
    phi, mean_phi = _phi(right)
    low, high = _interval(right, confidence, seed)
    keys = matrix.keys(normalise)[:, :, 0]
    same, pairs = _same_wrong(keys, right)
    nobody = int((right.sum(axis=1) == 0).sum())
    ceiling = wilson(n_items - nobody, n_items, confidence=confidence)
    effective = None if mean_phi is None or mean_phi < 0 else n_eff(n_models, mean_phi)
    counts = right.sum(axis=1).astype(int)
    varied = 0 < right.mean() < 1
    warning = None
    if effective is not None and effective / n_models < 0.5:
        warning = f"{n_models} members are worth {effective:.2f} independent ones"
    return ErrorCorrelation(
        models=matrix.models,
        accuracies=tuple(right.mean(axis=0).tolist()),
        phi=phi,
        mean_phi=mean_phi,
        low=low,
        high=high,
        icc=_icc(right),
        same_wrong=same,
        pairs_wrong=pairs,
        same_wrong_rate=same / pairs if pairs else None,
        classes=1 + pairs / same if same else None,
        n_eff=effective,
        all_wrong=nobody,
        all_wrong_rate=nobody / n_items,
        ceiling=1 - nobody / n_items,
        ceiling_low=ceiling[0],
        ceiling_high=ceiling[1],
        independent_all_wrong=float((1 - right.mean(axis=0)).prod()),
        fit=fit_beta_binomial(counts, n_models) if varied else None,
        warning=warning,
    )


def _phi(
    right: "np.ndarray[Any, Any]",
) -> tuple[tuple[tuple[float | None, ...], ...], float | None]:
    import numpy as np

    centred = right - right.mean(axis=0)
    deviation = np.sqrt((centred**2).sum(axis=0))
    varied = deviation > 0
    safe = np.where(varied, deviation, 1.0)
    table = (centred.T @ centred) / np.outer(safe, safe)
    defined = np.outer(varied, varied)
    upper = np.triu_indices(len(table), 1)
    pairs = table[upper][defined[upper]]
    rows = tuple(
        tuple(float(v) if ok else None for v, ok in zip(row, oks, strict=True))
        for row, oks in zip(table, defined, strict=True)
    )
    return rows, float(pairs.mean()) if len(pairs) else None


def _interval(
    right: "np.ndarray[Any, Any]", confidence: float, seed: int
) -> tuple[float | None, float | None]:
    import numpy as np

    rng = np.random.default_rng(seed)
    # Equal rows are one row with a weight: resampling is a multinomial draw of weights.
    rows, times = np.unique(right, axis=0, return_counts=True)
    n = len(right)
    weights = rng.multinomial(n, times / n, size=_RESAMPLES) / n  # (resamples, rows)
    means = weights @ rows
    m = rows.shape[1]
    found = np.zeros((_RESAMPLES, m, m))
    for j in range(m):
        found[:, j, :] = weights @ (rows[:, j : j + 1] * rows)
    cov = found - means[:, :, None] * means[:, None, :]
    variance = np.einsum("bjj->bj", cov)
    upper = np.triu_indices(m, 1)
    scale = np.sqrt(np.clip(variance[:, upper[0]] * variance[:, upper[1]], 0, None))
    phis = np.divide(cov[:, upper[0], upper[1]], scale, out=np.full_like(scale, np.nan), where=scale > 1e-12)  # noqa: E501 # fmt: skip
    known = ~np.isnan(phis)
    enough = known.any(axis=1)
    if not enough.any():
        return None, None
    mean = np.where(known, phis, 0.0)[enough].sum(axis=1) / known[enough].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(mean, [tail, 1 - tail])
    return float(low), float(high)


def _icc(right: "np.ndarray[Any, Any]") -> float | None:
    """Return ICC(1) of a one-way analysis of variance, items as groups.

    References
    ----------
    .. [1] P. E. Shrout and J. L. Fleiss, Psychological Bulletin 86(2), 420-428, 1979.
    """
    n, m = right.shape
    means = right.mean(axis=1)
    between = m * float(((means - right.mean()) ** 2).sum()) / (n - 1)
    within = float(((right - means[:, None]) ** 2).sum()) / (n * (m - 1))
    whole = between + (m - 1) * within
    return (between - within) / whole if whole > 0 else None


def _same_wrong(keys: "np.ndarray[Any, Any]", right: "np.ndarray[Any, Any]") -> tuple[int, int]:
    same = pairs = 0
    for row, ok in zip(keys.tolist(), right.tolist(), strict=True):
        wrong = [key for key, good in zip(row, ok, strict=True) if not good]
        pairs += len(wrong) * (len(wrong) - 1) // 2
        counts: dict[str, int] = {}
        for key in wrong:
            if key is not None:
                counts[key] = counts.get(key, 0) + 1
        same += sum(c * (c - 1) // 2 for c in counts.values())
    return same, pairs
