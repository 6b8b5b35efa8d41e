"""What a model answers to held-out items, and how well; failures count."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from crucible_lora.corpus import Entry
from crucible_lora.errors import ContextLengthError
from crucible_lora.likelihood import target_hits, target_nll
from crucible_lora.masking import prompt_tokens
from crucible_lora.ports import Continuation, Session
from crucible_lora.records import Record
from crucible_lora.scoring import Scoring, closed_labels


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

    `nll`, `hits` and `target_tokens` have one entry per item; NaN where the item is too long.
    `hits`, the targets that were the likeliest token, are None if the backend does not tell.
    `proxies` are the metrics that a stand-in computed.
    """

    items: tuple[EvaluatedItem, ...]
    scores: Mapping[str, NDArray[np.float64]]
    nll: NDArray[np.float64]
    hits: NDArray[np.float64] | None
    target_tokens: NDArray[np.float64]
    proxies: frozenset[str]
    n_expected: int
    n_produced: int
    n_failed: int


async def measure(
    session: Session,
    adapter: Path | None,
    entries: Sequence[Entry],
    *,
    scoring: Scoring,
    max_tokens: int = 256,
    temperature: float = 0.0,
    samples: int = 1,
    batch_size: int = 16,
    seed: int = 0,
    on_item: Callable[[], None] | None = None,
) -> Measured:
    """Ask a model for each item and score what it says.

    An output that is missing, empty or cut off at `max_tokens` is wrong by every metric.

    Parameters
    ----------
    session : Session
        Its adapter in training gives the log-likelihoods.
    adapter : Path, optional
        Where that adapter is saved; None if it is the base model.
    """
    names, labels = scoring.names(), closed_labels(entries)
    nll, counts = await target_nll(session, entries, batch_size=batch_size)
    hits = await target_hits(session, entries, batch_size=batch_size)
    rows: list[EvaluatedItem] = []
    table = np.full((len(entries), samples, len(names)), np.nan)
    proxies = {name for name in names if scoring.is_proxy(name)}
    produced = failed = 0
    wanted = [(entry, sample) for entry in entries for sample in range(samples)]
    answers: list[tuple[Continuation | None, str | None]] = []
    for position, entry in enumerate(entries):
        for sample in range(samples):
            if len(answers) == position * samples + sample:
                part = wanted[len(answers) : len(answers) + batch_size]
                answers += await _ask(
                    session,
                    [prompt_tokens(e.conversation, session.tokenizer) for e, _ in part],
                    adapter=adapter,
                    max_tokens=max_tokens,
                    temperature=temperature,
                    seeds=[_sample_seed(seed, e.item.id, number) for e, number in part],
                )
            answer, error = answers[position * samples + sample]
            wrong = answer is None or not answer.text.strip() or answer.finish == "length"
            produced += answer is not None
            failed += wrong
            text = None if wrong or answer is None else answer.text
            if scoring.slow:
                found = await anyio.to_thread.run_sync(scoring.score, text, entry, labels)
            else:
                found = scoring.score(text, entry, labels)
            proxies |= found.proxies
            values = [found.scores[name] for name in names]
            table[position, sample] = [math.nan if v is None else v for v in values]
            known = not math.isnan(nll[position])
            rows.append(
                EvaluatedItem(
                    item_id=entry.item.id,
                    sample=sample,
                    text=None if answer is None else answer.text,
                    parsed=None if found.parsed is None else found.parsed.value,
                    scores={name: found.scores[name] for name in names},
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
        hits=hits,
        target_tokens=counts,
        proxies=frozenset(proxies),
        n_expected=len(entries) * samples,
        n_produced=produced,
        n_failed=failed,
    )


async def _ask(
    session: Session,
    prompts: Sequence[Sequence[int]],
    *,
    adapter: Path | None,
    max_tokens: int,
    temperature: float,
    seeds: Sequence[int],
) -> list[tuple[Continuation | None, str | None]]:
    """Return an answer to each prompt, or why there is none."""
    limit = math.inf if session.context is None else session.context
    fitting = [i for i, prompt in enumerate(prompts) if len(prompt) < limit]
    found: list[tuple[Continuation | None, str | None]] = [
        (None, None if n < limit else str(ContextLengthError(int(limit), n + 1)))
        for n in map(len, prompts)
    ]
    if fitting:
        answers = await session.complete(
            [prompts[i] for i in fitting],
            adapter=adapter,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=1.0,
            top_k=None,
            seeds=[seeds[i] for i in fitting],
            stop=(),
        )
        for i, answer in zip(fitting, answers, strict=True):
            found[i] = (answer, None)
    return found


def _sample_seed(seed: int, item_id: str, sample: int) -> int:
    digest = hashlib.sha256(f"{seed}\x1f{item_id}\x1f{sample}".encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()[:8], "big") >> 1
