"""OpenAI's chat completions and every server that speaks them (llama.cpp, vLLM, Ollama, ...)."""

import math
import os
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from crucible_ensemble.completion import Completion, Finish
from crucible_ensemble.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailedError,
    MalformedResponseError,
    ModelError,
    ModelNotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    TimedOutError,
)
from crucible_ensemble.model import Prompt
from crucible_ensemble.prices import PriceBook
from crucible_ensemble.prompts import check_options, to_messages
from crucible_ensemble.retry import Retries, with_retries
from crucible_ensemble.tracing import generate_span

if TYPE_CHECKING:
    import httpx

_FINISH: Mapping[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "filtered",
    "tool_calls": "tool",
}
_BY_STATUS: Mapping[int, type[ModelError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: TimedOutError,
    429: RateLimitError,
}


class OpenAIModel:
    """A client of one model behind a chat completions endpoint.

    Parameters
    ----------
    model : str
        The provider's name of the model, such as "gpt-4o-mini".
    base_url : str
        Up to and including "/v1"; the path "/chat/completions" is added.
    api_key : str, optional
        Else the environment variable OPENAI_API_KEY, read at the first call. Servers on the
        loopback interface need none.
    name : str, optional
        "provider/model" as it appears in prices, reports and spans.
    timeout_s : float, > 0
        For one attempt.
    retries : Retries
    prices : PriceBook, optional
    logprobs : bool
        Ask for the log-probabilities of the answer's tokens.
    extra_body : mapping
        Sent along with every request, for what is special to a server.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key: str | None = None,
        name: str | None = None,
        timeout_s: float = 30.0,
        retries: Retries | None = None,
        prices: PriceBook | None = None,
        logprobs: bool = False,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        if not timeout_s > 0:
            raise ValueError(f"`timeout_s` must be > 0, got {timeout_s}")
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"`base_url` must begin with http:// or https://, got {base_url!r}")
        self.name = name or f"openai/{model}"
        self.base_url = base_url.rstrip("/")
        self._model = model
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._retries = retries or Retries()
        self._prices = prices or PriceBook.default()
        self._logprobs = logprobs
        self._extra_body = dict(extra_body or {})
        self._client: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"OpenAIModel({self.name!r}, base_url={self.base_url!r})"

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the model in an experiment's design."""
        return {"model": self.name, "base_url": self.base_url, "extra": self._extra_body}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

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
        ModelError
            If every attempt failed; the class says how.
        """
        check_options(temperature=temperature, max_tokens=max_tokens)
        body: dict[str, Any] = {
            "model": self._model,
            "messages": to_messages(prompt),
            "max_tokens": max_tokens,
        }
        optional = {"temperature": temperature, "seed": seed, "stop": list(stop) or None}
        body |= {key: value for key, value in optional.items() if value is not None}
        if self._logprobs:
            body["logprobs"] = True
        body |= self._extra_body
        system = self.name.partition("/")[0]
        with generate_span(self.name, system=system) as span:
            started = time.monotonic()

            async def once() -> tuple[Mapping[str, Any], float, str | None]:
                sent = time.monotonic()
                data, request_id = await self._post(body)
                return data, time.monotonic() - sent, request_id

            (data, latency_s, request_id), attempts = await with_retries(once, self._retries)
            total_s = time.monotonic() - started
            completion = self._read(
                data, latency_s=latency_s if attempts == 1 else total_s, attempts=attempts,
                request_id=request_id,
            )  # fmt: skip
            return span.answered(completion)

    async def _post(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | None]:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=httpx.Timeout(self._timeout_s), limits=httpx.Limits(max_connections=None)
            )
        url = f"{self.base_url}/chat/completions"
        try:
            response = await self._client.post(url, json=body, headers=self._headers())
        except httpx.TimeoutException as error:
            raise TimedOutError(
                f"no answer from {self._where()} within {self._timeout_s:g} s", model=self.name
            ) from error
        except httpx.HTTPError as error:
            raise ConnectionFailedError(
                f"cannot reach {self._where()}: {error or type(error).__name__}", model=self.name
            ) from error
        request_id = response.headers.get("x-request-id")
        if response.status_code >= 400:
            raise self._refusal(response.status_code, response.text, response.headers, request_id)
        try:
            data = response.json()
        except ValueError as error:
            kind = response.headers.get("content-type", "no content type")
            raise MalformedResponseError(
                f"{self._where()} answered with {kind} that is not JSON", model=self.name
            ) from error
        if not isinstance(data, dict):
            raise MalformedResponseError(f"{self._where()} did not answer with an object", model=self.name)  # fmt: skip # noqa: E501
        return data, request_id

    def _headers(self) -> dict[str, str]:
        key = self._api_key or os.environ.get("OPENAI_API_KEY")
        if key:
            return {"Authorization": f"Bearer {key}"}
        if self.base_url.split("/")[2].split(":")[0] == "api.openai.com":
            raise AuthenticationError(
                "no API key: set OPENAI_API_KEY or pass `api_key`", model=self.name
            )
        return {}

    def _where(self) -> str:
        return f"{self.name} at {self.base_url}"

    def _refusal(
        self, status: int, text: str, headers: Mapping[str, str], request_id: str | None
    ) -> ModelError:
        kind = _BY_STATUS.get(status) or (ServerError if status >= 500 else BadRequestError)
        detail = " ".join(_error_message(text).split())[:300]
        return kind(
            f"{self._where()} answered {status}: {detail}",
            model=self.name,
            status=status,
            retry_after_s=_retry_after(headers),
            request_id=request_id,
        )

    def _read(
        self, data: Mapping[str, Any], *, latency_s: float, attempts: int, request_id: str | None
    ) -> Completion:
        try:
            choice = data["choices"][0]
            message = choice["message"]
            text = message.get("content") or message.get("refusal") or ""
            tokens = (choice.get("logprobs") or {}).get("content") or ()
            logprobs = [float(token["logprob"]) for token in tokens] or None
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise MalformedResponseError(
                f"{self._where()} left out {error} in its answer", model=self.name
            ) from error
        usage = data.get("usage") or {}
        sent, received = usage.get("prompt_tokens"), usage.get("completion_tokens")
        cost = self._prices.cost_usd(self.name, sent, received)
        refused = bool(message.get("refusal"))
        finish = "filtered" if refused else _FINISH.get(choice.get("finish_reason"), "unknown")
        served = "/".join(s for s in (data.get("model"), data.get("system_fingerprint")) if s)
        return Completion(
            text=text,
            model=self.name,
            served_by=served or None,
            input_tokens=sent,
            output_tokens=received,
            cost_usd=cost,
            billed_usd=cost,
            confidence=math.exp(math.fsum(logprobs) / len(logprobs)) if logprobs else None,
            confidence_source="logprobs" if logprobs else None,
            logprobs=logprobs,
            latency_s=latency_s,
            finish=finish,
            request_id=request_id or data.get("id"),
            attempts=attempts,
        )


def _error_message(text: str) -> str:
    import json

    try:
        error = json.loads(text).get("error")
    except (ValueError, AttributeError):
        return text or "no explanation"
    return str(error.get("message", error) if isinstance(error, dict) else error or text)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long the provider asks to wait: milliseconds, seconds, or a date."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
