"""From what a condition answered to what is written down: the answer read, and its scores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from crucible_datasets import extract
from crucible_datasets.metrics.exact import is_right
from crucible_ensemble import Completion
from crucible_harness.judging import Answered, JudgeScorer
from crucible_harness.metrics import Metric
from crucible_harness.prompts import ItemLike

if TYPE_CHECKING:
    from crucible_datasets import Item


def read_answer(
    answer: Completion, item: ItemLike, *, task: Any, metrics: Sequence[Metric]
) -> dict[str, Any]:
    """Return the facts of an answered cell; unknown ones are None.

    Notes
    -----
    A scorer that raises leaves its score None and its error in `scorer_errors`: what was paid for
    is kept.
    """
    value = extract(answer.text, task=task, choices=getattr(item, "choices", None)).value
    extra = answer.extra
    if "answer" in extra:  # a vote was counted on answers; its winner is what is scored
        value = None if extra["answer"] is None else value
    votes = extra.get("votes")
    answered = Answered(text=answer.text, value=value, metadata=extra.get("metadata") or {})
    scores, errors = score(answered, item, task=task, metrics=metrics)
    return {
        "output": answer.text,
        "answer": None if value is None else str(value),
        "unextracted": value is None,
        "scores": {**(extra.get("metrics") or {}), **scores},
        "scorer_errors": errors,
        "votes": None if votes is None else dict(votes),
        "winner": extra.get("answer"),
        "consensus": extra.get("consensus"),
        "support": extra.get("support"),
        "abstained": float(extra["answer"] is None) if "answer" in extra else None,
        "cost_usd": answer.cost_usd,
        "billed_usd": answer.billed_usd,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "latency_s": answer.latency_s,
        "ttft_s": getattr(answer, "ttft_s", None),
        "failures": extra.get("failures") or {},
    }


def score(
    answered: Answered, item: ItemLike, *, task: Any, metrics: Sequence[Metric]
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the scores of an answer and the errors of scorers, by metric.

    Metrics that are measured, such as latency, have no score; judges are asked elsewhere.
    """
    scores: dict[str, float | None] = {}
    errors: dict[str, str] = {}
    for metric in {m.name: m for m in metrics}.values():
        if metric.scorer is None:
            if metric.name == "accuracy":
                scores["accuracy"] = float(is_right(answered.value, item.expected, task=task))
            elif metric.of_dataset:
                scores[metric.name] = _of_dataset(metric.name, answered, item, task)
            continue
        if isinstance(metric.scorer, JudgeScorer):
            continue
        try:
            found = metric.scorer(answered, item)
            scores[metric.name] = None if found is None else float(found)
        except Exception as error:  # noqa: BLE001 - a scorer is someone else's code
            scores[metric.name] = None
            errors[metric.name] = f"{type(error).__name__}: {error}"
    return scores, errors


def _of_dataset(name: str, answered: Answered, item: ItemLike, task: Any) -> float | None:
    """Score by a metric of the datasets package."""
    from crucible_datasets import Prediction
    from crucible_datasets.extraction import Extraction
    from crucible_datasets.metrics.metric import Answer
    from crucible_datasets.metrics.named import named

    measure = named(name).item
    assert measure is not None  # `metric` refuses those that have no score of one item
    return measure(
        Answer(
            item=cast("Item", item),
            prediction=Prediction(item_id=item.id, output=answered.text),
            extraction=Extraction(value=answered.value, method="task"),
            task=task,
        )
    )


def judges(metrics: Sequence[Metric]) -> list[tuple[str, JudgeScorer]]:
    """Return the metrics that a model scores."""
    return [(m.name, m.scorer) for m in metrics if isinstance(m.scorer, JudgeScorer)]
