"""Many questions to one ensemble, some at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import anyio

from crucible_ensemble.model import Prompt
from crucible_ensemble.prediction import Prediction
from crucible_ensemble.seeds import item_of

if TYPE_CHECKING:
    from crucible_ensemble.asking import Asker


async def predict_many(
    asker: "Asker",
    prompts: Mapping[str, Prompt] | Sequence[Prompt],
    *,
    concurrency: int,
    on_error: Literal["record", "raise"],
    on_result: Callable[[Prediction], None] | None,
    temperature: float | None,
    max_tokens: int,
    stop: Sequence[str],
) -> list[Prediction]:
    """Answer prompts in their order; see `Ensemble.predict_many`.

    Raises
    ------
    ValueError
        If an option is out of range.
    Exception
        A fault of a vote, normaliser or `on_result`, always; a failed prompt with on_error="raise".
        What was answered until then is in its `predictions`.
    """
    from crucible_ensemble.quorum import below_quorum, checked

    if concurrency < 1:
        raise ValueError(f"`concurrency` must be >= 1, got {concurrency}")
    if on_error not in ("record", "raise"):
        raise ValueError(f'`on_error` must be "record" or "raise", got {on_error!r}')
    if isinstance(prompts, str):
        raise ValueError("`prompts` must be a mapping or a sequence of prompts, got a string")
    pairs = list(prompts.items()) if isinstance(prompts, Mapping) else [(item_of(p), p) for p in prompts]  # noqa: E501 # fmt: skip
    results: list[Prediction | None] = [None] * len(pairs)
    failed: list[Exception] = []
    places = iter(range(len(pairs)))
    quorum, batch = asker.panel.quorum, asker.batch

    async def work() -> None:
        for place in places:
            item, prompt = pairs[place]
            try:
                prediction = await asker.predict(
                    prompt, temperature=temperature, max_tokens=max_tokens, seed=None, stop=stop,
                    item=item, batch=batch, raise_failed=on_error == "raise",
                )  # fmt: skip
                if on_error == "raise":
                    prediction = checked(prediction, quorum)
                else:
                    prediction, _ = below_quorum(prediction, quorum)
                results[place] = prediction
                if on_result is not None and not batch:
                    on_result(prediction)
            except Exception as error:  # noqa: BLE001 - raised below, without a group around it
                error.add_note(f"item {item}")
                failed.append(error)
                group.cancel_scope.cancel()
                return

    async with anyio.create_task_group() as group:
        for _ in range(min(concurrency, len(pairs))):
            group.start_soon(work)
    done = [p for p in results if p is not None]
    if failed:
        failed[0].predictions = tuple(done)  # type: ignore[attr-defined]
        raise failed[0]
    if batch:
        done = recounted(done)
        for prediction in done if on_result is not None else ():
            on_result(prediction)  # type: ignore[misc]
    return done


def recounted(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Return the predictions with the answers that Dawid-Skene infers from all of them."""
    import numpy as np

    from crucible_ensemble.dawid_skene import dawid_skene

    if not predictions:
        return []
    seats = [(r.member, r.sample) for r in predictions[0].responses]
    members = list(dict.fromkeys(member for member, _ in seats))
    samples = max(sample for _, sample in seats) + 1
    keys = np.full((len(predictions), len(members), samples), None, dtype=object)
    for i, prediction in enumerate(predictions):
        for r in prediction.responses:
            keys[i, members.index(r.member), r.sample] = r.key
    found = dawid_skene(keys, kind="auto")
    return [
        _with_answer(p, found.answers[i], found.confidence[i], found.kind)
        for i, p in enumerate(predictions)
    ]


def _with_answer(
    p: Prediction, answer: str | None, confidence: float | None, kind: str
) -> Prediction:
    if answer is None:
        return p
    winners = [r for r in p.responses if r.key == answer]
    text = winners[0].completion.text if winners and winners[0].completion else None
    facts = replace(
        p.metadata, strategy="dawid_skene", winners=tuple(r.member for r in winners),
        consensus=len(winners) / p.metadata.valid if p.metadata.valid else None,
        support=len(winners) / p.metadata.asked, confidence=confidence,
        confidence_source="posterior", tie=None, notes={**p.metadata.notes, "kind": kind},
    )  # fmt: skip
    return replace(p, answer=answer, text=text, abstained=False, reason=None, metadata=facts)
