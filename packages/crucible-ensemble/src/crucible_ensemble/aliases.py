"""Short names of models, and what they stand for."""

from collections.abc import Mapping
from types import MappingProxyType

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "gpt4": "openai/gpt-4o",
        "gpt4_mini": "openai/gpt-4o-mini",
        "openai_gpt4o": "openai/gpt-4o",
        "openai_gpt4o_mini": "openai/gpt-4o-mini",
        "claude": "anthropic/claude-sonnet-4-6",
        "anthropic_haiku": "anthropic/claude-haiku-4-5",
        "claude_haiku": "anthropic/claude-haiku-4-5",
        "anthropic_opus": "anthropic/claude-opus-4-8",
        "claude_opus": "anthropic/claude-opus-4-8",
        "gemini": "gemini/gemini-2.5-flash",
        "gemini_flash": "gemini/gemini-2.5-flash",
        "gemini_pro": "gemini/gemini-2.5-pro",
        "smollm2": "local/smollm2",
    }
)


def aliases() -> dict[str, str]:
    """Return every alias with the name it stands for.

    Examples
    --------
    >>> aliases()["claude"]
    'anthropic/claude-sonnet-4-6'
    """
    return dict(_ALIASES)


def resolve(name: str) -> str:
    """Return what an alias stands for; any other name as it is."""
    return _ALIASES.get(name, name)
