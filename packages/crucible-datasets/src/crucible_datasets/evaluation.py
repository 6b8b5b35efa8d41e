"""Predictions against references: every metric, with an interval and what is missing."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from crucible_datasets.errors import ExecutionRequiredError, PredictionError
from crucible_datasets.extraction import Extraction, extract
from crucible_datasets.intervals import clustered, wilson
from crucible_datasets.items import Dataset, Item
from crucible_datasets.metrics import exact
from crucible_datasets.metrics.execution import pass_at_k, passed
from crucible_datasets.metrics.metric import Answer, Corpus, Measure, Metric
from crucible_datasets.metrics.named import check_name, k_of, named
from crucible_datasets.results import (
    BatchResult,
    EvaluationResult,
    Execution,
    ItemResult,
    MetricValue,
    Prediction,
)
from crucible_datasets.tracing import span

Predictions = Iterable[Prediction | Mapping[str, Any]] | Mapping[str, str]
How = Literal["task", "none"] | Callable[[str], Any]
Missing = Literal["wrong", "error", "skip"]


def evaluate(
    predictions: Predictions,
    dataset: Dataset,
    *,
    metrics: Sequence[str | Metric] | None = None,
    model: str | None = None,
    extraction: How = "task",
    missing: Missing = "wrong",
    executions: Sequence[Execution] | None = None,
    confidence: float = 0.95,
) -> EvaluationResult:
    """Score predictions by the metrics of the benchmark's authors.

    Parameters
    ----------
    predictions : mapping of item id to text, or iterable of `Prediction` or mappings of its fields
        Several answers to one item carry different `sample` numbers: item means are formed first.
    metrics : sequence of names or callables, optional
        By default those of the benchmark; "exact_match" for data of your own, "pass@1" for code.
    extraction : {"task", "none"} or callable
        How the answer is read out of the text; "none" takes the whole text as the answer. A
        callable returns the answer, an `Extraction`, or None.
    missing : {"wrong", "error", "skip"}
        What becomes of items without a prediction: wrong (a score of 0), an error, or left out.
    executions : sequence of Execution, optional
        What `run_code` returned, for "pass@k".
    confidence : float, in (0, 1)

    Raises
    ------
    PredictionError
        If a prediction names an unknown item or repeats a sample, or `missing` is "error".
    ExecutionRequiredError
        If "pass@k" is asked for without executions.
    ValueError
        If a metric or another argument is unknown, the data set is empty, or an item has fewer
        executions than k.

    Notes
    -----
    A prediction with an error counts as wrong. Corpus metrics (BLEU, macro F1, the claim scores)
    are computed over all answers. Shares of right answers have Wilson's interval where every item
    has one answer; other means over items have the clustered one, whose unit is the item.
    """
    started = time.perf_counter()
    if not len(dataset):
        raise ValueError("`dataset` must not be empty")
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1), got {confidence}")
    if missing not in ("wrong", "error", "skip"):
        raise ValueError(f"`missing` must be one of wrong, error, skip, got {missing!r}")
    if extraction not in ("task", "none") and not callable(extraction):
        raise ValueError(f"`extraction` must be 'task', 'none' or callable, got {extraction!r}")
    with span("evaluate") as here:
        measures, ks = _measures(metrics, dataset, executions)
        given_by_item = by_item(predictions, dataset, missing)
        answers = [
            _answer(item, prediction, dataset, extraction)
            for item in dataset
            for prediction in given_by_item.get(item.id) or _placeholder(item, missing)
        ]
        scores = _item_scores(measures, answers)
        values = _values(measures, answers, scores, confidence)
        if executions is not None:
            values |= _pass_values(ks, answers, scores, executions, dataset, confidence)
        accuracy, interval, reason = _accuracy(dataset, answers, executions, confidence)
        read = [a for a in answers if a.prediction.error is None and a.prediction.label is None]
        given = [p for several in given_by_item.values() for p in several]
        covered = {p.item_id for p in given if p.error is None}
        result = EvaluationResult(
            dataset=dataset.name,
            split=dataset.split,
            fingerprint=dataset.fingerprint(),
            model=model,
            n_items=len(dataset),
            n_predictions=len(given),
            n_missing=len(dataset) - len(given_by_item),
            n_failed=sum(p.error is not None for p in given),
            n_unextracted=sum(a.extraction.value is None for a in read),
            n_ambiguous=sum(a.extraction.ambiguous for a in read),
            coverage=len(covered) / len(dataset),
            accuracy=accuracy,
            accuracy_interval=interval,
            accuracy_reason=reason,
            metrics=values,
            items=tuple(_item_result(a, s) for a, s in zip(answers, scores, strict=True)),
            labels={item.id: item.metadata for item in dataset},
            duration_s=time.perf_counter() - started,
        )
        here.set(
            n_items=result.n_items,
            n_missing=result.n_missing,
            n_unextracted=result.n_unextracted,
            **{f"metric.{name}": value.value for name, value in values.items()},
        )
    return result


def evaluate_batch(
    predictions: Mapping[str, Predictions],
    dataset: Dataset,
    *,
    metrics: Sequence[str | Metric] | None = None,
    extraction: How = "task",
    missing: Missing = "wrong",
    executions: Mapping[str, Sequence[Execution]] | None = None,
    confidence: float = 0.95,
) -> BatchResult:
    """Score several models on the same items.

    Parameters
    ----------
    predictions : mapping of model name to predictions
    executions : mapping of model name to executions, optional

    Raises
    ------
    ValueError
        If there is no model, or executions name a model without predictions.
    """
    if not predictions:
        raise ValueError("`predictions` must name at least one model, got none")
    strangers = sorted(set(executions or ()) - set(predictions))
    if strangers:
        raise ValueError(f"`executions` must name models with predictions, got {strangers[0]!r}")
    return BatchResult(
        results=tuple(
            evaluate(
                theirs, dataset, metrics=metrics, model=name, extraction=extraction,
                missing=missing, executions=(executions or {}).get(name), confidence=confidence,
            )
            for name, theirs in predictions.items()
        )
    )  # fmt: skip


class _MissingPrediction(Prediction):
    """Stands for an item that nobody answered."""

    __slots__ = ()


def _placeholder(item: Item, missing: Missing) -> list[Prediction]:
    if missing == "skip":
        return []
    return [_MissingPrediction(item_id=item.id, output=None, error="missing")]


def _measures(
    metrics: Sequence[str | Metric] | None,
    dataset: Dataset,
    executions: Sequence[Execution] | None,
) -> tuple[list[Measure], list[int]]:
    """Return the metrics to compute, and the k of each pass@k; refuses before any work."""
    if isinstance(metrics, str):
        raise ValueError(f"`metrics` must be a sequence of names, got the text {metrics!r}")
    if metrics is None:
        metrics = _default_metrics(dataset)
    measures: list[Measure] = []
    ks: list[int] = []
    for metric in metrics:
        if isinstance(metric, str):
            check_name(metric)
    for metric in metrics:
        if not isinstance(metric, str):
            measures.append(_own(metric))
        elif (k := k_of(metric)) is not None:
            if executions is None:
                raise ExecutionRequiredError(metric)
            ks.append(k)
        else:
            measures.append(named(metric))
    names = [*(m.name for m in measures), *(f"pass@{k}" for k in ks)]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"`metrics` must have different names, got {sorted(twice)[0]!r} twice")
    return measures, ks


def _default_metrics(dataset: Dataset) -> Sequence[str]:
    from crucible_datasets.cards import DEFAULT_REGISTRY

    known = DEFAULT_REGISTRY.get(dataset.name.removesuffix(" (unverified)"))
    if known is not None:
        return known[0].default_metrics
    return ("pass@1",) if dataset.task == "code" else ("exact_match",)


def _own(metric: Metric) -> Measure:
    name = getattr(metric, "__name__", type(metric).__name__)
    return Measure(name=name, item=lambda answer: metric(answer.prediction, answer.item))


def by_item(
    predictions: Predictions, dataset: Dataset, missing: Missing
) -> dict[str, list[Prediction]]:
    """Return the predictions of each item, by sample; refuses what does not fit together."""
    given: Iterable[Any] = predictions
    if isinstance(predictions, Mapping):
        given = [{"item_id": id, "output": text} for id, text in predictions.items()]
    found: defaultdict[str, dict[int, Prediction]] = defaultdict(dict)
    known, unknown, twice = set(dataset.ids), [], []
    for one in given:
        if isinstance(one, Mapping):
            row = {key: value for key, value in one.items() if key != "schema"}
            try:
                one = Prediction(**row)
            except TypeError as error:
                raise ValueError(
                    f"`predictions` must have the fields of Prediction, got {sorted(row)}"
                ) from error
        elif not isinstance(one, Prediction):
            raise ValueError(f"`predictions` must be Prediction or mappings, got {one!r}")
        if one.item_id not in known:
            unknown.append(str(one.item_id))
        elif one.sample in found[one.item_id]:
            twice.append(f"{one.item_id} (sample {one.sample})")
        else:
            found[one.item_id][one.sample] = one
    if unknown:
        raise PredictionError(f"{len(unknown)} predictions for unknown items", unknown)
    if twice:
        raise PredictionError(f"{len(twice)} samples predicted twice", twice)
    if missing == "error" and len(found) < len(dataset):
        lacking = [id for id in dataset.ids if id not in found]
        raise PredictionError(f"{len(lacking)} items without a prediction", lacking)
    return {id: [samples[n] for n in sorted(samples)] for id, samples in found.items()}


def _answer(item: Item, prediction: Prediction, dataset: Dataset, how: How) -> Answer:
    found = Extraction(value=None, method="missing")
    if prediction.error is None and prediction.output is not None:
        found = _read(prediction.output, item, dataset, how)
    elif not isinstance(prediction, _MissingPrediction):
        found = Extraction(value=None, method="error" if prediction.error else "none")
    return Answer(item=item, prediction=prediction, extraction=found, task=dataset.task)


def _read(text: str, item: Item, dataset: Dataset, how: How) -> Extraction:
    if how == "task":
        return extract(text, task=dataset.task, choices=item.choices)
    value: Any = text
    if callable(how):
        value = how(text)
        if isinstance(value, Extraction):
            return value
    if value is not None and dataset.task == "math":
        value = exact.number_of(value)
    elif value is not None and dataset.task == "multiple_choice":
        value = exact.choice_of(value)
    elif value is not None and dataset.task == "claim":
        value = exact.claim_label(value)
    elif value is not None and dataset.task == "boolean":
        value = exact.truth_of(value)
    return Extraction(value=value, method="none" if value is None else "as given")


def _item_scores(
    measures: Sequence[Measure], answers: Sequence[Answer]
) -> list[dict[str, float | None]]:
    rows = []
    for answer in answers:
        row: dict[str, float | None] = {}
        for measure in measures:
            if measure.item is None:
                continue
            if answer.prediction.error is not None:  # nothing was said: wrong, whatever the metric
                row[measure.name] = None if answer.item.expected is None else 0.0
            else:
                row[measure.name] = measure.item(answer)
        rows.append(row)
    return rows


def _values(
    measures: Sequence[Measure],
    answers: Sequence[Answer],
    scores: Sequence[Mapping[str, float | None]],
    confidence: float,
) -> dict[str, MetricValue]:
    values: dict[str, MetricValue] = {}
    done: dict[Any, Mapping[str, Corpus]] = {}  # the five FEVER names share one computation
    for measure in measures:
        if measure.corpus is None:
            values[measure.name] = _mean(measure.name, answers, scores, confidence)
            continue
        if measure.corpus not in done:
            done[measure.corpus] = measure.corpus(answers)
        whole = done[measure.corpus]
        for name, one in whole.items():
            if measure.name in (name, "scifact"):
                values[name] = MetricValue(
                    value=one.value, n=len(answers), level="corpus", unit=measure.unit,
                    signature=one.signature, reason=one.reason,
                )  # fmt: skip
    return values


def _mean(
    name: str,
    answers: Sequence[Answer],
    scores: Sequence[Mapping[str, float | None]],
    confidence: float,
) -> MetricValue:
    """Average a score over the samples of each item, then over items."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for answer, row in zip(answers, scores, strict=True):
        value = row[name]
        if value is not None:
            found[answer.item.id].append(value)
    items = len({answer.item.id for answer in answers})
    if not found:
        reason = "no item has a reference" if items else "no item was predicted"
        return MetricValue(value=None, n=0, level="item", unit="share", reason=reason)
    means = [math.fsum(values) / len(values) for values in found.values()]
    single = all(len(values) == 1 for values in found.values())
    left_out = items - len(found)
    interval, method = _interval(means, single=single, confidence=confidence)
    return MetricValue(
        value=math.fsum(means) / len(means), n=len(means), level="item", unit="share",
        interval=interval, interval_method=method,
        reason=f"undefined for {left_out} items, which are left out" if left_out else None,
    )  # fmt: skip


def _interval(
    means: Sequence[float], *, single: bool, confidence: float
) -> tuple[tuple[float, float] | None, Literal["wilson", "clustered"] | None]:
    if single and all(value in (0.0, 1.0) for value in means):
        return wilson(round(math.fsum(means)), len(means), confidence), "wilson"
    limits = clustered(means, confidence)
    return limits, None if limits is None else "clustered"


def _pass_values(
    ks: Sequence[int],
    answers: Sequence[Answer],
    scores: Sequence[dict[str, float | None]],
    executions: Sequence[Execution],
    dataset: Dataset,
    confidence: float,
) -> dict[str, MetricValue]:
    counts = passed(executions)
    unknown = [id for id in counts if id not in set(dataset.ids)]
    if unknown:
        raise PredictionError(f"{len(unknown)} executions for unknown items", unknown)
    values = {}
    for k in ks:
        name = f"pass@{k}"
        for answer, row in zip(answers, scores, strict=True):
            n, c = counts.get(answer.item.id, (0, 0))
            if isinstance(answer.prediction, _MissingPrediction):
                row[name] = 0.0
            elif n < k:
                raise ValueError(f"`k` must be in [1, {n}] for {answer.item.id}, got {k}")
            else:
                row[name] = pass_at_k(n, c, k)
        value = _mean(name, answers, scores, confidence)
        values[name] = value
    return values


def _accuracy(
    dataset: Dataset,
    answers: Sequence[Answer],
    executions: Sequence[Execution] | None,
    confidence: float,
) -> tuple[float | None, tuple[float, float] | None, str | None]:
    """Return the share of right answers, Wilson's interval, and why one of them is not there."""
    rows: list[dict[str, float | None]] = []
    if dataset.task != "code":
        rows = [{"accuracy": exact.exact_match(answer)} for answer in answers]
        single = len({a.item.id for a in answers}) == len(answers)
    elif executions is None:
        return None, None, "the programs were not run"
    else:
        counts = passed(executions)
        rows = [
            {"accuracy": c / n if n else 0.0}
            for n, c in (counts.get(answer.item.id, (0, 0)) for answer in answers)
        ]
        single = all(n <= 1 for n, _ in counts.values())
    value = _mean("accuracy", answers, rows, confidence)
    if value.value is None:
        return None, None, value.reason
    if not single:
        reason = "several answers per item: see the clustered interval beside the metric"
        return value.value, None, reason
    return value.value, wilson(round(value.value * value.n), value.n, confidence), None


def _item_result(answer: Answer, scores: Mapping[str, float | None]) -> ItemResult:
    value = exact.predicted(answer)
    return ItemResult(
        item_id=answer.item.id,
        sample=answer.prediction.sample,
        output=answer.prediction.output,
        extracted=None if value is None else str(value),
        method=answer.extraction.method if answer.prediction.label is None else "label",
        scores=scores,
    )
