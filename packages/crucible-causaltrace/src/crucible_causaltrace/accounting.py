"""The account of a parsed text: what every character was taken for, and what was wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from crucible_causaltrace.event import Event

SpanKind = Literal["event", "text", "code", "comment", "error"]
Severity = Literal["error", "warning"]

# An error: the text breaks the grammar, or something it states could not be used. A warning: all
# of it was used, and something about it is unusual.
SEVERITIES: dict[str, Severity] = {
    "malformed_tag": "error",
    "unclosed_element": "error",
    "mismatched_close": "error",
    "stray_close": "error",
    "unclosed_event": "error",
    "truncated_event": "error",
    "duplicate_field": "error",
    "missing_type": "error",
    "confidence_out_of_range": "error",
    "confidence_not_numeric": "error",
    "duplicate_id": "error",
    "unknown_reference": "error",
    "self_reference": "error",
    "cycle": "error",
    "invalid_utf8": "error",
    "unknown_type": "warning",
    "reserved_type": "warning",
    "empty_confidence": "warning",
    "loose_text": "warning",
    "metadata_not_read": "warning",
    "unclosed_fence": "warning",
    "no_events": "warning",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """Something in a text that is not as the grammar asks.

    `start` and `end` are character offsets, `line` and `column` count from 1.
    """

    code: str
    severity: Severity
    message: str
    start: int
    end: int
    line: int
    column: int
    event_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What the characters from `start` to `end` were taken for; `event` is an index."""

    kind: SpanKind
    start: int
    end: int
    event: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBlock:
    """A `<code>` outside events, word for word."""

    code: str
    language: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseReport:
    """All that was read from a text.

    `spans` partition the text: joined they are the input, character for character. `text` is what
    stands outside events, code and comments; `metadata` comes from `<!-- key: value -->`.
    """

    events: tuple[Event, ...]
    issues: tuple[Issue, ...]
    spans: tuple[Span, ...]
    text: str
    code_blocks: tuple[CodeBlock, ...]
    metadata: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether there is no issue of severity "error"."""
        return not any(issue.severity == "error" for issue in self.issues)

    def characters(self) -> dict[SpanKind, int]:
        """Count the characters of each kind."""
        counts: Counter[SpanKind] = Counter()
        for span in self.spans:
            counts[span.kind] += span.end - span.start
        return dict(counts)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping of all of it."""
        return account_to_dict(self) | {
            "events": [event.to_dict() for event in self.events],
            "text": self.text,
            "code_blocks": [asdict(block) for block in self.code_blocks],
        }


def account_to_dict(report: ParseReport) -> dict[str, Any]:
    """Write the account without events, text and code, which a chain holds itself."""
    return {
        "issues": [asdict(issue) for issue in report.issues],
        "spans": [[s.kind, s.start, s.end, s.event] for s in report.spans],
        "metadata": dict(report.metadata),
    }


def account_from_dict(
    data: Mapping[str, Any],
    *,
    events: tuple[Event, ...],
    text: str,
    code_blocks: tuple[CodeBlock, ...],
) -> ParseReport:
    """Read what `account_to_dict` wrote."""
    return ParseReport(
        events=events,
        issues=tuple(Issue(**issue) for issue in data["issues"]),
        spans=tuple(
            Span(kind=kind, start=start, end=end, event=event)
            for kind, start, end, event in data["spans"]
        ),
        text=text,
        code_blocks=code_blocks,
        metadata=dict(data["metadata"]),
    )
