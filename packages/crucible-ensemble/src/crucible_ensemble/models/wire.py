"""What a provider's wire format is: a request to build, an answer, a stream and errors to read."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from crucible_ensemble.completion import Finish
from crucible_ensemble.errors import (
    AuthenticationError,
    ContextLengthError,
    InvalidRequestError,
    ModelError,
    ModelNotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)

_BY_STATUS: Mapping[int, type[ModelError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: ServerError,
    409: ServerError,
    429: RateLimitError,
    503: OverloadedError,
    529: OverloadedError,
}
# OpenAI and vLLM; Anthropic; Gemini.
_LENGTHS = (
    re.compile(r"maximum context length is (?P<limit>\d[\d,]*)"),
    re.compile(r"(?:resulted in|requested) (?P<tokens>\d[\d,]*) tokens"),
    re.compile(r"(?P<tokens>\d[\d,]*) tokens > (?P<limit>\d[\d,]*) maximum"),
    re.compile(
        r"input token count \(?(?P<tokens>\d[\d,]*)\)? exceeds the maximum number of tokens "
        r"allowed \(?(?P<limit>\d[\d,]*)"
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked, checked, before it becomes a body."""

    messages: Sequence[Mapping[str, str]]
    temperature: float | None
    max_tokens: int
    seed: int | None
    stop: Sequence[str]

    def without(self, option: str) -> "Request":
        """Return the request without one option."""
        return replace(self, **{option: () if option == "stop" else None})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider said, before it has a price."""

    text: str
    finish: Finish
    served_by: str | None = None
    request_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    logprobs: Sequence[float] | None = None
    top_logprobs: Sequence[Mapping[str, float]] | None = None


class Stream(Protocol):
    """Reads the events of one streamed answer."""

    done: bool

    def feed(self, event: Mapping[str, Any], /) -> str:
        """Take one event; return the text it adds."""
        ...

    def answer(self) -> Answer:
        """Return what the whole stream said."""
        ...


class Wire(Protocol):
    """One provider's API."""

    provider: str
    supports: frozenset[str]
    max_stop: int | None

    def path(self, *, stream: bool) -> str:
        """Return what is added to the base URL."""
        ...

    def headers(self, key: str | None, /) -> dict[str, str]:
        """Return the headers that carry the key."""
        ...

    def body(self, request: Request, /, *, stream: bool) -> dict[str, Any]:
        """Return the JSON body."""
        ...

    def refuses(self, request: Request, /) -> str | None:
        """Return the name of an option whose value the API does not take, else None."""
        ...

    def read(self, data: Mapping[str, Any], /) -> Answer:
        """Read an answer; raises KeyError, IndexError, TypeError or ValueError if it cannot."""
        ...

    def stream(self) -> Stream:
        """Return a reader for one streamed answer."""
        ...


def error_from(
    status: int, text: str, headers: Mapping[str, str], *, model: str, where: str
) -> ModelError:
    """Return the error that a refusal stands for, in the provider's words.

    Notes
    -----
    Refusals of the 4xx kind are not billed: their cost is 0. Nobody says so of 5xx: None.
    """
    payload = _payload(text)
    code = str(payload.get("code") or "")
    kind = str(payload.get("type") or payload.get("status") or "")
    said = " ".join(str(payload.get("message") or text or "no explanation").split())[:300]
    facts: dict[str, Any] = {
        "model": model,
        "status": status,
        "retry_after_s": retry_after(headers, payload),
        "request_id": headers.get("x-request-id") or headers.get("request-id"),
        "cost_usd": 0.0 if 400 <= status < 500 and status != 408 else None,
    }
    message = f"{where} answered {status}: {said}"
    if status in (400, 413, 422) and _is_about_context(code, kind, said):
        limit, tokens = _lengths(payload, said)
        return ContextLengthError(message, limit=limit, tokens=tokens, **facts)
    if kind == "RESOURCE_EXHAUSTED":
        return RateLimitError(message, **facts)
    if kind == "overloaded_error":
        return OverloadedError(message, **facts)
    if status == 400 and kind == "INVALID_ARGUMENT" and "api key" in said.casefold():
        return AuthenticationError(message, **facts)  # Gemini answers a wrong key with 400
    found = _BY_STATUS.get(status) or (ServerError if status >= 500 else InvalidRequestError)
    if found is RateLimitError and "insufficient_quota" in (code, kind):
        facts["retryable"] = False
    return found(message, **facts)


def _payload(text: str) -> dict[str, Any]:
    """Return the error object: {"error": {...}}, [{"error": {...}}] or {"message": ...}."""
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict):
        return {}
    error = data.get("error", data)
    return error if isinstance(error, dict) else {"message": error}


def _is_about_context(code: str, kind: str, said: str) -> bool:
    if "context_length_exceeded" in (code, kind) or kind == "exceed_context_size_error":
        return True
    lowered = said.casefold()
    return any(
        words in lowered
        for words in ("prompt is too long", "maximum context length", "exceeds the maximum number of tokens", "input token count")  # noqa: E501
    )  # fmt: skip


def _lengths(payload: Mapping[str, Any], said: str) -> tuple[int | None, int | None]:
    """Return limit and length of the prompt: llama.cpp has fields for them, others say them."""
    limit, tokens = _int(payload.get("n_ctx")), _int(payload.get("n_prompt_tokens"))
    for pattern in _LENGTHS:
        found = pattern.search(said)
        if found is not None:
            named = {name: int(digits.replace(",", "")) for name, digits in found.groupdict().items() if digits}  # noqa: E501 # fmt: skip
            limit, tokens = named.get("limit", limit), named.get("tokens", tokens)
    return limit, tokens


def retry_after(headers: Mapping[str, str], payload: Mapping[str, Any]) -> float | None:
    """Read how long the provider asks to wait: milliseconds, seconds, a date, or RetryInfo."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is not None:
            if value.strip().replace(".", "", 1).isdigit():
                return float(value)
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        for detail in payload.get("details") or ():
            delay = detail.get("retryDelay")
            if delay is not None:
                return max(0.0, float(str(delay).removesuffix("s")))
    except (ValueError, TypeError, AttributeError, OverflowError):
        pass  # a hint that cannot be read is no hint
    return None


def count(value: Any) -> int | None:
    """Return a token count; None if there is none.

    Raises
    ------
    TypeError
        If it is not a count.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"token counts must be integers >= 0, got {value!r}")
    return value


def text_of(value: Any) -> str:
    """Return text; "" for None. Raises TypeError for anything else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"text must be a string, got {type(value).__name__}")
    return value


def total(*counts: int | None) -> int | None:
    """Return the sum of the known counts; None if none is known."""
    known = [n for n in counts if n is not None]
    return sum(known) if known else None


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) else None
