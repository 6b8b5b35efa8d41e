"""OpenAI's chat completions and every server that speaks them (llama.cpp, vLLM, Ollama, Azure)."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode, urlsplit

from crucible_ensemble.completion import Finish
from crucible_ensemble.models.options import Options, Unsupported
from crucible_ensemble.models.provider import ProviderModel
from crucible_ensemble.models.wire import Answer, Request, count, text_of

if TYPE_CHECKING:
    import httpx

    from crucible_ensemble.limits import Breaker, Limiter
    from crucible_ensemble.models.connections import Connections
    from crucible_ensemble.prices import PriceBook
    from crucible_ensemble.retry import Retries

TokenParameter = Literal["auto", "max_tokens", "max_completion_tokens"]
_FINISH: Mapping[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "filtered",
    "tool_calls": "tool",
    "function_call": "tool",
}
# o1, o3-mini, gpt-5, gpt-6-sol: these refuse `max_tokens`.
_REASONING = re.compile(r"^(o\d|gpt-([5-9]|\d\d))")
_OWN_HOST = "api.openai.com"


class OpenAIModel(ProviderModel):
    """A client of one model behind a chat completions endpoint.

    Parameters
    ----------
    model : str
        The provider's name of the model, such as "gpt-4o-mini"; on Azure the deployment.
    base_url : str
        Up to and including "/v1"; the path "/chat/completions" is added. On Azure the resource,
        such as "https://NAME.openai.azure.com".
    api_key : str, optional
        Else OPENAI_API_KEY, on Azure AZURE_OPENAI_API_KEY, read at the first call. Only OpenAI's
        and Azure's own servers need one.
    name : str, optional
        "provider/model" as it appears in prices, reports and spans.
    api_version : str, optional
        Makes the server an Azure resource.
    logprobs : bool
        Ask for the log-probabilities of the answer's tokens.
    top_logprobs : int, in [0, 20]
        Ask for as many alternatives at each token; needs `logprobs`.
    token_parameter : {"auto", "max_tokens", "max_completion_tokens"}
        What the limit is called; "auto" knows OpenAI's own models.
    timeout_s, retries, limiter, breaker, prices, unsupported, raise_filtered, capture_content, \
extra_body, headers, connections, client
        See `crucible_ensemble.models.options.Options`.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = f"https://{_OWN_HOST}/v1",
        api_key: str | None = None,
        name: str | None = None,
        api_version: str | None = None,
        logprobs: bool = False,
        top_logprobs: int = 0,
        token_parameter: TokenParameter = "auto",
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
        if token_parameter not in ("auto", "max_tokens", "max_completion_tokens"):
            raise ValueError(f'`token_parameter` must be "auto", "max_tokens" or "max_completion_tokens", got {token_parameter!r}')  # fmt: skip # noqa: E501
        own = urlsplit(base_url).hostname == _OWN_HOST
        azure = api_version is not None
        if token_parameter == "auto":
            newer = (own or azure) and _REASONING.match(model)
            token_parameter = "max_completion_tokens" if newer else "max_tokens"
        default = f"azure/{model}" if azure else f"openai/{model}"
        variable = "AZURE_OPENAI_API_KEY" if azure else "OPENAI_API_KEY"
        name = name or default
        super().__init__(
            _ChatCompletions(
                model, name.partition("/")[0], logprobs=logprobs, top_logprobs=top_logprobs,
                token_parameter=token_parameter, api_version=api_version,
                max_stop=4 if own or azure else None,
            ),
            name=name,
            base_url=base_url,
            # A key for OpenAI goes to OpenAI, or to where the user pointed this model.
            key_variables=(variable,),
            key_needed=own or azure,
            options=Options(
                api_key=api_key, timeout_s=timeout_s, retries=retries, limiter=limiter,
                breaker=breaker, prices=prices, unsupported=unsupported,
                raise_filtered=raise_filtered, capture_content=capture_content,
                extra_body=extra_body, headers=headers, connections=connections, client=client,
            ),
        )  # fmt: skip


class _ChatCompletions:
    """The wire format, https://platform.openai.com/docs/api-reference/chat ."""

    def __init__(
        self,
        model: str,
        provider: str,
        *,
        logprobs: bool,
        top_logprobs: int,
        token_parameter: str,
        api_version: str | None,
        max_stop: int | None,
    ) -> None:
        self.provider, self.max_stop = provider, max_stop
        offers = {"temperature", "seed", "stop", "stream"}
        self.supports = frozenset(offers | ({"logprobs"} if logprobs else set()))
        self._model, self._api_version = model, api_version
        self._logprobs, self._top_logprobs = logprobs, top_logprobs
        self._token_parameter = token_parameter

    def path(self, *, stream: bool) -> str:
        if self._api_version is None:
            return "/chat/completions"
        query = urlencode({"api-version": self._api_version})
        return f"/openai/deployments/{self._model}/chat/completions?{query}"

    def headers(self, key: str | None, /) -> dict[str, str]:
        if key is None:
            return {}
        return {"Authorization": f"Bearer {key}"} if self._api_version is None else {"api-key": key}

    def refuses(self, request: Request, /) -> str | None:
        many = self.max_stop is not None and len(request.stop) > self.max_stop
        return "stop" if many else None

    def body(self, request: Request, /, *, stream: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": list(request.messages),
            self._token_parameter: request.max_tokens,
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if self._logprobs:
            body["logprobs"] = True
        if self._top_logprobs:
            body["top_logprobs"] = self._top_logprobs
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def read(self, data: Mapping[str, Any], /) -> Answer:
        choice = data["choices"][0]
        message = choice["message"]
        refusal = text_of(message.get("refusal"))
        return _answer(
            data, text_of(message.get("content")) or refusal, bool(refusal),
            choice.get("finish_reason"), (choice.get("logprobs") or {}).get("content") or (),
        )  # fmt: skip

    def stream(self) -> "_ChatStream":
        return _ChatStream()


class _ChatStream:
    """Adds up the deltas of one choice; usage comes in an event of its own."""

    def __init__(self) -> None:
        self.done = False
        self._text: list[str] = []
        self._refused = False
        self._finish: str | None = None
        self._tokens: list[Mapping[str, Any]] = []
        self._facts: dict[str, Any] = {}

    def feed(self, event: Mapping[str, Any], /) -> str:
        for name in ("id", "model", "system_fingerprint", "usage"):
            if event.get(name):
                self._facts[name] = event[name]
        if not event.get("choices"):
            return ""
        choice = event["choices"][0]
        delta = choice.get("delta") or {}
        refusal = text_of(delta.get("refusal"))
        text = text_of(delta.get("content")) + refusal
        self._refused |= bool(refusal)
        self._text.append(text)
        self._tokens += (choice.get("logprobs") or {}).get("content") or ()
        if choice.get("finish_reason"):
            self._finish = choice["finish_reason"]
            self.done = True  # some servers end without [DONE]
        return text

    def answer(self) -> Answer:
        text = "".join(self._text)
        return _answer(self._facts, text, self._refused, self._finish, self._tokens)


def _answer(
    data: Mapping[str, Any], text: str, refused: bool, finish: str | None, tokens: Any
) -> Answer:
    usage = data.get("usage") or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    served = "/".join(s for s in (data.get("model"), data.get("system_fingerprint")) if s)
    alternatives = [token.get("top_logprobs") or () for token in tokens]
    return Answer(
        text=text,
        finish="filtered" if refused else _FINISH.get(str(finish), "unknown"),
        served_by=served or None,
        request_id=data.get("id"),
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        cached_tokens=count(cached),
        reasoning_tokens=count(reasoning),
        logprobs=[float(token["logprob"]) for token in tokens] or None,
        top_logprobs=[_top(place) for place in alternatives] if any(alternatives) else None,
    )  # fmt: skip


def _top(place: Any) -> dict[str, float]:
    return {str(other["token"]): float(other["logprob"]) for other in place}
