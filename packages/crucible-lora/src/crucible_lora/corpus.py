"""The items of a run as conversations, split into those to learn and those held out, on disk."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from crucible_lora.batching import hold_out
from crucible_lora.config import sha256_json
from crucible_lora.formats import Conversation, Formatter
from crucible_lora.items import TrainingItem, read_items
from crucible_lora.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Record):
    """An item and the conversation that a formatter made of it."""

    item: TrainingItem
    conversation: Conversation

    def prompt_digest(self) -> str:
        """Return what two entries with the same prompt have in common."""
        return sha256_json([dict(message) for message in self.conversation.messages])


def read_entries(
    dataset: Iterable[object], *, format: Formatter, name: str = "dataset"
) -> tuple[Entry, ...]:
    """Return the entries of a data set; see `read_items`."""
    items = read_items(dataset, name=name)
    return tuple(Entry(item=item, conversation=format(item)) for item in items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What a run learns, and what it only looks at."""

    train: tuple[Entry, ...]
    held_out: tuple[Entry, ...]

    @classmethod
    def split(cls, entries: Sequence[Entry], *, share: float) -> Self:
        """Return a corpus with a share of the entries held out, chosen by the hash of their ids."""
        held = hold_out([e.item.id for e in entries], share=share)
        return cls(
            train=tuple(e for e in entries if e.item.id not in held),
            held_out=tuple(e for e in entries if e.item.id in held),
        )

    def leaks(self) -> tuple[str, ...]:
        """Return the ids of held-out entries whose prompt is learned too."""
        return find_leaks(self.held_out, self.train)

    def fingerprint(self) -> str:
        """Return a SHA-256 over ids and conversations, whatever order the items came in."""
        parts = []
        for entries in (self.train, self.held_out):
            by_id = sorted(entries, key=lambda e: e.item.id)
            parts.append([[e.item.id, e.conversation.to_dict()] for e in by_id])
        return sha256_json(parts)

    def write(self, folder: Path) -> None:
        """Write the entries into a folder."""
        for name, entries in (("train", self.train), ("held_out", self.held_out)):
            lines = [json.dumps(e.to_dict(), ensure_ascii=False, sort_keys=True) for e in entries]
            text = "".join(f"{line}\n" for line in lines)
            (folder / f"{name}.jsonl").write_bytes(text.encode("utf-8", "surrogatepass"))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote."""
        parts = {}
        for name in ("train", "held_out"):
            text = (folder / f"{name}.jsonl").read_bytes().decode("utf-8", "surrogatepass")
            rows = text.split("\n")[:-1]
            parts[name] = tuple(Entry.from_dict(json.loads(row)) for row in rows)
        return cls(train=parts["train"], held_out=parts["held_out"])


def find_leaks(held_out: Sequence[Entry], train: Sequence[Entry]) -> tuple[str, ...]:
    """Return the ids of entries whose prompt is among those that are learned."""
    learned = {e.prompt_digest() for e in train}
    return tuple(e.item.id for e in held_out if e.prompt_digest() in learned)
