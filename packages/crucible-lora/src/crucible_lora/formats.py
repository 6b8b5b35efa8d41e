"""How an item becomes a conversation: what the model is given, and what it is to answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SciFactFormat(Record):
    """SciFact: claim and evidence, then verdict and the documents that it rests on.

    Parameters
    ----------
    style : {"json", "claim_lines"}
        `{"verdict": "SUPPORTS", "citations": [4983]}`, or `CLAIM[c1]: ... (citing 4983)`, a line
        for each document.

    Notes
    -----
    `expected` is the label; the documents are the keys of `metadata["evidence"]`, ascending. Their
    ids are marked, for a loss that weighs citations.
    """

    style: Literal["json", "claim_lines"] = "json"

    def __post_init__(self) -> None:
        if self.style not in ("json", "claim_lines"):
            raise ValueError(f"`style` must be json or claim_lines, got {self.style!r}")

    def __call__(self, item: TrainingItem, /) -> Conversation:
        """Return the conversation to learn.

        Raises
        ------
        ValueError
            If an id of a document is no number; with claim lines, if the item has no evidence.
        """
        evidence = f"\nEvidence: {item.context}" if item.context is not None else ""
        message = {"role": "user", "content": f"Claim: {item.input}{evidence}\n\nVerdict:"}
        documents = _documents(item)
        if self.style == "json":
            answer = {"verdict": as_text(item.expected), "citations": documents}
            completion = json.dumps(answer, ensure_ascii=False)
            start = completion.rindex("[")
            spans = _spans(completion, documents, start)
        else:
            if not documents:
                raise ValueError(
                    f"`metadata` must have evidence to cite, item {item.id!r} has none"
                )
            lines = [f"CLAIM[c{n}]: {item.input} (citing {d})" for n, d in enumerate(documents, 1)]
            completion = "\n".join(lines)
            starts = [sum(len(x) + 1 for x in lines[:n]) for n in range(len(lines))]
            spans = tuple(
                (at + len(line) - 1 - len(str(d)), at + len(line) - 1)
                for at, line, d in zip(starts, lines, documents, strict=True)
            )
        return Conversation(messages=(message,), completion=completion, spans=spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeverFormat(Record):
    """FEVER: the claim, then its label."""

    def __call__(self, item: TrainingItem, /) -> Conversation:
        """Return the conversation to learn."""
        message = {"role": "user", "content": f"Claim: {item.input}\n\nVerify:"}
        return Conversation(messages=(message,), completion=as_text(item.expected))


def _documents(item: TrainingItem) -> list[int]:
    try:
        return sorted(int(document) for document in item.metadata.get("evidence") or {})
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`metadata` must have evidence by number of document, item {item.id!r} has "
            f"{item.metadata['evidence']!r}"
        ) from error


def _spans(text: str, numbers: list[int], start: int) -> tuple[tuple[int, int], ...]:
    """Return where numbers stand in a text, one behind the other."""
    spans = []
    for number in map(str, numbers):
        start = text.index(number, start)
        spans.append((start, start + len(number)))
        start += len(number)
    return tuple(spans)


_STORED = (ChatFormat, PlainFormat, Gsm8kFormat, SciFactFormat, FeverFormat)


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
