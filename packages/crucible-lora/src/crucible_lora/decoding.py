"""One token after the other: arg max, or draws from a generator of this request's own."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from crucible_lora.errors import ContextLengthError
from crucible_lora.losses import log_softmax
from crucible_lora.ports import Continuation, Floats, Tokenizer


class Decoder(Protocol):
    """A model that remembers what it has read."""

    def start(self, tokens: Sequence[int], /) -> Floats:
        """Read a prompt and return the logits of the next token."""
        ...

    def advance(self, token: int, /) -> Floats:
        """Read one more token and return the logits of the next."""
        ...


def decode(
    decoder: Decoder,
    prompt: Sequence[int],
    *,
    tokenizer: Tokenizer,
    context: int | None,
    max_tokens: int,
    temperature: float,
    top_p: float,
    top_k: int | None,
    seed: int | None,
    stop: Sequence[str],
    cancelled: Callable[[], bool],
) -> Continuation:
    """Continue a prompt.

    Raises
    ------
    ContextLengthError
        If not one token fits behind the prompt. An answer that reaches the limit ends there.
    """
    room = max_tokens
    if context is not None:
        if len(prompt) >= context:
            raise ContextLengthError(context, len(prompt) + 1)
        room = min(max_tokens, context - len(prompt))
    rng = np.random.default_rng(seed)
    tokens: list[int] = []
    logprobs: list[float] = []
    finish: Literal["stop", "length"] = "length"
    text: str | None = None
    logits = decoder.start(prompt)
    while True:
        logp = log_softmax(logits)
        token = choose(logp, temperature=temperature, top_p=top_p, top_k=top_k, rng=rng)
        tokens.append(token)
        logprobs.append(float(logp[token]))
        if token in tokenizer.ends:
            finish = "stop"
            break
        if stop:
            text = _cut(tokenizer.decode(tokens), stop)
            if text is not None:
                finish = "stop"
                break
        if len(tokens) >= room or cancelled():
            break
        logits = decoder.advance(token)
    return Continuation(
        tokens=tuple(tokens),
        logprobs=tuple(logprobs),
        text=tokenizer.decode(tokens) if text is None else text,
        finish=finish,
    )


def choose(
    logp: NDArray[np.float64],
    *,
    temperature: float,
    top_p: float,
    top_k: int | None,
    rng: np.random.Generator,
) -> int:
    """Return the next token: the likeliest at temperature 0, else a draw; ties to the lower id."""
    if temperature == 0:
        return int(np.argmax(logp))
    scaled = logp / temperature
    weights = np.exp(scaled - scaled.max())
    if top_k is not None or top_p < 1:
        ranked = np.argsort(-weights, kind="stable")
        keep = len(ranked) if top_k is None else min(top_k, len(ranked))
        if top_p < 1:
            cumulated = np.cumsum(weights[ranked[:keep]])
            enough = top_p * cumulated[-1]
            keep = int(np.searchsorted(cumulated, enough, side="left")) + 1
        weights[ranked[keep:]] = 0.0
    cumulated = np.cumsum(weights)
    drawn = int(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right"))
    return min(drawn, int(np.flatnonzero(weights)[-1]))


def _cut(text: str, stop: Sequence[str]) -> str | None:
    found = [at for at in (text.find(mark) for mark in stop) if at >= 0]
    return text[: min(found)] if found else None
