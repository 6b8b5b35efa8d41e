"""The one report that five renderers print: sections of text, tables and charts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from crucible_harness.report.values import Value, parts_to_json

Text = tuple[str | Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Running text. A "warning" is set apart; a "note" is small."""

    text: Text
    kind: Literal["plain", "warning", "note"] = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bullets:
    """A list of short texts."""

    items: tuple[Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Lines to copy, such as commands."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate between its ends, to be drawn against zero and the smallest effect of interest.

    `direction` says on which side of the smallest effect the claim lies; "both" for a claim that
    there is no effect.
    """

    low: Value
    estimate: Value
    high: Value
    sesoi: float
    direction: Literal["greater", "less", "two-sided", "both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The verdict on one hypothesis; `drawn` repeats the interval that decided it."""

    id: str
    claim: Text
    outcome: Literal["supported", "not supported", "inconclusive", "not computed"]
    sentence: Text
    drawn: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table; numeric columns are set flush right."""

    title: str
    numeric: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table whose cells are runs of text and values."""

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Text, ...], ...]
    note: Text = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A Vega-Lite chart. The title states the finding, `alt` says it in words."""

    id: str
    title: str
    alt: str
    spec: Mapping[str, object]


Block = Paragraph | Bullets | Code | Finding | Table | Chart


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled sequence of blocks."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """What a reader must know before any number: simulated, unfinished, not preregistered."""

    level: Literal["info", "warning"]
    text: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Explorer:
    """Items and what each condition answered, to be read one by one. Untrusted text, all of it."""

    conditions: tuple[str, ...]
    fields: tuple[str, ...]
    items: tuple[Mapping[str, object], ...]
    total: int
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a rendering says; a pure function of the journal."""

    title: str
    subtitle: str
    banners: tuple[Banner, ...]
    sections: tuple[Section, ...]
    explorer: Explorer | None = None

    def texts(self) -> Iterator[Text]:
        """Yield every run of text, in reading order."""
        for banner in self.banners:
            yield banner.text
        for section in self.sections:
            for block in section.blocks:
                yield from _texts(block)

    def values(self) -> tuple[Value, ...]:
        """Return every number of the report, in reading order."""
        return tuple(part for text in self.texts() for part in text if isinstance(part, Value))

    def charts(self) -> tuple[Chart, ...]:
        """Return every chart, in reading order."""
        return tuple(b for s in self.sections for b in s.blocks if isinstance(b, Chart))

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe mapping with the raw numbers beside the printed ones."""
        return {
            "schema": "crucible-harness/report/1",
            "title": self.title,
            "subtitle": self.subtitle,
            "banners": [{"level": b.level, "text": parts_to_json(b.text)} for b in self.banners],
            "sections": [
                {"id": s.id, "title": s.title, "blocks": [block_to_dict(b) for b in s.blocks]}
                for s in self.sections
            ],
        }


def block_to_dict(block: Block) -> dict[str, object]:
    """Return one block as a JSON-safe mapping."""
    match block:
        case Paragraph():
            return {"type": "paragraph", "kind": block.kind, "text": parts_to_json(block.text)}
        case Bullets():
            return {"type": "bullets", "items": [parts_to_json(text) for text in block.items]}
        case Code():
            return {"type": "code", "text": block.text}
        case Finding():
            return {
                "type": "finding",
                "id": block.id,
                "claim": parts_to_json(block.claim),
                "outcome": block.outcome,
                "sentence": parts_to_json(block.sentence),
            }
        case Table():
            return {
                "type": "table",
                "id": block.id,
                "caption": block.caption,
                "columns": [column.title for column in block.columns],
                "rows": [[parts_to_json(cell) for cell in row] for row in block.rows],
                "note": parts_to_json(block.note),
            }
        case Chart():
            return {
                "type": "chart",
                "id": block.id,
                "title": block.title,
                "alt": block.alt,
                "spec": dict(block.spec),
            }


def _texts(block: Block) -> Iterator[Text]:
    match block:
        case Paragraph():
            yield block.text
        case Bullets():
            yield from block.items
        case Finding():
            yield block.claim
            yield block.sentence
        case Table():
            for row in block.rows:
                yield from row
            yield block.note
        case Code() | Chart():
            return
