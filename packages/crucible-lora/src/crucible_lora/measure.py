"""What a model answers to held-out items, and how well; failures count."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crucible_lora.corpus import Entry
from crucible_lora.errors import ContextLengthError
from crucible_lora.items import TrainingItem
from crucible_lora.masking import lay_out, prompt_tokens
from crucible_lora.ports import Continuation, Example, Session
from crucible_lora.records import Record
from crucible_lora.schemas import OutputSchema

Scorer = Callable[[str, TrainingItem], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedItem(Record):
    """One output. `scores` are by metric; `nll` is in nats, summed over `target_tokens`.

    `text` is None where there is none, and `error` says why.
    """

    item_id: str
    sample: int
    text: str | None
    parsed: Any
    scores: Mapping[str, float | None]
    nll: float | None
    target_tokens: int
    finish: Literal["stop", "length"] | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """The outputs of one model. `scores` have shape (items, samples); NaN is unknown.

    `nll` and `target_tokens` have one entry per item; NaN where the item is too long.
    """

    items: tuple[EvaluatedItem, ...]
    scores: Mapping[str, NDArray[np.float64]]
    nll: NDArray[np.float64]
    target_tokens: NDArray[np.float64]
    n_expected: int
    n_produced: int
    n_failed: int


async def measure(
    session: Session,
    adapter: Path | None,
    entries: Sequence[Entry],
    *,
    schema: OutputSchema | None = None,
    scorers: Mapping[str, Scorer] | None = None,
    max_tokens: int = 256,
    temperature: float = 0.0,
    samples: int = 1,
    batch_size: int = 16,
    seed: int = 0,
    on_item: Callable[[], None] | None = None,
) -> Measured:
    """Ask a model for each item and score what it says.

    An output that is missing, empty or cut off at `max_tokens` scores 0 everywhere.

    Parameters
    ----------
    session : Session
        Its adapter in training gives the log-likelihoods.
    adapter : Path, optional
        Where that adapter is saved; None if it is the base model.
    """
    scorers = scorers or {}
    names = ["exact_match", *(["schema_compliance"] if schema else []), *scorers]
    nll, counts = await target_nll(session, entries, batch_size=batch_size)
    rows: list[EvaluatedItem] = []
    table = np.full((len(entries), samples, len(names)), np.nan)
    produced = failed = 0
    for position, entry in enumerate(entries):
        prompt = prompt_tokens(entry.conversation, session.tokenizer)
        for sample in range(samples):
            answer, error = await _ask(
                session,
                prompt,
                adapter=adapter,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=_sample_seed(seed, entry.item.id, sample),
            )
            wrong = answer is None or not answer.text.strip() or answer.finish == "length"
            produced += answer is not None
            failed += wrong
            parsed = schema.parse(answer.text) if schema and answer else None
            scores: dict[str, float | None] = dict.fromkeys(names, 0.0)
            if answer is not None and not wrong:
                right = answer.text.strip() == entry.conversation.completion.strip()
                scores["exact_match"] = float(right)
                if parsed is not None:
                    scores["schema_compliance"] = float(parsed.ok)
                for name, scorer in scorers.items():
                    score = scorer(answer.text, entry.item)
                    scores[name] = None if score is None else float(score)
            table[position, sample] = [math.nan if scores[k] is None else scores[k] for k in names]
            known = not math.isnan(nll[position])
            rows.append(
                EvaluatedItem(
                    item_id=entry.item.id,
                    sample=sample,
                    text=None if answer is None else answer.text,
                    parsed=None if parsed is None else parsed.value,
                    scores=scores,
                    nll=float(nll[position]) if known else None,
                    target_tokens=int(counts[position]),
                    finish=None if answer is None else answer.finish,
                    error=error,
                )
            )
        if on_item is not None:
            on_item()
    return Measured(
        items=tuple(rows),
        scores={name: table[:, :, i] for i, name in enumerate(names)},
        nll=nll,
        target_tokens=counts,
        n_expected=len(entries) * samples,
        n_produced=produced,
        n_failed=failed,
    )


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


async def _ask(
    session: Session,
    prompt: Sequence[int],
    *,
    adapter: Path | None,
    max_tokens: int,
    temperature: float,
    seed: int,
) -> tuple[Continuation | None, str | None]:
    try:
        answer = await session.complete(
            prompt,
            adapter=adapter,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=1.0,
            top_k=None,
            seed=seed,
            stop=(),
        )
    except ContextLengthError as error:
        return None, str(error)
    return answer, None


def _sample_seed(seed: int, item_id: str, sample: int) -> int:
    digest = hashlib.sha256(f"{seed}\x1f{item_id}\x1f{sample}".encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()[:8], "big") >> 1
