"""Records as JSON-safe mappings, and back."""

import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Self

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


class Record:
    """Gives a frozen dataclass `to_dict` and `from_dict`; the mapping names its schema."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping with a "schema" entry."""
        data = plain(self)
        assert isinstance(data, dict)  # every record is a dataclass
        return {"schema": schema_of(type(self)), **data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises
        ------
        ValueError
            If the mapping is of another schema, or a field is unknown or missing.
        """
        if data.get("schema", schema_of(cls)) != schema_of(cls):
            raise ValueError(f"`data` must be a {schema_of(cls)}, got {data['schema']!r}")
        record: Self = _read(cls, {k: v for k, v in data.items() if k != "schema"})
        return record


def schema_of(cls: type[Record]) -> str:
    """Return the name and version under which a record is stored."""
    kebab = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()
    return f"crucible-lora/{kebab}/1"


def plain(value: Any) -> Any:
    """Return records as mappings, paths as text, and numbers that JSON cannot hold as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _read(kind: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _read(next(a for a in arguments if a is not types.NoneType), value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(_read(arguments[0], v) for v in value)
        return tuple(_read(a, v) for a, v in zip(arguments, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {k: _read(arguments[1], v) for k, v in value.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        unknown = set(value) - set(hints)
        if unknown:
            raise ValueError(f"`data` must hold fields of {kind.__name__}, got {sorted(unknown)}")
        values = {name: _read(hints[name], v) for name, v in value.items()}
        try:
            return kind(**values)
        except TypeError as error:
            raise ValueError(f"`data` must be a whole {kind.__name__}: {error}") from error
    if kind is Path:
        return Path(value)
    return value
