"""From a name to a model."""

import difflib
from typing import Any

from crucible_ensemble.errors import ModelNotFoundError
from crucible_ensemble.model import Model
from crucible_ensemble.prices import PriceBook

ALIASES = {
    "gpt4": "openai/gpt-4o",
    "openai_gpt4o": "openai/gpt-4o",
    "gpt4_mini": "openai/gpt-4o-mini",
    "openai_gpt4o_mini": "openai/gpt-4o-mini",
    "smollm2": "local/smollm2",
}
PROVIDERS = ("local", "openai", "openai-compatible", "ollama", "vllm")
_DEFAULT_URLS = {"ollama": "http://127.0.0.1:11434/v1", "vllm": "http://127.0.0.1:8000/v1"}


def open_model(
    name: str,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    prices: PriceBook | None = None,
    timeout_s: float = 30.0,
    **options: Any,
) -> Model:
    """Open a model by its name.

    Parameters
    ----------
    name : str
        "provider/model": "local/smollm2", "openai/gpt-4o-mini", "ollama/llama3.2",
        "openai-compatible/NAME" with `base_url`; or an alias such as "smollm2".
    **options
        Options of the provider's class, such as `parallel` of a local model.

    Raises
    ------
    ModelNotFoundError
        If provider or alias is unknown; near matches are named.
    ValueError
        If a provider needs a `base_url` and has none.
    """
    name = ALIASES.get(name, name)
    provider, slash, model = name.partition("/")
    if not slash or provider not in PROVIDERS or not model:
        known = [*ALIASES, *(f"{p}/..." for p in PROVIDERS)]
        near = difflib.get_close_matches(name, [*ALIASES, *PROVIDERS], n=3, cutoff=0.4)
        near += difflib.get_close_matches(provider, PROVIDERS, n=2)
        hint = f"; did you mean {', '.join(dict.fromkeys(near))}?" if near else ""
        raise ModelNotFoundError(f"unknown model {name!r}{hint} (known: {', '.join(known)})")
    if provider == "local":
        from crucible_ensemble.models.llamacpp import LlamaCppModel

        return LlamaCppModel(None if model == "smollm2" else model, **options)
    from crucible_ensemble.models.openai import OpenAIModel

    if base_url is None and provider != "openai":
        base_url = _DEFAULT_URLS.get(provider)
        if base_url is None:
            raise ValueError(f"`base_url` must be given for {name!r}")
    if base_url is not None:
        options["base_url"] = base_url
    return OpenAIModel(
        model, name=name, api_key=api_key, prices=prices, timeout_s=timeout_s, **options
    )
