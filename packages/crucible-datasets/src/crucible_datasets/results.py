"""What was predicted, run and scored: records that can be stored and shown."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["item", "corpus"]
Outcome = Literal["passed", "failed", "timeout", "memory", "error", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model said about one item.

    Parameters
    ----------
    output : str, optional
        The text; None where there is none, such as after an error.
    sample : int, >= 0
        Which of several answers to the same item this is.
    error : str, optional
        Why there is no answer; such a prediction counts as wrong.
    label : str, optional
        The answer itself, where it need not be read out of the output.
    evidence : JSON value, optional
        FEVER: [[page, line], ...] in rank order. SciFact: {doc: {"label", "sentences"}}.
    """

    item_id: str
    output: str | None
    sample: int = 0
    error: str | None = None
    label: str | None = None
    evidence: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        output: object = self.output  # callers need not have checked their types
        sample: object = self.sample
        if output is not None and not isinstance(output, str):
            raise ValueError(f"`output` must be a text or None, got {self.output!r}")
        if isinstance(sample, bool) or not isinstance(sample, int) or sample < 0:
            raise ValueError(f"`sample` must be an integer >= 0, got {self.sample!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"schema": "crucible.datasets.prediction/1", **row, "metadata": dict(self.metadata)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What came of running one program.

    Parameters
    ----------
    outcome : str
        "refused" = there was nothing to run; "error" = the sandbox itself failed.
    isolation : tuple of str
        Which walls held while it ran.
    """

    item_id: str
    sample: int
    outcome: Outcome
    duration_s: float
    stderr_tail: str = ""
    isolation: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"schema": "crucible.datasets.execution/1", **row, "isolation": list(self.isolation)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """One number, with what it counts.

    Parameters
    ----------
    value : float, optional
        None = undefined, with `reason`.
    n : int
        Items (level "item") or answers (level "corpus") that it was computed over.
    interval : (low, high), optional
        Of the mean over items; None where there is none for this metric.
    interval_method : str, optional
        "wilson" for 0/1 scores with one answer per item, "clustered" for means over items.
    signature : str, optional
        What makes the number comparable elsewhere, such as sacrebleu's.
    """

    value: float | None
    n: int
    level: Level
    unit: Literal["share", "0-100"]
    interval: tuple[float, float] | None = None
    interval_method: Literal["wilson", "clustered"] | None = None
    signature: str | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**row, "interval": None if self.interval is None else list(self.interval)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """One answer and its scores. `method` says how it was read, "missing" or "error"."""

    item_id: str
    sample: int
    output: str | None
    extracted: str | None
    method: str
    scores: Mapping[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**row, "scores": dict(self.scores)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """Scores of one model's predictions; missing and unreadable answers are counted.

    Parameters
    ----------
    n_unextracted, n_ambiguous : int
        Answers in which nothing, or more than one thing, was found; they count as wrong.
    coverage : float, in [0, 1]
        Share of items with at least one prediction that is not an error.
    accuracy : float, optional
        Share of right answers: item means first, then their mean. For code, of passed programs.
    accuracy_interval : (low, high), optional
        Wilson, if there is one answer per item; else None with `accuracy_reason`, and the clustered
        interval stands beside the metric.
    """

    dataset: str
    split: str | None
    fingerprint: str
    model: str | None
    n_items: int
    n_predictions: int
    n_missing: int
    n_failed: int
    n_unextracted: int
    n_ambiguous: int
    coverage: float
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    accuracy_reason: str | None = None
    metrics: Mapping[str, MetricValue]
    items: tuple[ItemResult, ...]
    labels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    duration_s: float

    def scores(self, metric: str = "exact_match") -> dict[str, float]:
        """Return one score per item, in the order of the data set: what a paired test compares.

        Raises
        ------
        ValueError
            If the metric has no scores of single items.
        """
        found: defaultdict[str, list[float]] = defaultdict(list)
        for item in self.items:
            value = item.scores.get(metric)
            if value is not None:
                found[item.item_id].append(value)
        if not found:
            have = sorted({name for item in self.items for name in item.scores})
            raise ValueError(f"`metric` must be one of {', '.join(have)}, got {metric!r}")
        return {id: math.fsum(values) / len(values) for id, values in found.items()}

    def by(self, field: str, *, metric: str = "exact_match") -> dict[str, tuple[float, int]]:
        """Return mean score and number of items for each value of a metadata field.

        Raises
        ------
        ValueError
            If items lack the field.
        """
        scores = self.scores(metric)
        groups: defaultdict[str, list[float]] = defaultdict(list)
        lacking = sum(field not in self.labels.get(id, {}) for id in scores)
        if lacking:
            raise ValueError(
                f"`field` must be in the metadata of every item, got {field!r}, "
                f"which {lacking} of {len(scores)} items lack"
            )
        for id, score in scores.items():
            groups[str(self.labels[id][field])].append(score)
        return {name: (math.fsum(groups[name]) / len(groups[name]), len(groups[name]))
                for name in sorted(groups)}  # fmt: skip

    def markdown(self) -> str:
        """Return a table of the metrics and of what was counted."""
        from crucible_datasets import rendering

        return rendering.markdown(self)

    def csv(self, *, raw: bool = False) -> str:
        """Return one line per answer.

        Parameters
        ----------
        raw : bool
            If False, cells that a spreadsheet would run as a formula start with an apostrophe.
        """
        from crucible_datasets import rendering

        return rendering.csv_text(self, raw=raw)

    def jsonl(self) -> str:
        """Return one JSON object per answer."""
        from crucible_datasets import rendering

        return rendering.jsonl(self)

    def html(self) -> str:
        """Return a page that loads nothing and in which model output is only text."""
        from crucible_datasets import rendering

        return rendering.html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("metrics", "items", "labels", "accuracy_interval")
        }
        interval = self.accuracy_interval
        return {
            "schema": "crucible.datasets.evaluation/1", **row,
            "accuracy_interval": None if interval is None else list(interval),
            "metrics": {name: value.to_dict() for name, value in self.metrics.items()},
            "items": [item.to_dict() for item in self.items],
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """Results of several models on the same items."""

    results: tuple[EvaluationResult, ...]

    def table(self) -> str:
        """Return a Markdown table, one line per model."""
        from crucible_datasets import rendering

        return rendering.comparison(self.results)

    def matrix(
        self, metric: str = "exact_match"
    ) -> tuple[list[str], list[str], list[list[float | None]]]:
        """Return models, item ids, and one row of item scores per model; None = no score."""
        scores = [result.scores(metric) for result in self.results]
        ids = list(dict.fromkeys(id for row in scores for id in row))
        rows = [[row.get(id) for id in ids] for row in scores]
        return [str(result.model) for result in self.results], ids, rows

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {"schema": "crucible.datasets.batch/1",
                "results": [result.to_dict() for result in self.results]}  # fmt: skip


__all__: Sequence[str] = [
    "BatchResult", "EvaluationResult", "Execution", "ItemResult", "MetricValue", "Prediction",
]  # fmt: skip
