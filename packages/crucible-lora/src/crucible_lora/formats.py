"""How an item becomes a conversation: what the model is given, and what it is to answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from crucible_lora.items import TrainingItem
from crucible_lora.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation(Record):
    """A prompt and its completion.

    Parameters
    ----------
    messages : tuple of {"role", "content"}
        The prompt. The completion is the assistant's answer to it.
    completion : str
    weight : float, > 0
        Of every target token in the loss.
    spans : tuple of (start, end)
        Characters of the completion that a loss may weigh differently, such as citations.
    plain : bool
        No chat template: the contents are one text and the completion follows it.
    """

    messages: tuple[Mapping[str, str], ...]
    completion: str
    weight: float = 1.0
    spans: tuple[tuple[int, int], ...] = ()
    plain: bool = False


@runtime_checkable
class Formatter(Protocol):
    """Writes an item as a conversation."""

    def __call__(self, item: TrainingItem, /) -> Conversation:
        """Return the conversation to learn."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFormat(Record):
    """The model's chat template: the input is the user's turn, `system` stands before it."""

    system: str | None = None

    def __call__(self, item: TrainingItem, /) -> Conversation:
        """Return the conversation to learn."""
        turns: tuple[Mapping[str, str], ...]
        if item.messages is not None:
            turns = item.messages[:-1]
        else:
            turns = ({"role": "user", "content": item.input or ""},)
        if self.system is not None and turns[0]["role"] != "system":
            turns = ({"role": "system", "content": self.system}, *turns)
        return Conversation(messages=turns, completion=as_text(item.expected))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainFormat(Record):
    """No chat template: the input, then the answer. For base models."""

    def __call__(self, item: TrainingItem, /) -> Conversation:
        """Return the conversation to learn."""
        if item.messages is not None:
            raise ValueError(f"`format` must be a chat format for messages, got item {item.id!r}")
        message = {"role": "user", "content": item.input or ""}
        return Conversation(messages=(message,), completion=as_text(item.expected), plain=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gsm8kFormat(Record):
    """GSM8K: the problem, its solution step by step, and the answer behind `####`."""

    def __call__(self, item: TrainingItem, /) -> Conversation:
        """Return the conversation to learn.

        Raises
        ------
        ValueError
            If the item's metadata has no "rationale".
        """
        rationale = item.metadata.get("rationale")
        if not isinstance(rationale, str):
            raise ValueError(f'`metadata` must have a "rationale", item {item.id!r} has none')
        message = {"role": "user", "content": f"Problem: {item.input}\n\nSolution:"}
        completion = f"{rationale}\n#### {as_text(item.expected)}"
        return Conversation(messages=(message,), completion=completion)


_STORED = (ChatFormat, PlainFormat, Gsm8kFormat)


def format_to_dict(format: Formatter) -> dict[str, Any] | None:
    """Return a formatter of this package as a mapping; None for any other, which has none."""
    return format.to_dict() if isinstance(format, _STORED) else None


def format_from_dict(data: Mapping[str, Any]) -> Formatter:
    """Read what `format_to_dict` wrote."""
    for cls in _STORED:
        if data["schema"] == cls().to_dict()["schema"]:
            return cls.from_dict(data)
    raise ValueError(f"`data` must be a stored formatter, got {data['schema']!r}")


def as_text(value: Any) -> str:
    """Return an answer as text: itself, or its JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
