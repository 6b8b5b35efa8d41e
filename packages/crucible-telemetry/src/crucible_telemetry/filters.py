"""Which events: conditions on columns and attributes, the same for every store.

A condition is built from `F` and combined by `& | ~`. It is true or false, never unknown: what
compares a missing value is false, and its negation true. Values of different kinds (text, number,
truth) are never equal and have no order.
"""

import json
import math
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeAlias

from crucible_telemetry.schema import COLUMNS, INDEX, Row

Scalar: TypeAlias = "str | bool | int | float"
Comparator = Literal["=", "<", "<=", ">", ">="]
Kind = Literal["text", "number", "truth"]

_KEY = re.compile(r"[A-Za-z0-9_.:/-]{1,256}")
_KINDS: dict[str, Kind] = {"text": "text", "hex": "text", "integer": "number", "real": "number"}
_COLUMNS: dict[str, Kind] = {c.name: _KINDS[c.kind] for c in COLUMNS if c.kind in _KINDS}
_NONE_ONLY = "altered"
_COMPARE = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def kind_of(value: object) -> Kind | None:
    """Return the kind of a value; None for what cannot be compared."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Field:
    """A column, or an attribute by its key. `kind` is None for attributes, which may hold any."""

    name: str
    is_attribute: bool

    @property
    def kind(self) -> Kind | None:
        """What the column holds."""
        return None if self.is_attribute else _COLUMNS.get(self.name)


class Filter(ABC):
    """A condition on an event; combine with `&`, `|` and `~`."""

    __slots__ = ()

    def keeps(self, row: Row) -> bool:
        """Whether a row in schema order fulfils it."""
        return self.holds(Values(row))

    @abstractmethod
    def holds(self, values: "Values") -> bool:
        """Whether these values fulfil it."""

    def __and__(self, other: "Filter") -> "Filter":
        return Every(parts=(self, _filter(other)))

    def __or__(self, other: "Filter") -> "Filter":
        return Either(parts=(self, _filter(other)))

    def __invert__(self) -> "Filter":
        return Not(part=self)

    def __bool__(self) -> bool:
        raise TypeError("a filter has no truth value: combine filters with `&`, `|` and `~`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare(Filter):
    """A field beside a value of its kind."""

    field: Field
    by: Comparator
    value: Scalar

    def holds(self, values: "Values") -> bool:
        """Compare; a missing value, or one of another kind, is False."""
        found = values.of(self.field)
        return kind_of(found) == kind_of(self.value) and bool(_COMPARE[self.by](found, self.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class IsNone(Filter):
    """A field without a value."""

    field: Field

    def holds(self, values: "Values") -> bool:
        """Whether the value is missing."""
        return values.of(self.field) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches(Filter):
    """A text that a pattern fits."""

    field: Field
    glob: str

    def holds(self, values: "Values") -> bool:
        """Whether the value is text and the pattern fits all of it."""
        found = values.of(self.field)
        return isinstance(found, str) and _expression(self.glob).fullmatch(found) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Every(Filter):
    """All of its parts."""

    parts: tuple[Filter, ...]

    def holds(self, values: "Values") -> bool:
        """Whether every part holds."""
        return all(part.holds(values) for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Either(Filter):
    """At least one of its parts; none without parts."""

    parts: tuple[Filter, ...]

    def holds(self, values: "Values") -> bool:
        """Whether some part holds."""
        return any(part.holds(values) for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Not(Filter):
    """The opposite."""

    part: Filter

    def holds(self, values: "Values") -> bool:
        """Whether the part does not hold."""
        return not self.part.holds(values)


class F:
    """A column of the event, or with `F.attr` an attribute, to compare with a value.

    Parameters
    ----------
    column : str
        A column of `Event`; of "altered" only `is_none`, of "attributes" use `F.attr`.

    Raises
    ------
    ValueError
        If there is no such column; or later, if a value is not of the column's kind.

    Examples
    --------
    >>> from crucible_telemetry.testing import example_row
    >>> slow = (F("duration_s") > 1.0) | F("duration_s").is_none()
    >>> slow.keeps(example_row())
    True
    >>> (slow & F("name").matches("other *")).keeps(example_row())
    False
    """

    __slots__ = ("_field",)
    __hash__: ClassVar[None]  # type: ignore[assignment]  # comparing gives a filter, no truth

    def __init__(self, column: str) -> None:
        if column not in _COLUMNS and column != _NONE_ONLY:
            known = ", ".join([*_COLUMNS, _NONE_ONLY])
            raise ValueError(
                f"`column` must be one of {known} (attributes: F.attr), got {column!r}"
            )
        self._field = Field(column, False)

    @classmethod
    def attr(cls, key: str) -> "F":
        """Return an attribute by its key.

        Raises
        ------
        ValueError
            If the key has characters other than letters, digits and `_.:/-`, or over 256.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"`key` must match {_KEY.pattern}, got {key!r}")
        made = cls.__new__(cls)
        made._field = Field(key, True)
        return made

    def __eq__(self, value: object) -> Filter:  # type: ignore[override]  # builds a filter
        return self._compare("=", value)

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]  # builds a filter
        return ~self._compare("=", value) & ~self.is_none()

    def __lt__(self, value: Scalar) -> Filter:
        return self._compare("<", value)

    def __le__(self, value: Scalar) -> Filter:
        return self._compare("<=", value)

    def __gt__(self, value: Scalar) -> Filter:
        return self._compare(">", value)

    def __ge__(self, value: Scalar) -> Filter:
        return self._compare(">=", value)

    def is_in(self, values: Collection[Scalar]) -> Filter:
        """Keep events whose value is one of these."""
        if isinstance(values, str):
            raise ValueError(f"`values` must be a collection, got the text {values!r}")
        return Either(parts=tuple(self._compare("=", value) for value in values))

    def is_none(self) -> Filter:
        """Keep events without a value."""
        return IsNone(field=self._field)

    def matches(self, glob: str) -> Filter:
        """Keep events whose text fits: `*` stands for any characters, `?` for one."""
        if not isinstance(glob, str):
            raise ValueError(f"`glob` must be text, got {glob!r}")
        self._check("text", glob)
        return Matches(field=self._field, glob=glob)

    def _compare(self, by: Comparator, value: object) -> Filter:
        kind = kind_of(value)
        if kind is None:
            raise ValueError(
                f"`value` must be text, a number or a truth value (None: is_none), got {value!r}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"`value` must be finite, got {value}")
        if kind == "number" and isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"`value` must fit 64 bits, got {value}")
        if kind == "truth" and by != "=":
            raise ValueError(f"`value` must be text or a number to have an order, got {value!r}")
        self._check(kind, value)
        return Compare(field=self._field, by=by, value=value)  # type: ignore[arg-type]  # by kind

    def _check(self, kind: Kind, value: object) -> None:
        if isinstance(value, str) and ("\0" in value or _is_broken(value)):
            raise ValueError(f"`value` must be text that a store can hold, got {value!r}")
        field = self._field
        if not field.is_attribute and field.kind != kind:
            wanted = "absent or not (is_none)" if field.kind is None else f"a {field.kind}"
            raise ValueError(f"`value` for {field.name!r} must be {wanted}, got {value!r}")


class Values:
    """The values of one row; its attributes are parsed once, when they are asked for."""

    __slots__ = ("_attributes", "_row")

    def __init__(self, row: Row) -> None:
        self._row = row
        self._attributes: dict[str, Any] | None = None

    def of(self, field: Field) -> Any:
        """Return the value of a field; None if it is missing."""
        if not field.is_attribute:
            return self._row[INDEX[field.name]]
        if self._attributes is None:
            self._attributes = json.loads(self._row[-1])
        return self._attributes.get(field.name)


def check_filter(where: object) -> None:
    """Raise `ValueError` unless it is a filter or None."""
    if where is not None and not isinstance(where, Filter):
        raise ValueError(f"`where` must be a filter made with F, got {where!r}")


def _filter(other: object) -> Filter:
    if not isinstance(other, Filter):
        raise TypeError(f"a filter combines with filters, got {other!r}")
    return other


def _is_broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


@lru_cache(maxsize=256)
def _expression(glob: str) -> "re.Pattern[str]":
    parts = (
        ".*" if part == "*" else "." if part == "?" else re.escape(part)
        for part in re.split(r"([*?])", glob)
    )
    return re.compile("".join(parts), re.DOTALL)
