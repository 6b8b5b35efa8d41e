"""Write events in the words of a model: the tags that `parse` reads."""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import Event
from crucible_causaltrace.grammar import CODE_SECTION_CLOSE, EVENT_CLOSE
from crucible_causaltrace.vocabulary import read_type

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
_ALIASED = ("crucible:confidence_updated",)
_UNSAYABLE = ("time_s", "duration_s", "outcome", "experiment_id")


def write_tagged(chain: Chain | Iterable[Event]) -> str:
    """Write the events of a chain as tagged text; `parse` gives them back.

    `span` and `truncated` belong to the text an event was read from and are not written.

    Raises
    ------
    ValueError
        If an event holds what a model cannot say in tags: another source than "self_report", a
        time, code with the end of its own tag in it.
    """
    return "\n".join(_write(event) for event in chain)


def _write(event: Event) -> str:
    _check(event)
    attributes = {
        "type": _spell_type(event),
        "id": event.id,
        "parent": event.parent,
        "depends_on": ",".join(event.depends_on) or None,
        "contradicts": ",".join(event.contradicts) or None,
        "stage": event.stage,
    }
    stated = [f'{k}="{v.translate(_ESCAPES)}"' for k, v in attributes.items() if v is not None]
    lines = [f"<event {' '.join(stated)}>"]
    if event.decision is not None:
        lines.append(f"<decision>{_text(event.decision)}</decision>")
    if event.alternatives:
        options = "".join(f"<alternative>{_text(a)}</alternative>" for a in event.alternatives)
        lines.append(f"<alternatives>{options}</alternatives>")
    if event.reasoning is not None:
        lines.append(f"<reasoning>{_text(event.reasoning)}</reasoning>")
    if event.confidence is not None:
        lines.append(f"<confidence>{_number(event.confidence)}</confidence>")
    if event.code is not None:
        language = event.code_language
        lang = "" if language is None else f' lang="{language.translate(_ESCAPES)}"'
        lines.append(f"<code_section{lang}>\n{event.code}\n</code_section>")
    if event.spec_reference is not None:
        lines.append(f"<spec_reference>{_text(event.spec_reference)}</spec_reference>")
    if event.metadata:
        lines.append(
            f"<metadata>{_text(json.dumps(_plain(event.metadata), allow_nan=False))}</metadata>"
        )
    return "\n".join([*lines, "</event>"])


def _spell_type(event: Event) -> str:
    if event.disposition == "rejected":
        return "alternative_rejected"
    return event.type.removeprefix("crucible:") if event.type in _ALIASED else event.type


def _check(event: Event) -> None:
    unsayable = [name for name in _UNSAYABLE if getattr(event, name) is not None]
    if event.source != "self_report":
        unsayable.append("source")
    if read_type(_spell_type(event))[:2] != (event.type, event.disposition):
        unsayable.append("type")
    if "" in event.alternatives:
        unsayable.append("alternatives")
    code = event.code or ""
    if CODE_SECTION_CLOSE.search(code) or EVENT_CLOSE.search(code):
        unsayable.append("code")
    if any("," in id for id in (*event.depends_on, *event.contradicts)):
        unsayable.append("depends_on")
    for name in ("id", "stage", "code_language"):
        value = getattr(event, name)
        if value is not None and value.strip() != (value or None):
            unsayable.append(name)
    if event.code is None and event.code_language is not None:
        unsayable.append("code_language")
    if unsayable:
        raise ValueError(f"`chain` must hold what tags can say, got {event.id!r} with {unsayable}")


def _text(value: str) -> str:
    """Escape a text, and the white space at its edges, which a reader would strip."""
    bare = value.strip()
    if bare == value:
        return value.translate(_ESCAPES)
    if not bare:
        return "".join(map(_reference, value))
    start = value.index(bare)
    head, tail = value[:start], value[start + len(bare) :]
    edges = "".join(map(_reference, head)), "".join(map(_reference, tail))
    return edges[0] + bare.translate(_ESCAPES) + edges[1]


def _reference(character: str) -> str:
    return f"&#{ord(character)};"


def _number(value: float) -> str:
    # The shortest exact digits, without an exponent, which the grammar does not read.
    return format(Decimal(repr(float(value))), "f")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
