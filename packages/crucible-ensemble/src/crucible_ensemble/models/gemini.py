"""Google's Gemini API, generateContent."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

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
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "filtered",
    "RECITATION": "filtered",
    "LANGUAGE": "filtered",
    "BLOCKLIST": "filtered",
    "PROHIBITED_CONTENT": "filtered",
    "SPII": "filtered",
    "IMAGE_SAFETY": "filtered",
    "MALFORMED_FUNCTION_CALL": "tool",
}


class GeminiModel(ProviderModel):
    """A client of one of Google's Gemini models.

    Parameters
    ----------
    model : str
        Such as "gemini-2.5-flash".
    base_url : str
        Without "/v1beta".
    api_key : str, optional
        Else GEMINI_API_KEY or GOOGLE_API_KEY, read at the first call; sent in a header, never in
        the address.
    name : str, optional
        "provider/model" as it appears in prices, reports and spans.
    logprobs : bool
        Ask for the log-probabilities of the answer's tokens.
    top_logprobs : int, in [0, 20]
        Ask for as many alternatives at each token; needs `logprobs`.
    timeout_s, retries, limiter, breaker, prices, unsupported, raise_filtered, capture_content, \
extra_body, headers, connections, client
        See `crucible_ensemble.models.options.Options`.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "https://generativelanguage.googleapis.com",
        api_key: str | None = None,
        name: str | None = None,
        logprobs: bool = False,
        top_logprobs: int = 0,
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
        if not 0 <= top_logprobs <= 20:
            raise ValueError(f"`top_logprobs` must be in [0, 20], got {top_logprobs}")
        if top_logprobs and not logprobs:
            raise ValueError(f"`logprobs` must be True for `top_logprobs`, got {top_logprobs}")
        super().__init__(
            _GenerateContent(model, logprobs=logprobs, top_logprobs=top_logprobs),
            name=name or f"gemini/{model}",
            base_url=base_url,
            key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            key_needed=True,
            options=Options(
                api_key=api_key, timeout_s=timeout_s, retries=retries, limiter=limiter,
                breaker=breaker, prices=prices, unsupported=unsupported,
                raise_filtered=raise_filtered, capture_content=capture_content,
                extra_body=extra_body, headers=headers, connections=connections, client=client,
            ),
        )  # fmt: skip


class _GenerateContent:
    """The wire format, https://ai.google.dev/api/generate-content ."""

    provider = "gcp.gemini"
    max_stop: int | None = 5

    def __init__(self, model: str, *, logprobs: bool, top_logprobs: int) -> None:
        offers = {"temperature", "seed", "stop", "stream"}
        self.supports = frozenset(offers | ({"logprobs"} if logprobs else set()))
        self._model, self._logprobs, self._top_logprobs = model, logprobs, top_logprobs

    def path(self, *, stream: bool) -> str:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{quote(self._model, safe='')}:{method}"

    def headers(self, key: str | None, /) -> dict[str, str]:
        return {"x-goog-api-key": key or ""}

    def refuses(self, request: Request, /) -> str | None:
        if self.max_stop is not None and len(request.stop) > self.max_stop:
            return "stop"
        hot = request.temperature is not None and request.temperature > 2
        return "temperature" if hot else None

    def body(self, request: Request, /, *, stream: bool) -> dict[str, Any]:
        generation: dict[str, Any] = {"maxOutputTokens": request.max_tokens}
        if request.temperature is not None:
            generation["temperature"] = request.temperature
        if request.seed is not None:
            generation["seed"] = request.seed
        if request.stop:
            generation["stopSequences"] = list(request.stop)
        if self._logprobs:
            generation["responseLogprobs"] = True
        if self._top_logprobs:
            generation["logprobs"] = self._top_logprobs
        body: dict[str, Any] = {
            "contents": [
                {
                    "role": "model" if m["role"] == "assistant" else "user",
                    "parts": [{"text": m["content"]}],
                }
                for m in request.messages
                if m["role"] != "system"
            ],
            "generationConfig": generation,
        }
        system = [{"text": m["content"]} for m in request.messages if m["role"] == "system"]
        if system:
            body["systemInstruction"] = {"parts": system}
        return body

    def read(self, data: Mapping[str, Any], /) -> Answer:
        stream = _ContentStream()
        stream.feed(data)
        if not stream.done:
            data["candidates"][0]["finishReason"]  # names what is missing
        return stream.answer()

    def stream(self) -> "_ContentStream":
        return _ContentStream()


class _ContentStream:
    """Each event is a whole response with the next parts; the last has finish and usage."""

    def __init__(self) -> None:
        self.done = False
        self._text: list[str] = []
        self._finish: Finish = "unknown"
        self._facts: dict[str, Any] = {}
        self._logprobs: list[float] = []
        self._top: list[Mapping[str, float]] = []

    def feed(self, event: Mapping[str, Any], /) -> str:
        for name in ("usageMetadata", "modelVersion", "responseId"):
            if event.get(name):
                self._facts[name] = event[name]
        if (event.get("promptFeedback") or {}).get("blockReason"):
            self._finish, self.done = "filtered", True
            return ""
        if not event.get("candidates"):
            return ""
        candidate = event["candidates"][0]
        parts = (candidate.get("content") or {}).get("parts") or ()
        # Parts marked as thoughts are not the answer.
        text = "".join(text_of(part.get("text")) for part in parts if not part.get("thought"))
        self._text.append(text)
        result = candidate.get("logprobsResult") or {}
        self._logprobs += [float(c["logProbability"]) for c in result.get("chosenCandidates") or ()]
        self._top += [
            {str(c["token"]): float(c["logProbability"]) for c in place.get("candidates") or ()}
            for place in result.get("topCandidates") or ()
        ]
        reason = candidate.get("finishReason")
        if reason and reason != "FINISH_REASON_UNSPECIFIED":
            self._finish, self.done = _FINISH.get(str(reason), "unknown"), True
        return text

    def answer(self) -> Answer:
        usage = self._facts.get("usageMetadata") or {}
        thoughts = count(usage.get("thoughtsTokenCount"))
        shown = count(usage.get("candidatesTokenCount"))
        sent = count(usage.get("promptTokenCount"))
        if shown is None and sent is not None and self._finish == "filtered":
            shown = 0  # a blocked prompt has no candidate, and bills none
        return Answer(
            text="".join(self._text),
            finish=self._finish,
            served_by=self._facts.get("modelVersion"),
            request_id=self._facts.get("responseId"),
            input_tokens=sent,
            output_tokens=total(shown, thoughts),
            cached_tokens=count(usage.get("cachedContentTokenCount")),
            reasoning_tokens=thoughts,
            logprobs=self._logprobs or None,
            top_logprobs=self._top or None,
        )
