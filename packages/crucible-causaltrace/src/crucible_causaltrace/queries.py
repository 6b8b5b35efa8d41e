"""Conditions on events, that can be combined, stored and read back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crucible_causaltrace.errors import QueryError
from crucible_causaltrace.event import Event

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
}
_HAVABLE = (
    "decision", "reasoning", "alternatives", "disposition", "confidence", "code", "code_language",
    "spec_reference", "parent", "depends_on", "contradicts", "time_s", "duration_s", "outcome",
    "stage", "experiment_id", "span", "truncated", "metadata",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Query:
    """A condition on an event; combine with `&`, `|` and `~`."""

    form: Mapping[str, Any]

    def __call__(self, event: Event) -> bool:
        """Say whether the event satisfies the condition."""
        return _matches(self.form, event)

    def __and__(self, other: Query) -> Query:
        return Query({"and": [self.form, other.form]})

    def __or__(self, other: Query) -> Query:
        return Query({"or": [self.form, other.form]})

    def __invert__(self) -> Query:
        return Query({"not": self.form})

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, which `Q.from_dict` reads."""
        return dict(self.form)


class _Confidence:
    def __lt__(self, value: float) -> Query:
        return Query({"confidence": {"lt": value}})

    def __le__(self, value: float) -> Query:
        return Query({"confidence": {"le": value}})

    def __gt__(self, value: float) -> Query:
        return Query({"confidence": {"gt": value}})

    def __ge__(self, value: float) -> Query:
        return Query({"confidence": {"ge": value}})

    def __eq__(self, value: object) -> Query:  # type: ignore[override]  # builds a condition
        return Query({"confidence": {"eq": value}})

    __hash__ = None  # type: ignore[assignment]  # a condition's left side is no key


@dataclass(frozen=True, slots=True, eq=False)
class _Meta:
    key: str

    def __eq__(self, value: object) -> Query:  # type: ignore[override]  # builds a condition
        return Query({"meta": {"key": self.key, "eq": value}})

    __hash__ = None  # type: ignore[assignment]  # a condition's left side is no key


class Q:
    """Where conditions begin: `Q.type("decision_made") & (Q.confidence < 0.7)`.

    A confidence that was not stated satisfies no comparison.
    """

    confidence = _Confidence()

    @staticmethod
    def type(*types: str) -> Query:
        """Match events of one of these types."""
        return Query({"type": list(types)})

    @staticmethod
    def source(*sources: str) -> Query:
        """Match events from one of these sources."""
        return Query({"source": list(sources)})

    @staticmethod
    def text(part: str) -> Query:
        """Match events whose decision, reasoning or alternatives hold `part`, in any case."""
        return Query({"text": part})

    @staticmethod
    def regex(pattern: str, flags: int = 0) -> Query:
        """Match events in whose decision, reasoning or alternatives `pattern` is found."""
        return _checked({"regex": {"pattern": pattern, "flags": int(flags)}})

    @staticmethod
    def has(field: str) -> Query:
        """Match events that state this field."""
        return _checked({"has": field})

    @staticmethod
    def meta(key: str) -> _Meta:
        """Begin a condition on a metadata value: `Q.meta("model") == "small"`."""
        return _Meta(key)

    @staticmethod
    def from_dict(form: Mapping[str, Any]) -> Query:
        """Read the JSON form.

        Raises
        ------
        QueryError
            If a key or a value is not known; the message names it.
        """
        return _checked(form)


def _checked(form: Mapping[str, Any]) -> Query:
    _check(form)
    return Query(form)


def _check(form: object) -> None:
    if not isinstance(form, Mapping) or len(form) != 1:
        raise QueryError(f"a condition must be a mapping with one key, got {form!r}")
    ((key, value),) = form.items()
    if key in ("and", "or") and isinstance(value, list):
        for part in value:
            _check(part)
    elif key == "not":
        _check(value)
    elif key == "confidence" and isinstance(value, Mapping) and value:
        for how, number in value.items():
            if how not in _COMPARE or type(number) not in (int, float):
                raise QueryError(f"`confidence` knows {list(_COMPARE)} and a number, got {how!r}")
    elif key == "regex" and isinstance(value, Mapping) and "pattern" in value:
        try:
            re.compile(value["pattern"], value.get("flags", 0))
        except (re.error, TypeError, ValueError) as error:
            raise QueryError(f"`regex` cannot be compiled: {error}") from error
    elif not (
        (key in ("type", "source") and isinstance(value, str | list))
        or (key == "text" and isinstance(value, str))
        or (key == "has" and value in _HAVABLE)
        or (key == "meta" and isinstance(value, Mapping) and set(value) == {"key", "eq"})
    ):
        raise QueryError(f"no condition {key!r} with the value {value!r}")


def _matches(form: Mapping[str, Any], event: Event) -> bool:
    ((key, value),) = form.items()
    if key == "and":
        return all(_matches(part, event) for part in value)
    if key == "or":
        return any(_matches(part, event) for part in value)
    if key == "not":
        return not _matches(value, event)
    if key in ("type", "source"):
        actual = getattr(event, key)
        return bool(actual == value if isinstance(value, str) else actual in value)
    if key == "text":
        return matches_text(event, value)
    if key == "regex":
        found = re.compile(value["pattern"], value.get("flags", 0))
        return any(found.search(text) for text in event_texts(event))
    if key == "has":
        return getattr(event, value) not in (None, (), False, {})
    if key == "meta":
        return value["key"] in event.metadata and event.metadata[value["key"]] == value["eq"]
    stated = event.confidence
    return stated is not None and all(
        _COMPARE[how](stated, number) for how, number in value.items()
    )


def event_texts(event: Event) -> list[str]:
    """List what an event says: decision, reasoning, alternatives."""
    return [text for text in (event.decision, event.reasoning, *event.alternatives) if text]


def matches_text(event: Event, part: str) -> bool:
    """Say whether `part` stands in one of an event's texts, in any case."""
    folded = part.casefold()
    return any(folded in text.casefold() for text in event_texts(event))
