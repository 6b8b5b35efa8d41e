"""The client of a provider: limits, attempts, deadlines, prices and spans around a wire format."""

import json
import math
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from crucible_ensemble.completion import Chunk, Completion
from crucible_ensemble.errors import (
    AuthenticationError,
    ConnectionFailedError,
    ContentFilteredError,
    InvalidRequestError,
    ModelError,
    ModelTimeoutError,
    ResponseFormatError,
    ServerError,
    UnsupportedOptionError,
)
from crucible_ensemble.limits import Breaker, Limiter, Slot
from crucible_ensemble.model import Prompt
from crucible_ensemble.models.sse import EventReader
from crucible_ensemble.models.wire import Answer, Request, Wire, error_from
from crucible_ensemble.prices import PriceBook
from crucible_ensemble.prompts import check_options, to_messages
from crucible_ensemble.retry import Retries, with_retries
from crucible_ensemble.spans import (
    REQUEST_MAX_TOKENS,
    REQUEST_SEED,
    REQUEST_TEMPERATURE,
    SERVER_ADDRESS,
    GenerateSpan,
    generate_span,
)

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
Unsupported = Literal["raise", "record"]
_UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every client of a provider has.

    Attributes
    ----------
    api_key : str, optional
        Else from the environment, at the first call.
    timeout_s : float, > 0
        For one attempt, from sending to the last byte.
    retries : Retries
    limiter : Limiter, optional
        By default 10 calls at a time, for this model alone.
    breaker : Breaker, optional
    prices : PriceBook, optional
    unsupported : {"raise", "record"}
        What happens to an option that the API does not have: an error before anything is sent, or
        it is left out and named in `Completion.dropped`.
    raise_filtered : bool
        Raise `ContentFilteredError` instead of returning finish "filtered".
    capture_content : bool
        Put prompts and answers into spans.
    extra_body, headers : mapping
        Sent with every request, for what is special to a server.
    client : httpx.AsyncClient, optional
        Used and not closed; by default the model has its own.
    """

    api_key: str | None = None
    timeout_s: float = 30.0
    retries: Retries | None = None
    limiter: Limiter | None = None
    breaker: Breaker | None = None
    prices: PriceBook | None = None
    unsupported: Unsupported = "raise"
    raise_filtered: bool = False
    capture_content: bool = False
    extra_body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    client: "httpx.AsyncClient | None" = None


class ProviderModel:
    """A model behind a provider's API. Open one with `open_model` or by its provider's class."""

    def __init__(
        self,
        wire: Wire,
        *,
        name: str,
        base_url: str,
        key_variables: Sequence[str],
        key_needed: bool,
        options: Options,
    ) -> None:
        if not options.timeout_s > 0:
            raise ValueError(f"`timeout_s` must be > 0, got {options.timeout_s}")
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"`base_url` must begin with http:// or https://, got {base_url!r}")
        if options.unsupported not in ("raise", "record"):
            raise ValueError(f'`unsupported` must be "raise" or "record", got {options.unsupported!r}')  # fmt: skip # noqa: E501
        self.name = name
        self.base_url = base_url.rstrip("/")
        self.supports = wire.supports
        self._wire = wire
        self._key_variables, self._key_needed = tuple(key_variables), key_needed
        self._options = options
        self._retries = options.retries or Retries()
        self._limiter = options.limiter or Limiter()
        self._prices = options.prices or PriceBook.default()
        self._http: tuple[object, httpx.AsyncClient] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, base_url={self.base_url!r})"

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the model in an experiment's design."""
        extra = dict(self._options.extra_body or {})
        return {"model": self.name, "base_url": self.base_url, "extra": extra}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        from anyio.lowlevel import current_token

        if self._http is not None:
            (loop, client), self._http = self._http, None
            if loop == current_token():  # else its connections went with their event loop
                await client.aclose()

    async def generate(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """Ask the model.

        Raises
        ------
        ValueError
            If the prompt or an option cannot be sent.
        UnsupportedOptionError
            If the API does not have an option, unless `unsupported="record"`.
        ModelError
            If every attempt failed; the class says how.
        """
        request, dropped = self._request(prompt, temperature, max_tokens, seed, stop)
        body = {**self._wire.body(request, stream=False), **(self._options.extra_body or {})}
        ledger = _Ledger()

        async def attempt(number: int) -> Completion:
            async with self._limiter.slot(_estimate(request)) as slot:
                ledger.began(slot)
                with self._span(request, number) as span:
                    answer = await self._ask(body)
                    ledger.ended()
                    slot.used = _used(answer)
                    return span.answered(self._completion(answer, ledger, dropped))

        return await self._tried(attempt, ledger)

    @asynccontextmanager
    async def open_stream(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> AsyncIterator[AsyncIterator[Chunk]]:
        """Ask the model and read its answer while it is made; the last chunk has the Completion.

        Errors are those of `generate`. What fails before the first byte of an answer is tried
        again; what breaks later is raised while reading.
        """
        import anyio

        request, dropped = self._request(prompt, temperature, max_tokens, seed, stop)
        body = {**self._wire.body(request, stream=True), **(self._options.extra_body or {})}
        ledger = _Ledger()
        began = time.monotonic()
        with ExitStack() as spans:

            async def attempt(number: int) -> "tuple[httpx.Response, GenerateSpan, float]":
                deadline = anyio.current_time() + self._options.timeout_s
                with ExitStack() as mine:
                    span = mine.enter_context(self._span(request, number))
                    response = await self._send(body, stream=True, deadline=deadline)
                    spans.push(mine.pop_all())  # it ends when the answer has been read
                return response, span, deadline

            async with self._limiter.slot(_estimate(request)) as slot:
                ledger.began(slot)
                response, span, deadline = await self._tried(attempt, ledger)
                chunks = self._chunks(response, deadline, ledger, dropped, began, span, slot)
                try:
                    yield chunks
                finally:
                    with anyio.CancelScope(shield=True):
                        await chunks.aclose()
                        await response.aclose()

    def _request(
        self,
        prompt: Prompt,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
        stop: Sequence[str],
    ) -> tuple[Request, tuple[str, ...]]:
        check_options(temperature=temperature, max_tokens=max_tokens, stop=stop)
        request = Request(
            messages=to_messages(prompt), temperature=temperature, max_tokens=max_tokens,
            seed=seed, stop=tuple(stop),
        )  # fmt: skip
        asked = {"temperature": temperature is not None, "seed": seed is not None, "stop": stop}
        lacking = [name for name, given in asked.items() if given and name not in self.supports]
        refused = self._wire.refuses(request)
        if refused is not None and refused not in lacking:
            lacking.append(refused)
        if lacking and self._options.unsupported == "raise":
            raise UnsupportedOptionError(
                f"{self.name} takes no such `{lacking[0]}` ({getattr(request, lacking[0])!r}); "
                'leave it out, or open the model with unsupported="record"',
                model=self.name,
                option=lacking[0],
                cost_usd=0.0,
            )
        for name in lacking:
            request = request.without(name)
        return request, tuple(lacking)

    def _span(self, request: Request, attempt: int) -> AbstractContextManager[GenerateSpan]:
        return generate_span(
            self.name,
            system=self._wire.provider,
            attempt=attempt,
            request={
                REQUEST_TEMPERATURE: request.temperature,
                REQUEST_MAX_TOKENS: request.max_tokens,
                REQUEST_SEED: request.seed,
                SERVER_ADDRESS: urlsplit(self.base_url).hostname,
            },
            messages=request.messages if self._options.capture_content else None,
        )

    async def _tried(self, attempt: Callable[[int], Awaitable[T]], ledger: "_Ledger") -> T:
        """Run attempts under breaker and retries; what they cost together is the error's cost."""
        breaker = self._options.breaker

        async def counted(number: int) -> T:
            if breaker is not None:
                breaker.check(self.name)
            ledger.attempts += 1
            try:
                result = await attempt(number)
            except ModelError as error:
                free = not any(self._prices.price(self.name) or (1.0,))
                ledger.costs.append(0.0 if free else error.cost_usd)
                error.cost_usd, error.attempts = ledger.cost(), ledger.attempts
                if breaker is not None:
                    broken = isinstance(
                        error, ServerError | ConnectionFailedError | ModelTimeoutError
                    )
                    (breaker.failed if broken else breaker.succeeded)()
                raise
            except BaseException:
                if breaker is not None:
                    breaker.undecided()
                raise
            if breaker is not None:
                breaker.succeeded()
            return result

        return await with_retries(counted, self._retries, limiter=self._limiter)

    async def _ask(self, body: Mapping[str, Any]) -> Answer:
        import anyio

        deadline = anyio.current_time() + self._options.timeout_s
        response = await self._send(body, stream=False, deadline=deadline)
        return self._answer(self._json(response))

    async def _send(
        self, body: Mapping[str, Any], *, stream: bool, deadline: float
    ) -> "httpx.Response":
        import anyio
        import httpx

        client = self._client()
        request = client.build_request(
            "POST", self.base_url + self._wire.path(stream=stream), json=body,
            headers={**self._wire.headers(self._key()), **(self._options.headers or {})},
        )  # fmt: skip
        try:
            with anyio.fail_after(deadline - anyio.current_time()):
                response = await client.send(request, stream=stream, follow_redirects=False)
                if stream and response.status_code != 200:
                    await response.aread()
                    await response.aclose()
        except TimeoutError as error:
            raise self._late() from error
        except httpx.TimeoutException as error:
            raise self._late() from error
        except httpx.HTTPError as error:
            raise self._broken(error) from error
        status = response.status_code
        if 300 <= status < 400:
            raise InvalidRequestError(
                f"{self._where()} answered {status}, a redirect; it was not followed, since that "
                "would hand the key to another address",
                model=self.name,
                status=status,
                cost_usd=0.0,
            )
        if status >= 400:
            raise self._refusal(status, response.text, response.headers)
        return response

    async def _chunks(
        self,
        response: "httpx.Response",
        deadline: float,
        ledger: "_Ledger",
        dropped: tuple[str, ...],
        began: float,
        span: GenerateSpan,
        slot: Slot,
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the pieces of an answer, then its Completion."""
        reader, stream = EventReader(), self._wire.stream()
        kind = response.headers.get("content-type", "no content type")
        ttft_s: float | None = None

        def read(event: str) -> str:
            if event.strip() == "[DONE]":
                stream.done = True
                return ""
            try:
                data = json.loads(event)
                if isinstance(data, dict) and "error" in data and data["error"]:
                    raise self._refusal(_status_of(data), event, response.headers)
                return stream.feed(data)
            except _UNREADABLE as error:
                raise self._unreadable(f"an event that cannot be read ({error})") from error

        async for piece in self._bytes(response, deadline):
            for event in reader.feed(piece):
                text = read(event)
                if text:
                    if ttft_s is None:
                        ttft_s = time.monotonic() - began - ledger.queued_s
                    yield Chunk(text=text)
        for event in reader.close():
            text = read(event)
            if text:
                yield Chunk(text=text)
        if not stream.done:
            raise self._unreadable(f"a stream of {kind} that ended before the answer did")
        try:
            answer = stream.answer()
        except _UNREADABLE as error:
            raise self._unreadable(f"a stream that lacks {error}") from error
        ledger.ended()
        slot.used = _used(answer)
        completion = self._completion(answer, ledger, dropped, ttft_s)
        yield Chunk(text="", completion=span.answered(completion))

    async def _bytes(self, response: "httpx.Response", deadline: float) -> AsyncIterator[bytes]:
        import anyio
        import httpx

        pieces = response.aiter_bytes()
        while True:
            try:
                with anyio.fail_after(max(0.0, deadline - anyio.current_time())):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except (TimeoutError, httpx.TimeoutException) as error:
                raise self._late() from error
            except httpx.HTTPError as error:
                raise self._broken(error) from error
            yield piece

    def _client(self) -> "httpx.AsyncClient":
        if self._options.client is not None:
            return self._options.client
        import httpx
        from anyio.lowlevel import current_token

        loop = current_token()
        # Connections belong to the event loop they were made in; a new loop gets new ones.
        if self._http is None or self._http[0] != loop:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
            client = httpx.AsyncClient(timeout=None, limits=limits, follow_redirects=False)
            self._http = loop, client
        return self._http[1]

    def _key(self) -> str | None:
        key = self._options.api_key
        for variable in self._key_variables:
            key = key or os.environ.get(variable)
        if key or not self._key_needed:
            return key
        raise AuthenticationError(
            f"no API key for {self.name}: set {' or '.join(self._key_variables)}, "
            "or pass `api_key`",
            model=self.name,
            cost_usd=0.0,
        )

    def _json(self, response: "httpx.Response") -> Mapping[str, Any]:
        try:
            data = response.json()
        except ValueError as error:
            kind = response.headers.get("content-type", "no content type")
            raise self._unreadable(f"{kind} that is not JSON") from error
        if isinstance(data, dict) and data.get("error"):  # a refusal dressed as a success
            raise self._refusal(_status_of(data), response.text, response.headers)
        if not isinstance(data, dict):
            raise self._unreadable(f"a JSON {type(data).__name__}, not an object")
        return data

    def _answer(self, data: Mapping[str, Any]) -> Answer:
        try:
            return self._wire.read(data)
        except _UNREADABLE as error:
            raise self._unreadable(f"an answer without {error}") from error

    def _completion(
        self,
        answer: Answer,
        ledger: "_Ledger",
        dropped: tuple[str, ...],
        ttft_s: float | None = None,
    ) -> Completion:
        price = self._prices.cost_usd(
            self.name, answer.input_tokens, answer.output_tokens, answer.cached_tokens
        )
        cost = ledger.cost(price)
        extra: dict[str, Any] = {}
        if ledger.queued_s > 0:
            extra["queued_s"] = ledger.queued_s
        if cost is None and price is not None:
            extra["known_cost_usd"] = price  # an earlier attempt may have been billed too
        if answer.finish == "filtered" and self._options.raise_filtered:
            raise ContentFilteredError(
                f"{self.name} filtered or refused: {answer.text[:200]!r}",
                model=self.name,
                cost_usd=cost,
                request_id=answer.request_id,
            )
        logprobs = answer.logprobs or None
        return Completion(
            text=answer.text,
            model=self.name,
            served_by=answer.served_by,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            cached_tokens=answer.cached_tokens,
            reasoning_tokens=answer.reasoning_tokens,
            cost_usd=cost,
            billed_usd=cost,
            confidence=math.exp(math.fsum(logprobs) / len(logprobs)) if logprobs else None,
            confidence_source="logprobs" if logprobs else None,
            logprobs=logprobs,
            top_logprobs=answer.top_logprobs or None,
            latency_s=ledger.latency_s,
            ttft_s=ttft_s,
            finish=answer.finish,
            request_id=answer.request_id,
            attempts=ledger.attempts,
            dropped=dropped,
            extra=extra,
        )

    def _where(self) -> str:
        return f"{self.name} at {self.base_url}"

    def _refusal(self, status: int, text: str, headers: Mapping[str, str]) -> ModelError:
        key = self._key()
        if key:  # some servers quote the key they refuse
            text = text.replace(key, "***")
        if status == 200:
            return self._unreadable("an error without a status")
        return error_from(status, text, headers, model=self.name, where=self._where())

    def _late(self) -> ModelTimeoutError:
        return ModelTimeoutError(
            f"no answer from {self._where()} within {self._options.timeout_s:g} s", model=self.name
        )

    def _broken(self, error: Exception) -> ConnectionFailedError:
        import httpx

        said = str(error) or type(error).__name__
        # A connection that was never made cannot have been billed.
        cost = 0.0 if isinstance(error, httpx.ConnectError) else None
        return ConnectionFailedError(
            f"cannot reach {self._where()}: {said}", model=self.name, cost_usd=cost
        )

    def _unreadable(self, what: str) -> ResponseFormatError:
        return ResponseFormatError(f"{self._where()} answered with {what}", model=self.name)


class _Ledger:
    """What the attempts at one answer cost, in money and time."""

    __slots__ = ("attempts", "costs", "latency_s", "queued_s", "started")

    def __init__(self) -> None:
        self.attempts, self.queued_s = 0, 0.0
        self.costs: list[float | None] = []
        self.started: float | None = None
        self.latency_s = 0.0

    def began(self, slot: Slot) -> None:
        self.queued_s += slot.queued_s
        if self.started is None:
            self.started = time.monotonic() - self.queued_s

    def ended(self) -> None:
        started = time.monotonic() if self.started is None else self.started
        self.latency_s = max(0.0, time.monotonic() - started - self.queued_s)

    def cost(self, last: float | None = 0.0) -> float | None:
        costs = [*self.costs, last]
        return None if None in costs else sum(c for c in costs if c is not None)


def _used(answer: Answer) -> int | None:
    if answer.input_tokens is None:
        return None
    return answer.input_tokens + (answer.output_tokens or 0)


def _estimate(request: Request) -> int:
    """Return the tokens to reserve: a quarter of the letters, and the longest answer."""
    return sum(len(m["content"]) for m in request.messages) // 4 + request.max_tokens


def _status_of(data: Mapping[str, Any]) -> int:
    error = data["error"]
    status = error.get("code") if isinstance(error, dict) else None
    if isinstance(status, int) and 400 <= status < 600:
        return status
    by_type = {"overloaded_error": 529, "rate_limit_error": 429, "api_error": 500, "authentication_error": 401, "invalid_request_error": 400, "server_error": 500}  # noqa: E501 # fmt: skip
    kind = error.get("type") if isinstance(error, dict) else None
    return by_type.get(str(kind), 200)
