"""How much the models of a run err together, and what the best of them is worth."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from crucible_harness.recorded import RecordedRun

_FEWEST_ITEMS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The models that answered, taken together; on the first answer of each to each item.

    Attributes
    ----------
    models : tuple of str
    accuracies : tuple of float
    items : int
    phi, phi_low, phi_high : float or None
        Mean correlation of errors over pairs of models, with a 95 % bootstrap interval.
    correlations : tuple of tuples of float or None
        Of each pair of models, in their order; None where a model never varies.
    n_eff : float or None
        Number of independent models that this many are worth; None where errors do not correlate.
    all_wrong : float
        Share of items that nobody gets right.
    ceiling, ceiling_low, ceiling_high : float
        What no vote can pass: 1 - all_wrong, with Wilson's interval.
    best, best_naive : str, float
        The model that looks best on these items, and its accuracy on them.
    best_accuracy, best_low, best_high : float
        Accuracy to expect of the model chosen as best, judged on items that did not choose it.
    """

    models: tuple[str, ...]
    accuracies: tuple[float, ...]
    items: int
    phi: float | None
    phi_low: float | None
    phi_high: float | None
    correlations: tuple[tuple[float | None, ...], ...]
    n_eff: float | None
    all_wrong: float
    ceiling: float
    ceiling_low: float
    ceiling_high: float
    best: str
    best_naive: float
    best_accuracy: float
    best_low: float
    best_high: float


def panel(run: RecordedRun) -> Panel | None:
    """Compare the leaf models of a run; None unless two or more answered the same ten items.

    Only where answers are right or wrong, that is where accuracy is measured.
    """
    if run.imported is not None or not any(m.name == "accuracy" for m in run.metrics):
        return None
    from crucible_datasets import extract
    from crucible_datasets.metrics.exact import is_right
    from crucible_harness.responses import response_matrix

    matrix = response_matrix(run.path)
    if len(matrix.models) < 2:
        return None
    whole = [
        item
        for item in matrix.items
        if all(matrix.cell(item, model) is not None for model in matrix.models)
    ]
    if len(whole) < _FEWEST_ITEMS:
        return None
    from crucible_ensemble.ablation import best_single
    from crucible_ensemble.correlation import error_correlation

    dataset: Any = run.design["dataset"]
    task, items = dataset["task"], {item.id: item for item in run.items}

    @cache  # each answer is read for each pair of models
    def value_in(text: str, choices: tuple[str, ...] | None) -> Any:
        return extract(text, task=task, choices=choices).value

    def read(text: str) -> str | None:
        value = value_in(text, None)
        return None if value is None else str(value)

    def right(item: str, text: str) -> bool:
        asked = items[item]
        choices = None if asked.choices is None else tuple(asked.choices)
        return is_right(value_in(text, choices), asked.expected, task=task)

    first = matrix.subset(items=[item for item in whole if item in items])
    seed = int(str(run.design["seed"]))
    found = error_correlation(first, scorer=right, normalise=read, seed=seed)
    best = best_single(_first_samples(first), scorer=right, seed=seed)
    return Panel(
        models=found.models,
        accuracies=found.accuracies,
        items=len(first.items),
        phi=found.mean_phi,
        phi_low=found.low,
        phi_high=found.high,
        correlations=found.phi,
        n_eff=found.n_eff,
        all_wrong=found.all_wrong_rate,
        ceiling=found.ceiling,
        ceiling_low=found.ceiling_low,
        ceiling_high=found.ceiling_high,
        best=best.model,
        best_naive=best.naive,
        best_accuracy=best.accuracy,
        best_low=best.low,
        best_high=best.high,
    )


def _first_samples(matrix: Any) -> Any:
    from crucible_ensemble.matrix import ResponseMatrix

    return ResponseMatrix([cell for cell in matrix if cell.sample == 0], items=matrix.items)
