"""Which attributes hold prompts, answers and other content; dropped unless asked for."""

import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any

DROPPED = "crucible.dropped"
"""The attribute that lists the names of what was dropped."""

_CONTENT = re.compile(
    r"gen_ai\.(input|output)\.messages|gen_ai\.system_instructions|gen_ai\.prompt"
    r"|gen_ai\.completion|gen_ai\.tool\.call\.(arguments|result)|gen_ai\.tool\.definitions"
    r"|gen_ai\.(retrieval|content)\..*|(input|output)\.value"
    r"|llm\.(input|output)_messages\..*|llm\.(prompts|completions).*"
    r"|traceloop\.entity\.(input|output)|crucible\.(prompt|answer)"
    r"|exception\.(message|stacktrace)",
    re.DOTALL,
)


@lru_cache(maxsize=4_096)
def is_content(name: str) -> bool:
    """Whether an attribute or a span event of this name holds content."""
    return _CONTENT.fullmatch(name) is not None


def drop_content(attributes: MutableMapping[str, Any]) -> None:
    """Remove content, leaving the names behind under "crucible.dropped"."""
    dropped = [name for name in attributes if is_content(name)]
    for name in dropped:
        del attributes[name]
    if dropped:
        note_dropped(attributes, dropped)


def note_dropped(attributes: MutableMapping[str, Any], names: list[str]) -> None:
    """Add names to the list of what was dropped."""
    already = attributes.get(DROPPED)
    known = already if isinstance(already, list) else []
    attributes[DROPPED] = sorted({*known, *names})


def without_content(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy without content."""
    return {name: value for name, value in attributes.items() if not is_content(name)}
