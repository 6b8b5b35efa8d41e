"""An adapter that answers: a model for whoever calls `generate`."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crucible_lora import tracing
from crucible_lora.errors import ContextLengthError
from crucible_lora.formats import Conversation
from crucible_lora.grouping import Grouping
from crucible_lora.masking import prompt_tokens
from crucible_lora.ports import Continuation, Message, Sampling

_Request = tuple[Sequence[int], int | None]  # a prompt's tokens, and the seed of its answer
Prompt = str | Sequence[Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """An answer. None is unknown.

    `output_tokens` and `logprobs` count every token produced, the one that ended the answer too;
    `confidence` is exp of their mean log-probability.
    """

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    confidence: float
    confidence_source: Literal["logprobs"]
    logprobs: tuple[float, ...]
    latency_s: float
    finish: Literal["stop", "length"]


class Sampler:
    """A session's model with the adapter saved at a path, or its base.

    Parameters
    ----------
    session : Sampling
    path : Path, optional
        A checkpoint; None is the base model.
    name : str
    top_p : float, in (0, 1]
    top_k : int, >= 1, optional
    batch : int, >= 1
        Requests that wait at the same time are worked off together, up to so many: several times
        faster. The last bits of a number may then depend on who else was waiting, so where two
        tokens are nearly as likely, an answer may come out otherwise, rarely.
    price : (float, float), >= 0, optional
        US dollars for a million tokens in and out. Without it the cost of an answer is unknown.
    system : str, optional
        A system message for prompts that have none, as the adapter learned it.
    plain : bool
        Prompts are text without a chat template, as an adapter trained with `PlainFormat` wants.
    capture_content : bool
        Record prompts and answers in spans.

    Notes
    -----
    With `batch=1`, equal requests with equal seeds give equal texts, whatever runs beside them. The
    chosen tokens come from a generator of the request's own.
    """

    def __init__(
        self,
        session: Sampling,
        path: Path | None,
        *,
        name: str,
        top_p: float = 1.0,
        top_k: int | None = None,
        batch: int = 1,
        price: tuple[float, float] | None = None,
        system: str | None = None,
        plain: bool = False,
        capture_content: bool = False,
    ) -> None:
        if not 0 < top_p <= 1:
            raise ValueError(f"`top_p` must be in (0, 1], got {top_p}")
        if top_k is not None and top_k < 1:
            raise ValueError(f"`top_k` must be >= 1, got {top_k}")
        if batch < 1:
            raise ValueError(f"`batch` must be >= 1, got {batch}")
        if price is not None and not all(math.isfinite(p) and p >= 0 for p in price):
            raise ValueError(f"`price` must be two numbers >= 0, got {price}")
        if plain and system is not None:
            raise ValueError(f"`system` must be None for a plain prompt, got {system!r}")
        self.name = name
        self._session, self._path = session, path
        self._top_p, self._top_k, self._price = top_p, top_k, price
        self._system, self._plain, self._batch = system, plain, batch
        self._capture = capture_content
        self._grouping = None if batch == 1 else Grouping[_Request, Continuation](batch)

    def __repr__(self) -> str:
        return f"Sampler({self.name!r})"

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the model in an experiment's design.

        Its name, the backend, the base, the SHA-256 of the adapter (None for the base model) and
        the options that change what it answers.
        """
        return {
            "model": self.name,
            **self._session.identity(self._path),
            "top_p": self._top_p,
            "top_k": self._top_k,
            "batch": self._batch,
            "system": self._system,
            "plain": self._plain,
        }

    async def generate(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Generation:
        """Answer a prompt.

        Parameters
        ----------
        prompt : str or sequence of {"role", "content"} messages
        temperature : float, >= 0, or None
            0 and None take the likeliest token.
        max_tokens : int, >= 1
        seed : int, >= 0, optional
            None draws differently each time.
        stop : sequence of str
            The answer ends before the first of these.

        Raises
        ------
        ValueError
            If an argument is out of range or the prompt empty.
        ContextLengthError
            If the prompt leaves no room for an answer.
        SessionClosedError
        """
        conversation = self._read(prompt)
        warmth = 0.0 if temperature is None else temperature
        if not (math.isfinite(warmth) and warmth >= 0):
            raise ValueError(f"`temperature` must be >= 0, got {temperature}")
        if max_tokens < 1:
            raise ValueError(f"`max_tokens` must be >= 1, got {max_tokens}")
        if isinstance(stop, str) or not all(stop):
            raise ValueError(f"`stop` must be a sequence of non-empty texts, got {stop!r}")
        began = time.perf_counter()
        remote = bool(getattr(self._session, "remote", False))
        with tracing.sample_span(self.name, remote=remote) as span:
            tokens = prompt_tokens(conversation, self._session.tokenizer)
            answer = await self._complete(
                (tokens, seed), max_tokens=max_tokens, temperature=warmth, stop=tuple(stop)
            )
            cost = self._cost(len(tokens), len(answer.tokens))
            tracing.answered(span, len(tokens), len(answer.tokens), cost)
            if self._capture:
                tracing.content(span, conversation.messages, answer.text)
        return Generation(
            text=answer.text,
            model=self.name,
            input_tokens=len(tokens),
            output_tokens=len(answer.tokens),
            cost_usd=cost,
            confidence=math.exp(math.fsum(answer.logprobs) / len(answer.logprobs)),
            confidence_source="logprobs",
            logprobs=answer.logprobs,
            latency_s=time.perf_counter() - began,
            finish=answer.finish,
        )

    async def _complete(
        self, request: _Request, *, max_tokens: int, temperature: float, stop: tuple[str, ...]
    ) -> Continuation:
        async def answer(requests: Sequence[_Request]) -> Sequence[Continuation]:
            return await self._session.complete(
                [tokens for tokens, _ in requests],
                adapter=self._path,
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=self._top_p,
                top_k=self._top_k,
                seeds=[seed for _, seed in requests],
                stop=stop,
            )

        if self._grouping is None:
            return (await answer([request]))[0]
        self._check_room(len(request[0]))  # one that is too long must not spoil the others
        kind = (max_tokens, temperature, stop)
        return await self._grouping.ask(request, kind=kind, answer=answer)

    def _check_room(self, length: int) -> None:
        limit = self._session.context
        if limit is not None and length >= limit:
            raise ContextLengthError(limit, length + 1)

    def _cost(self, tokens_in: int, tokens_out: int) -> float | None:
        if self._price is None:
            return None
        return (tokens_in * self._price[0] + tokens_out * self._price[1]) / 1e6

    def _read(self, prompt: Prompt) -> Conversation:
        if not prompt:
            raise ValueError("`prompt` must not be empty")
        if isinstance(prompt, str):
            messages: tuple[Message, ...] = ({"role": "user", "content": prompt},)
        else:
            messages = tuple(prompt)
        for message in messages:
            role, content = message.get("role"), message.get("content")
            if role not in ("system", "user", "assistant") or not isinstance(content, str):
                raise ValueError(
                    f"`prompt` messages must have a role (system, user or assistant) and text as "
                    f"content, got {dict(message)!r}"
                )
        if self._system is not None and messages[0]["role"] != "system":
            messages = ({"role": "system", "content": self._system}, *messages)
        return Conversation(messages=messages, completion="", plain=self._plain)
