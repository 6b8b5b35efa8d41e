"""Prompts as messages."""

import math
from collections.abc import Sequence

from crucible_ensemble.model import Prompt

_ROLES = ("system", "user", "assistant")


def to_messages(prompt: Prompt) -> list[dict[str, str]]:
    """Return a prompt as a checked list of messages.

    Raises
    ------
    ValueError
        For an empty prompt or list, an unknown role, or a message without text: some servers
        answer those with nonsense and status 200.
    """
    if isinstance(prompt, str):
        if not prompt:
            raise ValueError("`prompt` must not be empty")
        return [{"role": "user", "content": prompt}]
    if not prompt:
        raise ValueError("`prompt` must be a string or a non-empty list of messages")
    messages = []
    for message in prompt:
        role, content = message.get("role"), message.get("content")
        if role not in _ROLES:
            raise ValueError(f"`prompt` role must be one of {', '.join(_ROLES)}, got {role!r}")
        if not isinstance(content, str):
            raise ValueError(f"`prompt` content must be text, got {type(content).__name__}")
        messages.append({"role": role, "content": content})
    return messages


def check_options(*, temperature: float | None, max_tokens: int, stop: Sequence[str] = ()) -> None:
    """Raise `ValueError` for options that no model can honour."""
    if temperature is not None and not 0 <= temperature < math.inf:
        raise ValueError(f"`temperature` must be >= 0 or None, got {temperature}")
    if max_tokens < 1:
        raise ValueError(f"`max_tokens` must be >= 1, got {max_tokens}")
    if isinstance(stop, str) or not all(stop):
        raise ValueError(f"`stop` must be a sequence of non-empty strings, got {stop!r}")


def lacking(
    model: object, *, temperature: float | None, stop: Sequence[str], seed: int | None = None
) -> list[str]:
    """Return the options that are given and that a model says it does not take."""
    supports = getattr(model, "supports", None)
    if supports is None:
        return []
    given = {"temperature": temperature is not None, "stop": bool(stop), "seed": seed is not None}
    return [name for name, value in given.items() if value and name not in supports]
