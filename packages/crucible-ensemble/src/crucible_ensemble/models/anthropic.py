"""Anthropic's messages API."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crucible_ensemble.completion import Finish
from crucible_ensemble.models.options import Options, Unsupported
from crucible_ensemble.models.provider import ProviderModel
from crucible_ensemble.models.wire import Answer, Request, count, text_of, total

if TYPE_CHECKING:
    import httpx

    from crucible_ensemble.limits import Breaker, Limiter
    from crucible_ensemble.models.connections import Connections
    from crucible_ensemble.prices import PriceBook
    from crucible_ensemble.retry import Retries

_FINISH: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "refusal": "filtered",
    "tool_use": "tool",
}


class AnthropicModel(ProviderModel):
    """A client of one of Anthropic's models.

    Parameters
    ----------
    model : str
        Such as "claude-haiku-4-5".
    base_url : str
        Without "/v1".
    api_key : str, optional
        Else ANTHROPIC_API_KEY, read at the first call.
    name : str, optional
        "provider/model" as it appears in prices, reports and spans.
    timeout_s, retries, limiter, breaker, prices, unsupported, raise_filtered, capture_content, \
extra_body, headers, connections, client
        See `crucible_ensemble.models.options.Options`.

    Notes
    -----
    The API has neither seeds nor log-probabilities, and temperatures up to 1.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "https://api.anthropic.com",
        api_key: str | None = None,
        name: str | None = None,
        timeout_s: float = 30.0,
        retries: "Retries | None" = None,
        limiter: "Limiter | None" = None,
        breaker: "Breaker | None" = None,
        prices: "PriceBook | None" = None,
        unsupported: Unsupported = "raise",
        raise_filtered: bool = False,
        capture_content: bool = False,
        extra_body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        connections: "Connections | None" = None,
        client: "httpx.AsyncClient | None" = None,
    ) -> None:
        if not model:
            raise ValueError("`model` must not be empty")
        super().__init__(
            _Messages(model),
            name=name or f"anthropic/{model}",
            base_url=base_url,
            key_variables=("ANTHROPIC_API_KEY",),
            key_needed=True,
            options=Options(
                api_key=api_key, timeout_s=timeout_s, retries=retries, limiter=limiter,
                breaker=breaker, prices=prices, unsupported=unsupported,
                raise_filtered=raise_filtered, capture_content=capture_content,
                extra_body=extra_body, headers=headers, connections=connections, client=client,
            ),
        )  # fmt: skip


class _Messages:
    """The wire format, https://docs.anthropic.com/en/api/messages ."""

    provider = "anthropic"
    supports = frozenset({"temperature", "stop", "stream"})
    max_stop: int | None = None

    def __init__(self, model: str) -> None:
        self._model = model

    def path(self, *, stream: bool) -> str:
        return "/v1/messages"

    def headers(self, key: str | None, /) -> dict[str, str]:
        return {"x-api-key": key or "", "anthropic-version": "2023-06-01"}

    def refuses(self, request: Request, /) -> str | None:
        hot = request.temperature is not None and request.temperature > 1
        return "temperature" if hot else None

    def body(self, request: Request, /, *, stream: bool) -> dict[str, Any]:
        system = "\n\n".join(m["content"] for m in request.messages if m["role"] == "system")
        body: dict[str, Any] = {
            "model": self._model,
            "max_tokens": request.max_tokens,
            "messages": [m for m in request.messages if m["role"] != "system"],
        }
        if system:
            body["system"] = system
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        if stream:
            body["stream"] = True
        return body

    def read(self, data: Mapping[str, Any], /) -> Answer:
        text = "".join(text_of(part["text"]) for part in data["content"] if part["type"] == "text")
        return _answer(data, text, data.get("stop_reason"), data.get("usage") or {})

    def stream(self) -> "_MessageStream":
        return _MessageStream()


class _MessageStream:
    """message_start, content_block_delta, message_delta, message_stop; others are skipped."""

    def __init__(self) -> None:
        self.done = False
        self._text: list[str] = []
        self._message: Mapping[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._stop_reason: str | None = None

    def feed(self, event: Mapping[str, Any], /) -> str:
        kind = event["type"]
        if kind == "message_start":
            self._message = event["message"]
            self._usage |= self._message.get("usage") or {}
        elif kind == "content_block_delta" and event["delta"]["type"] == "text_delta":
            self._text.append(text_of(event["delta"]["text"]))
            return self._text[-1]
        elif kind == "message_delta":
            self._stop_reason = event["delta"].get("stop_reason")
            self._usage |= event.get("usage") or {}
        elif kind == "message_stop":
            self.done = True
        return ""

    def answer(self) -> Answer:
        return _answer(self._message, "".join(self._text), self._stop_reason, self._usage)


def _answer(
    message: Mapping[str, Any], text: str, stop_reason: str | None, usage: Mapping[str, Any]
) -> Answer:
    # Tokens written to or read from the provider's cache are not in `input_tokens`.
    read = count(usage.get("cache_read_input_tokens"))
    written = count(usage.get("cache_creation_input_tokens"))
    fresh = count(usage.get("input_tokens"))
    return Answer(
        text=text,
        finish=_FINISH.get(str(stop_reason), "unknown"),
        served_by=message.get("model"),
        request_id=message.get("id"),
        input_tokens=None if fresh is None else total(fresh, read, written),
        output_tokens=count(usage.get("output_tokens")),
        cached_tokens=read,
    )
