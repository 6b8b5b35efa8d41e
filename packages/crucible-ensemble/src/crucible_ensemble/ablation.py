"""Which members earn their place: every subset, the Shapley value, the best single model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from crucible_ensemble.evaluate import bootstrap_mean
from crucible_ensemble.matrix import Labels, ResponseMatrix, Scorer
from crucible_ensemble.model import Normaliser, Vote
from crucible_ensemble.normalise import NormaliserName
from crucible_ensemble.panel import drawn
from crucible_ensemble.prediction import Ballot
from crucible_ensemble.seating import chosen
from crucible_ensemble.votes import VOTES, VoteName

if TYPE_CHECKING:
    import numpy as np

_MOST_MODELS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetResult:
    """A vote among some of the models.

    `accuracy` counts the answer that a seeded tie drew, `expected_accuracy` its chance of being
    right; cost and latency are means per item of asking all in parallel, None where unknown.
    """

    models: tuple[str, ...]
    accuracy: float
    expected_accuracy: float
    cost_usd: float | None
    latency_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeResult:
    """The mean over all subsets of one size, with a 95 % bootstrap interval over items."""

    size: int
    subsets: int
    accuracy: float
    low: float
    high: float
    best: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """Every subset and every size."""

    subsets: tuple[SubsetResult, ...]
    sizes: tuple[SizeResult, ...]

    def of(self, *models: str) -> SubsetResult:
        """Return the result of one subset."""
        return next(s for s in self.subsets if set(s.models) == set(models))


def ablation(
    matrix: ResponseMatrix,
    *,
    labels: Labels | None = None,
    normalise: NormaliserName | Normaliser = "text",
    vote: VoteName | Vote = "majority",
    weights: Mapping[str, float] | None = None,
    sizes: Sequence[int] | None = None,
    seed: int = 0,
) -> Ablation:
    """Evaluate a vote on every subset of the models, exactly.

    Parameters
    ----------
    matrix : ResponseMatrix
        Of at most 16 models.
    labels, normalise
        As in `ResponseMatrix.correct`.
    vote : name or Vote
        "majority" and "weighted_majority" are computed for all items at once; any other vote is
        called for every item and subset.
    weights : mapping of model to weight, optional
    sizes : sequence of int, optional
        By default all.
    seed : int
        Of ties and of the bootstrap.

    Raises
    ------
    ValueError
        For too many models, sizes or weights that do not fit, labels that are missing.
    """
    board = _Board(matrix, labels, normalise, vote, weights, seed)
    n_models = len(matrix.models)
    wanted = range(1, n_models + 1) if sizes is None else sorted(set(sizes))
    if not all(1 <= size <= n_models for size in wanted):
        raise ValueError(f"`sizes` must be in [1, {n_models}], got {list(wanted)}")
    costs = matrix.costs().sum(axis=2)
    latencies = matrix.latencies().max(axis=2)
    results, by_size = [], []
    for size in wanted:
        total: Any = 0.0
        best: tuple[str, ...] = ()
        best_accuracy, n = -1.0, 0
        for members in combinations(range(n_models), size):
            right, expected = board.vote(members)
            cost = float(costs[:, members].sum(axis=1).mean())
            latency = float(latencies[:, members].max(axis=1).mean())
            names = tuple(matrix.models[m] for m in members)
            found = SubsetResult(
                models=names, accuracy=float(right.mean()),
                expected_accuracy=float(expected.mean()),
                cost_usd=None if math.isnan(cost) else cost,
                latency_s=None if math.isnan(latency) else latency,
            )  # fmt: skip
            results.append(found)
            total, n = total + expected, n + 1
            if found.expected_accuracy > best_accuracy:
                best, best_accuracy = names, found.expected_accuracy
        mean: Any = total / n
        low, high = bootstrap_mean(mean, seed=seed)
        by_size.append(
            SizeResult(
                size=size, subsets=n, accuracy=float(mean.mean()), low=low, high=high, best=best
            )
        )
    return Ablation(subsets=tuple(results), sizes=tuple(by_size))


class _Board:
    """Votes of a matrix in numbers: one column per answer of an item."""

    def __init__(
        self,
        matrix: ResponseMatrix,
        labels: Labels | None,
        normalise: Any,
        vote: Any,
        weights: Mapping[str, float] | None,
        seed: int,
    ) -> None:
        import numpy as np

        if len(matrix.models) > _MOST_MODELS:
            raise ValueError(f"`matrix` must hold at most {_MOST_MODELS} models, got {len(matrix.models)}")  # noqa: E501 # fmt: skip
        name, self._vote = chosen("vote", vote, VOTES)
        weights = dict(weights or {})
        for model in weights:
            if model not in matrix.models:
                raise ValueError(f"`weights` must name models of the matrix, got {model!r}")
        self._weights = [weights.get(m, 1.0) for m in matrix.models]
        self._items, self._models, self._seed = matrix.items, matrix.models, seed
        self._keys = matrix.keys(normalise).tolist()
        self._truth = matrix.truth(labels, normalise)
        self._samples = matrix.samples
        self._cells = [[[matrix.cell(i, m, s) is not None for s in range(matrix.samples)] for m in matrix.models] for i in matrix.items]  # noqa: E501 # fmt: skip
        self._drawn: dict[tuple[int, tuple[str, ...]], str] = {}
        self._fast = name in ("majority", "weighted_majority") and self._vote == VOTES[name]
        if name == "majority":
            self._weights = [1.0] * len(matrix.models)
        self._names: list[list[str]] = []
        self._right = np.full(len(self._items), -1)
        most = 1
        rows = []
        for i, row in enumerate(self._keys):
            names = sorted({k for samples in row for k in samples if k is not None})
            self._names.append(names)
            most = max(most, len(names))
            if self._truth[i] in names:
                self._right[i] = names.index(self._truth[i])
            rows.append([[names.index(k) if k is not None else -1 for k in s] for s in row])
        coded = np.array(rows)  # (items, models, samples)
        self._counts = np.zeros((len(self._models), len(self._items), most))
        for k in range(most):
            share = (coded == k).sum(axis=2).T * np.array(self._weights)[:, None] / self._samples
            self._counts[:, :, k] = share

    def vote(self, members: Sequence[int]) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
        """Return for each item whether the drawn answer is right, and the chance that it is."""
        found: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
        found = self._all_at_once(members) if self._fast else self._one_by_one(members)
        return found

    def _all_at_once(self, members: Sequence[int]) -> Any:
        import numpy as np

        scores = self._counts[list(members)].sum(axis=0)  # (items, answers)
        best = scores.max(axis=1)
        lead = (scores >= best[:, None] - 1e-12) & (best[:, None] > 0)
        n_lead = lead.sum(axis=1)
        known = self._right >= 0
        safe = np.where(known, self._right, 0)
        among = lead[np.arange(len(lead)), safe] & known
        expected = np.where(among, 1.0 / np.maximum(n_lead, 1), 0.0)
        right = expected.copy()
        for i in np.flatnonzero(among & (n_lead > 1)).tolist():
            tied = tuple(self._names[i][k] for k in np.flatnonzero(lead[i]))
            right[i] = float(self._draw(i, tied) == self._truth[i])
        return right, expected

    def _one_by_one(self, members: Sequence[int]) -> Any:
        import numpy as np

        right, expected = np.zeros(len(self._items)), np.zeros(len(self._items))
        for i in range(len(self._items)):
            found = self._vote(self.ballots(i, members))
            if found.tied:
                right[i] = float(self._draw(i, found.tied) == self._truth[i])
                expected[i] = float(self._truth[i] in found.tied) / len(found.tied)
            else:
                right[i] = expected[i] = float(found.winner is not None and found.winner == self._truth[i])  # noqa: E501 # fmt: skip
        return right, expected

    def ballots(self, i: int, members: Sequence[int]) -> list[Ballot]:
        """Return the ballots of some models on an item."""
        return [
            Ballot(
                member=self._models[m], sample=s, key=self._keys[i][m][s],
                weight=self._weights[m] / self._samples,
            )
            for m in members
            for s in range(self._samples)
        ]  # fmt: skip

    def _draw(self, i: int, tied: tuple[str, ...]) -> str:
        place = i, tied
        if place not in self._drawn:
            self._drawn[place] = drawn(tied, self._seed, self._items[i])
        return self._drawn[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapley:
    """What each model adds to the vote; the values add up to the accuracy of all.

    `standard_errors` is None where every subset was computed.
    """

    values: Mapping[str, float]
    total: float
    standard_errors: Mapping[str, float] | None


def shapley(
    matrix: ResponseMatrix,
    *,
    labels: Labels | None = None,
    normalise: NormaliserName | Normaliser = "text",
    vote: VoteName | Vote = "majority",
    exact_up_to: int = 12,
    permutations: int = 2000,
    seed: int = 0,
) -> Shapley:
    """Return the Shapley value of each model in the expected accuracy of a vote.

    Parameters
    ----------
    matrix, labels, normalise, vote
        As in `ablation`; the empty vote is never right.
    exact_up_to : int
        With more models, `permutations` random orders are averaged.

    References
    ----------
    .. [1] L. S. Shapley, Contributions to the Theory of Games II, 307-317, 1953.
    """
    import numpy as np

    board = _Board(matrix, labels, normalise, vote, None, seed)
    n = len(matrix.models)
    values: dict[frozenset[int], float] = {frozenset(): 0.0}

    def value(members: frozenset[int]) -> float:
        if members not in values:
            values[members] = float(board.vote(sorted(members))[1].mean())
        return values[members]

    everybody = value(frozenset(range(n)))
    if n <= exact_up_to:
        found = []
        for m in range(n):
            others, gain = [o for o in range(n) if o != m], 0.0
            for size in range(n):
                weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
                for subset in combinations(others, size):
                    before = frozenset(subset)
                    gain += weight * (value(before | {m}) - value(before))
            found.append(gain)
        named = dict(zip(matrix.models, found, strict=True))
        return Shapley(values=named, total=everybody, standard_errors=None)
    if permutations < 2:
        raise ValueError(f"`permutations` must be >= 2, got {permutations}")
    rng = np.random.default_rng(seed)
    gains = np.zeros((permutations, n))
    for row in gains:
        so_far: frozenset[int] = frozenset()
        for m in rng.permutation(n).tolist():
            row[m] = value(so_far | {m}) - value(so_far)
            so_far |= {m}
    errors = gains.std(axis=0, ddof=1) / math.sqrt(permutations)
    return Shapley(
        values=dict(zip(matrix.models, gains.mean(axis=0).tolist(), strict=True)),
        total=everybody,
        standard_errors=dict(zip(matrix.models, errors.tolist(), strict=True)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BestSingle:
    """The best model of several, without the luck of having been chosen.

    `naive` is the accuracy of the model that looks best, on the items that made it look so;
    `accuracy` that of the model chosen on other items; `chosen` names the choice of each fold.
    """

    model: str
    naive: float
    accuracy: float
    low: float
    high: float
    chosen: tuple[str, ...]


def best_single(
    matrix: ResponseMatrix,
    *,
    labels: Labels | None = None,
    scorer: Scorer | None = None,
    normalise: NormaliserName | Normaliser = "text",
    folds: int = 5,
    seed: int = 0,
) -> BestSingle:
    """Return the accuracy to expect from choosing the best single model.

    Parameters
    ----------
    matrix, labels, scorer, normalise
        As in `ResponseMatrix.correct`; samples are averaged.
    folds : int, in [2, items]
        Each fold is judged by the model that is best on the others.

    Raises
    ------
    ValueError
        If there are fewer items than folds, or cells that were not asked.
    """
    import numpy as np

    right = matrix.correct(labels, scorer=scorer, normalise=normalise).mean(axis=2)
    if np.isnan(right).any():
        raise ValueError("`matrix` must hold every cell; take a `subset` of what was asked")
    n = len(right)
    if not 2 <= folds <= n:
        raise ValueError(f"`folds` must be in [2, {n}], got {folds}")
    fold = np.random.default_rng(seed).permutation(n) % folds
    judged = np.zeros(n)
    choices = []
    for k in range(folds):
        inside = fold == k
        best = int(right[~inside].mean(axis=0).argmax())
        choices.append(matrix.models[best])
        judged[inside] = right[inside, best]
    means = right.mean(axis=0)
    low, high = bootstrap_mean(judged, seed=seed)
    return BestSingle(
        model=matrix.models[int(means.argmax())], naive=float(means.max()),
        accuracy=float(judged.mean()), low=low, high=high, chosen=tuple(choices),
    )  # fmt: skip
