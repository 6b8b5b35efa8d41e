"""Making an answer token by token, with a generator of its own."""

import inspect
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from crucible_ensemble.completion import Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of one answer."""

    temperature: float
    max_tokens: int
    seed: int | None
    stop: tuple[str, ...]
    top: int


@dataclass(slots=True)
class Made:
    """An answer, or as much of it as there was time for."""

    text: str = ""
    finish: Finish = "length"
    latency_s: float = 0.0
    ttft_s: float | None = None
    logprobs: list[float] = field(default_factory=list)
    top: list[dict[str, float]] = field(default_factory=list)


def generated(
    tokenizer: Any,
    model: Any,
    ids: Sequence[int],
    wanted: Wanted,
    limit: int,
    halt: threading.Event,
) -> Made:
    """Make an answer token by token, until it ends or is not wanted any more."""
    import torch

    began, made = time.monotonic(), Made()
    generator = torch.Generator(device=model.device)
    if wanted.seed is None:
        generator.seed()
    else:
        generator.manual_seed(wanted.seed)
    ends = _ends(tokenizer, model)
    said: list[int] = []
    step = torch.tensor([list(ids)], device=model.device)  # (1, tokens)
    takes = inspect.signature(model.forward).parameters
    cache = "cache" if "cache" in takes else "past_key_values"  # its name before version 5.20
    seen: dict[str, Any] = {"use_cache": True}
    if "logits_to_keep" in takes:
        seen["logits_to_keep"] = 1
    with torch.inference_mode():
        while not halt.is_set():
            out = model(input_ids=step, **seen)
            seen[cache], logits = getattr(out, cache), out.logits[0, -1].float()  # (vocabulary,)
            logprobs = torch.log_softmax(logits, dim=-1)
            if wanted.temperature == 0:
                token = int(logits.argmax())
            else:
                shares = torch.softmax(logits / wanted.temperature, dim=-1)
                token = int(torch.multinomial(shares, 1, generator=generator))
            if made.ttft_s is None:
                made.ttft_s = time.monotonic() - began
            made.logprobs.append(min(0.0, float(logprobs[token])))
            if wanted.top:
                made.top.append(_best(tokenizer, logprobs, wanted.top))
            if token in ends:
                made.finish = "stop"
                break
            said.append(token)
            if wanted.stop:
                cut = _cut(tokenizer.decode(said, skip_special_tokens=True), wanted.stop)
                if cut is not None:
                    made.text, made.finish = cut, "stop"
                    made.latency_s = time.monotonic() - began
                    return made
            if len(said) >= limit:
                break
            step = torch.tensor([[token]], device=model.device)
    made.text = tokenizer.decode(said, skip_special_tokens=True)
    made.latency_s = time.monotonic() - began
    return made


def _ends(tokenizer: Any, model: Any) -> frozenset[int]:
    """Return the tokens that end a text, of which a model may have several."""
    found: set[int] = set()
    for of in (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id):
        if of is not None:
            found |= set(of) if isinstance(of, list | tuple) else {of}
    return frozenset(found)


def _best(tokenizer: Any, logprobs: Any, most: int) -> dict[str, float]:
    values, places = logprobs.topk(min(most, len(logprobs)))
    texts = [tokenizer.decode([place]) for place in places.tolist()]
    found: dict[str, float] = {}
    for text, value in zip(texts, values.tolist(), strict=True):
        found.setdefault(text, min(0.0, value))  # tokens that read the same: the likelier
    return found


def _cut(text: str, stop: Sequence[str]) -> str | None:
    """Return the text before the first stop string; None if there is none in it."""
    places = [place for mark in stop if (place := text.find(mark)) >= 0]
    return text[: min(places)] if places else None
