"""What to learn from: any record or mapping with a question and its answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from crucible_lora.config import sha256_json
from crucible_lora.records import Record


class ItemLike(Protocol):
    """An item of a data set; `context` and `metadata` are read where there are any."""

    @property
    def id(self) -> str:
        """Return what identifies the item."""
        ...

    @property
    def input(self) -> str:
        """Return the question."""
        ...

    @property
    def expected(self) -> Any:
        """Return the answer to learn."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingItem(Record):
    """One item as formatters and scorers get it.

    `messages` is set, and `input` None, for an item that is a conversation; its last message, the
    assistant's, is `expected`.
    """

    id: str
    input: str | None
    expected: Any
    context: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, str], ...] | None = None


_ROLES = ("system", "user", "assistant")


def read_items(dataset: Iterable[object], *, name: str = "dataset") -> tuple[TrainingItem, ...]:
    """Return the items of a data set.

    Parameters
    ----------
    dataset : iterable of records or mappings
        With `id, input, expected` and perhaps `context, metadata`; or `prompt, completion`; or
        `messages` that end with the assistant's. Without an id, the SHA-256 of the content is it.
    name : str
        The parameter that messages of errors name.

    Raises
    ------
    ValueError
        If there is no item, an item has no answer, or an id comes twice.
    """
    items = []
    bad: list[str] = []
    for position, raw in enumerate(dataset):
        item = _read_item(raw)
        if item is None:
            bad.append(str(_get(raw, "id") or f"number {position}"))
        else:
            items.append(item)
    if bad:
        raise ValueError(
            f"`{name}` must have input and expected, prompt and completion, or messages that end "
            f"with the assistant's; {len(bad)} items have none of these: {', '.join(bad[:5])}"
        )
    if not items:
        raise ValueError(f"`{name}` must not be empty")
    seen: set[str] = set()
    twice = [i.id for i in items if i.id in seen or seen.add(i.id)]  # type: ignore[func-returns-value]
    if twice:
        raise ValueError(
            f"`{name}` must have unique ids; {len(twice)} come again: {', '.join(twice[:5])}"
        )
    return tuple(items)


def _read_item(raw: object) -> TrainingItem | None:
    messages = _get(raw, "messages")
    question, answer = _get(raw, "input"), _get(raw, "expected")
    if question is None and answer is None:
        question, answer = _get(raw, "prompt"), _get(raw, "completion")
    turns: tuple[Mapping[str, str], ...] | None = None
    if messages is not None:
        turns = _read_messages(messages)
        if turns is None:
            return None
        question, answer = None, turns[-1]["content"]
    elif not isinstance(question, str) or answer is None:
        return None
    context, metadata = _get(raw, "context"), dict(_get(raw, "metadata") or {})
    content = {
        "input": question,
        "expected": answer,
        "context": context,
        "metadata": metadata,
        "messages": turns,
    }
    given = _get(raw, "id")
    try:
        digest = sha256_json(content)
    except TypeError as error:
        raise ValueError(f"item {given or question!r} must hold JSON values: {error}") from error
    return TrainingItem(
        id=digest if given is None else str(given),
        input=question,
        expected=answer,
        context=context,
        metadata=metadata,
        messages=turns,
    )


def _read_messages(messages: object) -> tuple[Mapping[str, str], ...] | None:
    if not isinstance(messages, Sequence) or len(messages) < 2:
        return None
    turns = []
    for message in messages:
        role, content = _get(message, "role"), _get(message, "content")
        if role not in _ROLES or not isinstance(content, str):
            return None
        turns.append({"role": str(role), "content": content})
    return tuple(turns) if turns[-1]["role"] == "assistant" else None


def _get(raw: object, name: str) -> Any:
    return raw.get(name) if isinstance(raw, Mapping) else getattr(raw, name, None)
