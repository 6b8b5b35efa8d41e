"""One token after the other: arg max, or draws from a generator of this request's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from crucible_lora.errors import ContextLengthError
from crucible_lora.losses import log_softmax
from crucible_lora.ports import Continuation, Floats, Tokenizer


class Decoder(Protocol):
    """A model that remembers what it has read of some prompts."""

    def start(self, prompts: Sequence[Sequence[int]], /) -> Floats:
        """Read prompts and return the logits of each one's next token, shape (prompts, V)."""
        ...

    def advance(self, rows: Sequence[int], tokens: Sequence[int], /) -> Floats:
        """Read one more token for some rows of the last logits, and forget the others.

        Returns the logits of the next tokens, shape (rows, V).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How tokens are chosen, and where an answer ends."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    stop: tuple[str, ...] = ()


class Answer:
    """One answer in progress.

    Raises
    ------
    ContextLengthError
        If not one token fits behind the prompt. An answer that reaches the limit ends there.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        how: Choice,
        *,
        seed: int | None,
        tokenizer: Tokenizer,
        context: int | None,
    ) -> None:
        self.prompt = prompt
        self._how, self._tokenizer = how, tokenizer
        self._room = how.max_tokens
        if context is not None:
            if len(prompt) >= context:
                raise ContextLengthError(context, len(prompt) + 1)
            self._room = min(self._room, context - len(prompt))
        self._rng = np.random.default_rng(seed)
        self._tokens: list[int] = []
        self._logprobs: list[float] = []
        self._finish: Literal["stop", "length"] = "length"
        self._text: str | None = None

    def take(self, logits: Floats) -> int | None:
        """Choose the next token and return it, or None if the answer ends with it."""
        logp = log_softmax(logits)
        how = self._how
        token = choose(
            logp, temperature=how.temperature, top_p=how.top_p, top_k=how.top_k, rng=self._rng
        )
        self._tokens.append(token)
        self._logprobs.append(float(logp[token]))
        if token in self._tokenizer.ends:
            self._finish = "stop"
            return None
        if how.stop:
            self._text = cut_at(self._tokenizer.decode(self._tokens), how.stop)
            if self._text is not None:
                self._finish = "stop"
                return None
        return token if len(self._tokens) < self._room else None

    def continuation(self) -> Continuation:
        """Return what was written."""
        text = self._tokenizer.decode(self._tokens) if self._text is None else self._text
        return Continuation(
            tokens=tuple(self._tokens),
            logprobs=tuple(self._logprobs),
            text=text,
            finish=self._finish,
        )


def decode(
    decoder: Decoder, answers: Sequence[Answer], *, cancelled: Callable[[], bool]
) -> list[Continuation]:
    """Continue prompts, all at once; each draws from a generator of its own."""
    logits = decoder.start([a.prompt for a in answers])
    going = list(answers)
    while True:
        tokens = [a.take(row) for a, row in zip(going, logits, strict=True)]
        rows = [i for i, token in enumerate(tokens) if token is not None]
        if not rows or cancelled():
            return [a.continuation() for a in answers]
        going = [going[i] for i in rows]
        logits = decoder.advance(rows, [t for t in tokens if t is not None])


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


def cut_at(text: str, stop: Sequence[str]) -> str | None:
    """Return a text up to the first of some marks, or None if it has none of them."""
    found = [at for at in (text.find(mark) for mark in stop) if at >= 0]
    return text[: min(found)] if found else None
