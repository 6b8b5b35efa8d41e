"""The client of a provider: limits, attempts, deadlines, prices and spans around a wire format."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from crucible_ensemble.completion import Chunk, Completion
from crucible_ensemble.errors import (
    ConnectionFailedError,
    ModelError,
    ModelTimeoutError,
    ServerError,
    UnsupportedOptionError,
)
from crucible_ensemble.limits import Limiter
from crucible_ensemble.model import Prompt
from crucible_ensemble.models.ledger import Ledger
from crucible_ensemble.models.options import Options
from crucible_ensemble.models.sse import EventReader
from crucible_ensemble.models.transport import Transport
from crucible_ensemble.models.wire import Request, Wire
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
        self.name = name
        self.supports = wire.supports
        self._wire = wire
        self._transport = Transport(
            wire, name=name, base_url=base_url, key_variables=key_variables,
            key_needed=key_needed, options=options,
        )  # fmt: skip
        self.base_url = self._transport.base_url
        self._host = urlsplit(self.base_url).hostname
        self._options = options
        self._retries = options.retries or Retries()
        self._limiter = options.limiter or Limiter()
        self._prices = options.prices or PriceBook.default()

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
        await self._transport.aclose()

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
        body = self._body(request, stream=False)
        ledger = Ledger(self.name, self._prices)

        async def attempt(number: int) -> Completion:
            async with self._limiter.slot(_estimate(request)) as slot:
                ledger.began(slot)
                with self._span(request, number) as span:
                    response = await self._transport.send(
                        body, stream=False, deadline=self._deadline()
                    )
                    answer = self._transport.answer(response)
                    return span.answered(ledger.completion(answer, self._options, dropped))

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
        again; what breaks later is raised while reading, and may have been billed.
        """
        request, dropped = self._request(prompt, temperature, max_tokens, seed, stop)
        body = self._body(request, stream=True)
        ledger = Ledger(self.name, self._prices)
        async with AsyncExitStack() as open_until_read:

            async def attempt(number: int) -> "tuple[httpx.Response, GenerateSpan, float]":
                async with AsyncExitStack() as mine:
                    slot = await mine.enter_async_context(self._limiter.slot(_estimate(request)))
                    ledger.began(slot)
                    span = mine.enter_context(self._span(request, number))
                    deadline = self._deadline()
                    response = await self._transport.send(body, stream=True, deadline=deadline)
                    mine.push_async_callback(_closed, response)
                    open_until_read.push_async_exit(mine.pop_all())
                return response, span, deadline

            response, span, deadline = await self._tried(attempt, ledger)
            async with aclosing(self._chunks(response, deadline, ledger, dropped, span)) as chunks:
                yield chunks

    async def _chunks(
        self,
        response: "httpx.Response",
        deadline: float,
        ledger: Ledger,
        dropped: tuple[str, ...],
        span: GenerateSpan,
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the pieces of an answer, then its Completion."""
        reader, stream, transport = EventReader(), self._wire.stream(), self._transport
        ttft_s: float | None = None
        try:
            async for piece in transport.pieces(response, deadline):
                for event in reader.feed(piece):
                    text = transport.read_event(stream, event, response.headers)
                    if text:
                        ttft_s = ledger.since() if ttft_s is None else ttft_s
                        yield Chunk(text=text)
            for event in reader.close():
                text = transport.read_event(stream, event, response.headers)
                if text:
                    yield Chunk(text=text)
            answer = transport.streamed_answer(stream, response.headers)
        except ModelError as error:
            ledger.failed(error, begun=True)
            raise
        completion = ledger.completion(answer, self._options, dropped, ttft_s)
        yield Chunk(text="", completion=span.answered(completion))

    def _request(
        self,
        prompt: Prompt,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
        stop: Sequence[str],
    ) -> tuple[Request, tuple[str, ...]]:
        """Return what is sent, and the names of the options that are left out."""
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

    def _body(self, request: Request, *, stream: bool) -> dict[str, Any]:
        return {**self._wire.body(request, stream=stream), **(self._options.extra_body or {})}

    def _deadline(self) -> float:
        import anyio

        return anyio.current_time() + self._options.timeout_s

    def _span(self, request: Request, attempt: int) -> AbstractContextManager[GenerateSpan]:
        return generate_span(
            self.name,
            system=self._wire.provider,
            attempt=attempt,
            request={
                REQUEST_TEMPERATURE: request.temperature,
                REQUEST_MAX_TOKENS: request.max_tokens,
                REQUEST_SEED: request.seed,
                SERVER_ADDRESS: self._host,
            },
            messages=request.messages if self._options.capture_content else None,
        )

    async def _tried(self, attempt: Callable[[int], Awaitable[T]], ledger: Ledger) -> T:
        """Run attempts under breaker and retries; what they cost together is the error's cost."""
        breaker = self._options.breaker

        async def counted(number: int) -> T:
            if breaker is not None:
                breaker.check(self.name)
            ledger.attempts += 1
            try:
                result = await attempt(number)
            except ModelError as error:
                ledger.failed(error)
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


async def _closed(response: "httpx.Response") -> None:
    import anyio

    with anyio.CancelScope(shield=True):
        await response.aclose()


def _estimate(request: Request) -> int:
    """Return the tokens to reserve: a quarter of the letters, and the longest answer."""
    return sum(len(m["content"]) for m in request.messages) // 4 + request.max_tokens
