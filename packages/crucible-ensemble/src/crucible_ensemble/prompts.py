"""Prompts as messages."""

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


def check_options(*, temperature: float | None, max_tokens: int) -> None:
    """Raise `ValueError` for options that no model can honour."""
    if temperature is not None and not temperature >= 0:
        raise ValueError(f"`temperature` must be >= 0, got {temperature}")
    if max_tokens < 1:
        raise ValueError(f"`max_tokens` must be >= 1, got {max_tokens}")
