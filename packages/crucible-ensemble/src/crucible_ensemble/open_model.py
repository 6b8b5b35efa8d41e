"""From a name to a model."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crucible_ensemble.aliases import aliases, resolve
from crucible_ensemble.errors import ModelNotFoundError
from crucible_ensemble.model import Model
from crucible_ensemble.prices import PriceBook

if TYPE_CHECKING:
    from crucible_ensemble.limits import Limiter

PROVIDERS = ("anthropic", "azure", "gemini", "local", "ollama", "openai", "openai-compatible", "vllm")  # noqa: E501 # fmt: skip
_DEFAULT_URLS: Mapping[str, str] = {
    "ollama": "http://127.0.0.1:11434/v1",
    "vllm": "http://127.0.0.1:8000/v1",
}
_AZURE_VERSION = "2024-10-21"


def open_model(
    name: str,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    limiter: "Limiter | None" = None,
    prices: PriceBook | None = None,
    timeout_s: float | None = None,
    **options: Any,
) -> Model:
    """Open a model by its name.

    Parameters
    ----------
    name : str
        "provider/model": "local/smollm2", "openai/gpt-4o-mini", "anthropic/claude-haiku-4-5",
        "gemini/gemini-2.5-flash", "azure/DEPLOYMENT" and "openai-compatible/NAME" with `base_url`,
        "ollama/llama3.2", "vllm/NAME"; or an alias, see `aliases`.
    api_key, base_url, limiter, prices, timeout_s
        See `OpenAIModel`, `AnthropicModel`, `GeminiModel`. A local model has only the last.
    **options
        Options of the provider's class, such as `logprobs` or, of a local model, `parallel`.

    Raises
    ------
    ModelNotFoundError
        If provider or alias is unknown; near matches are named.
    ValueError
        If a provider needs a `base_url` and has none, or has no such option.
    """
    full = resolve(name)
    provider, slash, model = full.partition("/")
    if provider == "simulated" and slash:
        raise ModelNotFoundError(
            f"{name!r} is a simulation, which a name cannot describe: build a SimulatedModel"
        )
    if not slash or provider not in PROVIDERS or not model:
        raise ModelNotFoundError(_unknown(name, provider))
    if timeout_s is not None:
        options["timeout_s"] = timeout_s
    if provider == "local":
        given = {"api_key": api_key, "base_url": base_url, "limiter": limiter, "prices": prices}
        for option, value in given.items():
            if value is not None:
                raise ValueError(f"`{option}` must not be given for a local model, got {value!r}")
        from crucible_ensemble.models.llamacpp import LlamaCppModel

        return _built(LlamaCppModel, full, None if model == "smollm2" else model, options)
    options |= {"api_key": api_key, "limiter": limiter, "prices": prices, "name": full}
    if provider in ("ollama", "vllm"):
        base_url = base_url or _DEFAULT_URLS[provider]
    if provider == "azure":
        options.setdefault("api_version", _AZURE_VERSION)
    if base_url is not None:
        options["base_url"] = base_url
    elif provider in ("azure", "openai-compatible"):
        raise ValueError(f"`base_url` must be given for {name!r}")
    return _built(_client(provider), full, model, options)


def open_models(
    names: Sequence[str], *, limiter: "Limiter | None" = None, **options: Any
) -> list[Model]:
    """Open several models; those of one provider share a limiter and connections.

    Parameters
    ----------
    names : sequence of str
    limiter : Limiter, optional
        For all of them; by default one for each provider.
    **options
        As in `open_model`, for each of them.
    """
    from crucible_ensemble.limits import Limiter
    from crucible_ensemble.models.connections import Connections

    shared: dict[str, tuple[Limiter, Connections]] = {}
    opened: list[Model] = []
    for name in names:
        provider = resolve(name).partition("/")[0]
        if provider == "local":
            opened.append(open_model(name, **options))
            continue
        if provider not in shared:
            shared[provider] = limiter or Limiter(), Connections()
        admits, connected = shared[provider]
        opened.append(open_model(name, limiter=admits, connections=connected, **options))
    return opened


def _client(provider: str) -> Any:
    if provider == "anthropic":
        from crucible_ensemble.models.anthropic import AnthropicModel

        return AnthropicModel
    if provider == "gemini":
        from crucible_ensemble.models.gemini import GeminiModel

        return GeminiModel
    from crucible_ensemble.models.openai import OpenAIModel

    return OpenAIModel


def _built(kind: Any, name: str, model: str | None, options: Mapping[str, Any]) -> Model:
    import inspect

    known = inspect.signature(kind).parameters
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise ValueError(f"`{option}` must be an option of {name!r}, which has none such{hint}")
    built: Model = kind(model, **options)
    return built


def _unknown(name: str, provider: str) -> str:
    short = aliases()
    near = difflib.get_close_matches(name, [*short, *short.values(), *PROVIDERS], n=3, cutoff=0.4)
    near += difflib.get_close_matches(provider, PROVIDERS, n=2)
    hint = f"; did you mean {', '.join(dict.fromkeys(near))}?" if near else ""
    known = ", ".join([*short, *(f"{p}/..." for p in PROVIDERS)])
    return f"unknown model {name!r}{hint} (known: {known})"
