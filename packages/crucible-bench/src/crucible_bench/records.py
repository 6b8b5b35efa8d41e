"""Frozen dataclasses to JSON-safe data and back."""

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

import numpy as np


def plain(value: object) -> object:
    """Return records as mappings, and numbers that JSON cannot hold as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Record:
    """Turns a frozen dataclass into JSON-safe data that names its schema, and back."""

    __slots__ = ()

    @classmethod
    def _schema(cls) -> str:
        words = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__).lstrip("_")
        return f"crucible.bench.{words}/1"

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe mapping with a "schema" entry."""
        data = plain(self)
        assert isinstance(data, dict)  # every record is a dataclass
        return {"schema": self._schema(), **data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the record that `to_dict` wrote.

        Raises
        ------
        ValueError
            If `data` is of another schema, or does not hold exactly this record's fields.
        """
        if data.get("schema") != cls._schema():
            raise ValueError(f"`data` must be {cls._schema()}, got {data.get('schema')!r}")
        found: Self = _build(cls, {k: v for k, v in data.items() if k != "schema"})
        return found


def _build(kind: Any, data: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    names = {f.name for f in fields(kind)}
    if names != set(data):
        raise ValueError(
            f"`data` must have the fields of {kind.__name__}, got {sorted(names ^ set(data))} "
            "missing or unknown"
        )
    return kind(**{name: _restore(hints[name], value) for name, value in data.items()})


def _restore(hint: Any, value: Any) -> Any:
    """Return the value of a field, given its annotation; JSON has turned tuples into lists."""
    origin, arguments = get_origin(hint), get_args(hint)
    if value is None or origin is Literal:
        return value
    if origin in (Union, types.UnionType):
        # Each union here is one kind of record or number, or None.
        return _restore(next(a for a in arguments if a is not type(None)), value)
    if origin is tuple:
        inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        return tuple(_restore(h, v) for h, v in zip(inner, value, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {k: _restore(arguments[1], v) for k, v in value.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        return _build(hint, value)
    return value
