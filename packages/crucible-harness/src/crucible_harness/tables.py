"""What the journal holds: its tables, its records, and the hash that chains its rows."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SCHEMA = "crucible-harness/journal/1"
Type = Literal["text", "int", "real"]
CallStatus = Literal["ok", "error", "timeout", "cancelled", "filtered"]

# Each table also has `n`, its row number, and `row_hash`. JSON is text: equal values, equal bytes.
TABLES: Mapping[str, Mapping[str, Type]] = {
    "intents": {
        "design": "text", "leaf_key": "text", "attempt": "int", "condition": "text",
        "item": "text", "repeat": "int", "sample": "int", "reserved_usd": "real",
    },
    "calls": {
        "design": "text", "condition": "text", "item": "text", "repeat": "int", "sample": "int",
        "attempt": "int", "leaf_key": "text", "status": "text", "request": "text",
        "response": "text", "error_class": "text", "error_message": "text",
        "input_tokens": "int", "output_tokens": "int", "cost_usd": "real", "billed_usd": "real",
        "reserved_usd": "real", "latency_s": "real", "queued_s": "real", "started_ns": "int",
        "simulated": "int",
    },
    "cells": {
        "design": "text", "condition": "text", "item": "text", "repeat": "int", "attempt": "int",
        "status": "text", "output": "text", "scores": "text", "call_keys": "text",
        "cost_usd": "real", "latency_s": "real",
    },
    "events": {"design": "text", "kind": "text", "time_ns": "int", "detail": "text"},
}  # fmt: skip
UNIQUE: Mapping[str, tuple[str, ...]] = {
    "calls": ("leaf_key", "attempt"),
    "cells": ("condition", "item", "repeat", "attempt"),
}

# An encoder is made once: `json.dumps` with options makes one for each row.
line = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class CallKey:
    """Which call it was: its place in the experiment, and the hash of what was asked."""

    condition: str
    item: str
    repeat: int
    sample: int | None
    leaf_key: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One finished request to a leaf model: what was asked, and how it ended.

    `condition` is the one that paid, or "shared" where equal calls are shared between conditions.
    `request` is canonical JSON. For a call without an answer, `cost_usd` is what it may have cost
    and `latency_s` how long it ran.
    """

    leaf_key: str
    attempt: int
    condition: str
    item: str
    repeat: int
    sample: int | None = None
    status: CallStatus
    request: str
    response: Mapping[str, Any] | None = None
    error_class: str | None = None
    error_message: str | None = None
    cost_usd: float | None = None
    reserved_usd: float | None = None
    latency_s: float | None = None
    queued_s: float | None = None
    started_ns: int

    def row(self, design: str) -> tuple[Any, ...]:
        """Return the values in the order of the table."""
        answer = self.response
        if answer is None:
            facts = (
                None, None, self.cost_usd, self.cost_usd, self.reserved_usd, self.latency_s,
            )  # fmt: skip
            simulated = None
        else:
            facts = (
                answer.get("input_tokens"), answer.get("output_tokens"), answer.get("cost_usd"),
                answer.get("billed_usd"), self.reserved_usd, answer.get("latency_s"),
            )  # fmt: skip
            simulated = int(bool(answer.get("simulated")))
        return (
            design, self.condition, self.item, self.repeat, self.sample, self.attempt,
            self.leaf_key, self.status, self.request, None if answer is None else line(answer),
            self.error_class, storable(self.error_message), *facts, self.queued_s,
            self.started_ns, simulated,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one cell came to. `output` is everything that analysis reads beside the scores."""

    condition: str
    item: str
    repeat: int
    status: str
    output: Mapping[str, Any]
    scores: Mapping[str, float | None] = field(default_factory=dict)
    call_keys: tuple[str, ...] = ()
    cost_usd: float | None = None
    latency_s: float | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any], **key: Any) -> "Outcome":
        """Return the outcome that a record describes; some of its fields are columns."""
        output = dict(record)
        return cls(
            scores=output.pop("scores", {}),
            call_keys=tuple(output.pop("call_keys", ())),
            cost_usd=output.pop("cost_usd", None),
            latency_s=output.pop("latency_s", None),
            output=output,
            **key,
        )

    def record(self) -> dict[str, Any]:
        """Return it as the journal gives it back."""
        return {
            **self.output,
            "scores": dict(self.scores),
            "call_keys": list(self.call_keys),
            "cost_usd": self.cost_usd,
            "latency_s": self.latency_s,
        }

    def row(self, design: str, attempt: int) -> tuple[Any, ...]:
        """Return the values in the order of the table."""
        return (
            design, self.condition, self.item, self.repeat, attempt, self.status,
            line(self.output), line(self.scores), line(self.call_keys), self.cost_usd,
            self.latency_s,
        )  # fmt: skip


def chained(previous: str, values: tuple[Any, ...]) -> str:
    """Return the hash of a row that follows the row with hash `previous` ("" for the first)."""
    return hashlib.sha256(line([previous, *values]).encode()).hexdigest()


def storable(text: str | None) -> str | None:
    """Return text that UTF-8 and every database can hold."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
