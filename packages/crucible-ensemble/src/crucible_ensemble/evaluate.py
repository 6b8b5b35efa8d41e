"""What a strategy would have answered on recorded responses: the same machines as live."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from crucible_ensemble.executions import EXECUTIONS, ExecutionName
from crucible_ensemble.executions.machine import Execution
from crucible_ensemble.matrix import Labels, ResponseMatrix, Scorer, cost_of, noted
from crucible_ensemble.member import Member
from crucible_ensemble.model import Equivalence, Normaliser, Vote
from crucible_ensemble.normalise import NORMALISERS, NormaliserName
from crucible_ensemble.panel import Panel, Tie, conclude
from crucible_ensemble.prediction import Prediction, Response
from crucible_ensemble.replay import replay
from crucible_ensemble.seating import chosen, panel_of
from crucible_ensemble.spans import span
from crucible_ensemble.votes import VOTES, VoteName

if TYPE_CHECKING:
    import numpy as np

    from crucible_ensemble.prices import PriceBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A way to ask the models of a matrix.

    Attributes
    ----------
    name : str
    models : sequence of str or Member, optional
        Names in the matrix, or Members whose `model` is one; by default all.
    samples : int, optional
        By default all that the matrix holds.
    vote, execution, normalise, equivalence, tie, quorum, seed, timeout_s, deadline_s
        As in `Ensemble`; `vote="dawid_skene"` looks at all items together.
    """

    name: str
    models: Sequence[str | Member] | None = None
    vote: VoteName | Vote = "majority"
    execution: ExecutionName | Execution = "parallel"
    normalise: NormaliserName | Normaliser = "text"
    equivalence: Equivalence | None = None
    samples: int | None = None
    quorum: int | None = None
    tie: Tie = "seeded"
    seed: int = 0
    confidence: Any = None
    timeout_s: float = math.inf
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How a strategy did, item by item.

    Attributes
    ----------
    strategy : str
    n : int
    correct : array of shape (items,)
        A seeded tie counts the answer that was drawn; an abstention is 0.
    accuracy, low, high : float
        Over all items, with its 95 % interval: Wilson's, or a bootstrap over items where the
        matrix holds several samples or scores.
    coverage : float
        Share of items with an answer.
    selective_accuracy : float or None
        Accuracy among those.
    abstained : bool array of shape (items,)
    calls : array of shape (items,)
        Calls that would have been sent.
    cost_usd : array of shape (items,), or None
        nan where unknown; None if unknown everywhere.
    latency_s : array of shape (items,), or None
        None if the matrix holds no latencies.
    answers : tuple of str or None
    confidence : tuple of float or None
    items : tuple of str
    """

    strategy: str
    n: int
    correct: "np.ndarray[Any, Any]"
    accuracy: float
    low: float
    high: float
    coverage: float
    selective_accuracy: float | None
    abstained: "np.ndarray[Any, Any]"
    calls: "np.ndarray[Any, Any]"
    cost_usd: "np.ndarray[Any, Any] | None"
    latency_s: "np.ndarray[Any, Any] | None"
    answers: tuple[str | None, ...]
    confidence: tuple[float | None, ...] = field(default=())
    items: tuple[str, ...] = field(default=())

    def mean_cost_usd(self) -> float | None:
        """Return the mean cost of an item; None if any is unknown."""
        if self.cost_usd is None or bool(_isnan(self.cost_usd).any()):
            return None
        return float(self.cost_usd.mean())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping; nan becomes None."""

        def plain(values: Any) -> Any:
            if values is None:
                return None
            return [None if isinstance(v, float) and math.isnan(v) else v for v in values.tolist()]

        return {
            "strategy": self.strategy, "n": self.n, "accuracy": self.accuracy, "low": self.low,
            "high": self.high, "coverage": self.coverage,
            "selective_accuracy": self.selective_accuracy, "correct": plain(self.correct),
            "abstained": plain(self.abstained), "calls": plain(self.calls),
            "cost_usd": plain(self.cost_usd), "latency_s": plain(self.latency_s),
            "answers": list(self.answers), "confidence": list(self.confidence),
            "items": list(self.items),
        }  # fmt: skip


def evaluate(
    matrix: ResponseMatrix,
    strategies: Sequence[Strategy],
    *,
    labels: Labels | None = None,
    scorer: Scorer | None = None,
    prices: "PriceBook | None" = None,
) -> list[Evaluation]:
    """Return what each strategy would have answered, on the same responses.

    Parameters
    ----------
    matrix : ResponseMatrix
    strategies : sequence of Strategy
    labels, scorer
        As in `ResponseMatrix.correct`; a scorer is given the winning text.
    prices : PriceBook, optional
        Another price book, for the tokens that were used.

    Raises
    ------
    ValueError
        For an unknown model, a cell that was never asked, labels that are missing.
    UncalibratedError
        As live.
    """
    names = [s.name for s in strategies]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"`strategies` must have different names, got {name!r} twice")
    with span("evaluate", {"strategies": len(strategies), "cells": len(matrix)}):
        found = []
        truths: dict[Any, tuple[str | None, ...]] = {}
        for strategy in strategies:
            predictions = predictions_of(matrix, strategy, prices=prices)
            if scorer is None and strategy.normalise not in truths:
                truths[strategy.normalise] = matrix.truth(labels, strategy.normalise)
            correct = _correct(matrix, predictions, labels, scorer, truths.get(strategy.normalise))
            found.append(_evaluation(matrix, strategy, predictions, correct))
        return found


def predictions_of(
    matrix: ResponseMatrix, strategy: Strategy, *, prices: "PriceBook | None" = None
) -> list[Prediction]:
    """Return the prediction for each item that the live ensemble would have made.

    Nothing is raised for an item without a quorum: it is an abstention, as in `predict_many`.
    """
    from crucible_ensemble.many import recounted
    from crucible_ensemble.quorum import below_quorum

    panel = panel_for(matrix, strategy)
    keys = matrix.keys(strategy.normalise)
    column = {model: m for m, model in enumerate(matrix.models)}
    models = [str(panel.member(s.place).model.name) for s in panel.seats]  # type: ignore[union-attr]
    columns = [column[m] for m in models]
    found = []
    for i, item in enumerate(matrix.items):

        def recorded(place: int, i: int = i, item: str = item) -> Response:
            sample = panel.seats[place].sample
            cell = matrix.cell(item, models[place], sample)
            if cell is None:
                raise ValueError(
                    f"`models` must have been asked about every item; {models[place]!r}, sample "
                    f"{sample}, was not asked about {item!r}"
                )
            key = keys[i, columns[place], sample]
            status: Any = cell.status
            if cell.completion is not None:
                filtered = cell.completion.finish == "filtered"
                status = "filtered" if filtered else "no_answer" if key is None else "ok"
            return Response(
                member=models[place], sample=sample, status=status, key=key,
                completion=cell.completion, error=cell.error, latency_s=cell.latency_s,
                cost_usd=cost_of(cell, prices),
            )  # fmt: skip

        with noted(f"while counting votes of {strategy.name!r} for item {item}"):
            course, table = replay(panel, recorded)
            prediction = conclude(
                panel, course, table, seed=strategy.seed, item=item, shown_seed=strategy.seed
            )
        found.append(below_quorum(prediction, strategy.quorum)[0])
    return recounted(found) if strategy.vote == "dawid_skene" else found


@dataclass(frozen=True, slots=True)
class _Named:
    """Stands for a model of the matrix where only its name is needed."""

    name: str


def panel_for(matrix: ResponseMatrix, strategy: Strategy) -> Panel:
    """Return the panel of a strategy over the models of a matrix."""
    members = []
    for given in strategy.models if strategy.models is not None else matrix.models:
        member = given if isinstance(given, Member) else Member(given)
        name = member.model if isinstance(member.model, str) else member.label()
        if name not in matrix.models:
            raise ValueError(f"`models` must be in the matrix, got {name!r}")
        members.append(replace(member, model=_Named(str(name))))  # type: ignore[arg-type]
    vote = "majority" if strategy.vote == "dawid_skene" else strategy.vote
    vote_name, counted = chosen("vote", vote, VOTES)
    _, execution = chosen("execution", strategy.execution, EXECUTIONS)
    _, read = chosen("normalise", strategy.normalise, NORMALISERS)
    samples = matrix.samples if strategy.samples is None else strategy.samples
    return panel_of(
        members, weights=None, samples=samples, vote=counted, vote_name=vote_name,
        execution=execution, normalise=read, equivalence=strategy.equivalence, tie=strategy.tie,
        quorum=strategy.quorum, confidence=strategy.confidence, timeout_s=strategy.timeout_s,
        deadline_s=strategy.deadline_s,
    )  # fmt: skip


def _correct(
    matrix: ResponseMatrix,
    predictions: Sequence[Prediction],
    labels: Labels | None,
    scorer: Scorer | None,
    truth: Sequence[str | None] | None,
) -> list[float]:
    if scorer is not None:
        if labels is not None:
            raise ValueError("`scorer` must be None where labels are given")
        scores = []
        for item, p in zip(matrix.items, predictions, strict=True):
            with noted(f"while scoring item {item}"):
                scores.append(0.0 if p.text is None else float(scorer(item, p.text)))
        return scores
    assert truth is not None
    return [
        float(p.answer is not None and p.answer == key)
        for p, key in zip(predictions, truth, strict=True)
    ]


def _evaluation(
    matrix: ResponseMatrix,
    strategy: Strategy,
    predictions: Sequence[Prediction],
    right: Sequence[float],
) -> Evaluation:
    import numpy as np

    correct = np.array(right)
    abstained = np.array([p.abstained for p in predictions], dtype=bool)
    costs = np.array(
        [np.nan if p.metadata.cost_usd is None else p.metadata.cost_usd for p in predictions]
    )
    timed = any(r.latency_s is not None for p in predictions for r in p.responses)
    binary = bool(np.isin(correct, (0.0, 1.0)).all())
    if matrix.samples > 1 or not binary:
        low, high = bootstrap_mean(correct)
    else:
        low, high = wilson(int(correct.sum()), len(correct))
    answered = ~abstained
    return Evaluation(
        strategy=strategy.name,
        n=len(correct),
        correct=correct,
        accuracy=float(correct.mean()),
        low=low,
        high=high,
        coverage=float(answered.mean()),
        selective_accuracy=float(correct[answered].mean()) if answered.any() else None,
        abstained=abstained,
        calls=np.array([p.metadata.called for p in predictions]),
        cost_usd=None if np.isnan(costs).all() else costs,
        latency_s=np.array([p.metadata.latency_s for p in predictions]) if timed else None,
        answers=tuple(p.answer for p in predictions),
        confidence=tuple(p.metadata.confidence for p in predictions),
        items=matrix.items,
    )


def wilson(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share.

    Raises
    ------
    ValueError
        For 0 trials.

    References
    ----------
    .. [1] E. B. Wilson, JASA 22(158), 209-212, 1927.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"`successes` must be in [0, trials], got {successes} of {trials}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, slack = successes / trials, z * z / trials
    centre = (share + slack / 2) / (1 + slack)
    half = z * math.sqrt(share * (1 - share) / trials + slack / trials / 4) / (1 + slack)
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_mean(
    values: Any, *, confidence: float = 0.95, seed: int = 0, resamples: int = 2000
) -> tuple[float, float]:
    """Return the percentile interval of a mean over items."""
    import numpy as np

    rng = np.random.default_rng(seed)
    # Resampling items is drawing how often each distinct value occurs.
    distinct, times = np.unique(np.asarray(values, dtype=float), return_counts=True)
    n = int(times.sum())
    means = rng.multinomial(n, times / n, size=resamples) @ distinct / n
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def pareto(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Return the strategies that no other beats in both accuracy and mean cost, cheapest first.

    Raises
    ------
    ValueError
        If a cost is unknown: the front would depend on it.
    """
    costs: Mapping[str, float | None] = {e.strategy: e.mean_cost_usd() for e in evaluations}
    for name, cost in costs.items():
        if cost is None:
            raise ValueError(f"`evaluations` must have known costs, got None for {name!r}")
    ranked = sorted(evaluations, key=lambda e: (costs[e.strategy], -e.accuracy, e.strategy))
    front: list[Evaluation] = []
    for e in ranked:
        if not front or e.accuracy > front[-1].accuracy:
            front.append(e)
    return front


def _isnan(values: Any) -> Any:
    import numpy as np

    return np.isnan(values)
