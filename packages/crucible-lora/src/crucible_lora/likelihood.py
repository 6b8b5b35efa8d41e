"""How likely a model finds the answers of held-out items, token by token."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crucible_lora.corpus import Entry
from crucible_lora.masking import lay_out
from crucible_lora.ports import Example, Predicting, Session


async def target_nll(
    session: Session, entries: Sequence[Entry], *, batch_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the summed negative log-likelihood of each entry's targets, and their number.

    NaN for an entry beyond the model's context.
    """
    examples = [lay_out(e.item.id, e.conversation, session.tokenizer) for e in entries]
    nll = np.full(len(entries), np.nan)
    counts = np.array([len(e.targets()) for e in examples], dtype=np.float64)
    limit = math.inf if session.context is None else session.context
    fitting = [i for i, e in enumerate(examples) if len(e.tokens) <= limit]
    for start in range(0, len(fitting), batch_size):
        part = fitting[start : start + batch_size]
        found = await session.forward([examples[i] for i in part])
        for i, logprobs in zip(part, found, strict=True):
            nll[i] = -float(logprobs.sum())
    return nll, counts


async def mean_nll(session: Session, examples: Sequence[Example], *, batch_size: int) -> float:
    """Return the mean negative log-likelihood of the target tokens of examples."""
    total, count = 0.0, 0
    for start in range(0, len(examples), batch_size):
        for logprobs in await session.forward(examples[start : start + batch_size]):
            total -= float(logprobs.sum())
            count += len(logprobs)
    return total / count


async def target_hits(
    session: Session, entries: Sequence[Entry], *, batch_size: int
) -> NDArray[np.float64] | None:
    """Return the number of each entry's targets that are the likeliest token.

    NaN for an entry beyond the model's context; None if the session does not tell.
    """
    if not isinstance(session, Predicting):
        return None
    examples = [lay_out(e.item.id, e.conversation, session.tokenizer) for e in entries]
    hits = np.full(len(entries), np.nan)
    limit = math.inf if session.context is None else session.context
    fitting = [i for i, e in enumerate(examples) if len(e.tokens) <= limit]
    for start in range(0, len(fitting), batch_size):
        part = fitting[start : start + batch_size]
        for i, found in zip(part, await _hits(session, [examples[i] for i in part]), strict=True):
            hits[i] = found
    return hits


async def mean_accuracy(session: Session, examples: Sequence[Example], *, batch_size: int) -> float:
    """Return the share of the target tokens of examples that are the likeliest.

    The session must be `Predicting`.
    """
    assert isinstance(session, Predicting)  # `Capabilities.predictions`, checked before training
    right = 0.0
    for start in range(0, len(examples), batch_size):
        right += sum(await _hits(session, examples[start : start + batch_size]))
    return right / sum(len(e.targets()) for e in examples)


def perplexity(nll: float) -> float:
    """Return exp(nll); inf where that is too large for a number."""
    return math.exp(nll) if nll < 700 else math.inf


async def _hits(session: Predicting, batch: Sequence[Example]) -> list[float]:
    chosen = await session.predict(batch)
    return [
        float((found == example.tokens[example.targets()]).sum())
        for found, example in zip(chosen, batch, strict=True)
    ]
