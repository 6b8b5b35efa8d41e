"""Predictions against references: exact match, with an interval and what is missing."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from crucible_datasets.extraction import extract, is_right
from crucible_datasets.items import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """Accuracy of predictions; a missing or unreadable one counts as wrong."""

    dataset: str
    n_items: int
    n_missing: int
    n_unextracted: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    scores: Mapping[str, float]


def evaluate(
    predictions: Mapping[str, str], dataset: Dataset, *, confidence: float = 0.95
) -> EvaluationResult:
    """Score one text per item by exact match of the extracted answers.

    Parameters
    ----------
    predictions : mapping of item id to text
        Items without a prediction count as wrong and are reported.
    confidence : float, in (0, 1)
        Of the Wilson interval.

    Raises
    ------
    ValueError
        If the data set is empty, or a prediction names an unknown item.

    References
    ----------
    .. [1] E. B. Wilson, JASA 22(158), 209-212, 1927.
    """
    if not len(dataset):
        raise ValueError("`dataset` must not be empty")
    unknown = [key for key in predictions if key not in set(dataset.ids)]
    if unknown:
        raise ValueError(f"`predictions` must name items of the data set, got {unknown[0]!r}")
    scores: dict[str, float] = {}
    unextracted = 0
    for item in dataset:
        text = predictions.get(item.id)
        value = None if text is None else extract(text, task=dataset.task).value
        unextracted += text is not None and value is None
        scores[item.id] = float(is_right(value, item.expected, task=dataset.task))
    n = len(dataset)
    return EvaluationResult(
        dataset=dataset.name,
        n_items=n,
        n_missing=n - len(predictions),
        n_unextracted=unextracted,
        accuracy=math.fsum(scores.values()) / n,
        accuracy_interval=_wilson(int(sum(scores.values())), n, confidence),
        scores=scores,
    )


def _wilson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    p = successes / trials
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (p * (1 - p) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    low = 0.0 if successes == 0 else centre - half
    return low, 1.0 if successes == trials else centre + half
