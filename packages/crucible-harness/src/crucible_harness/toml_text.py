"""Tables as the text of a TOML file."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def toml(values: Mapping[str, Any], tables: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Return the text of a file: values, then tables under their headings.

    Parameters
    ----------
    values : mapping
        Tables inside them stand on one line. None is no value of TOML and is left out.
    tables : (heading, mapping) pairs
        Such as ("[[conditions]]", {...}).
    """
    lines = _lines(values)
    for heading, table in tables:
        lines += ["", heading, *_lines(table)]
    return "\n".join(lines) + "\n"


def key(name: str) -> str:
    """Return a key as it stands in a file, quoted where it must be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key(name)} = {_value(v)}" for name, v in table.items() if v is not None]


def _value(value: Any) -> str:
    """Return a value as TOML: its basic strings are those of JSON, but for one character."""
    if isinstance(value, Mapping):
        inside = ", ".join(_lines(value))
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
