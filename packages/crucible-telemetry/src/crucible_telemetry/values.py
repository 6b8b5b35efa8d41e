"""Values that no store can hold are changed the same way for all of them, and named."""

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

LONGEST_TEXT = 10_000
LONGEST_REPR = 1_000
DEEPEST = 32
_INT64 = range(-(2**63), 2**63)
_SURROGATE = re.compile("[\ud800-\udfff]")
SCALARS = frozenset({str, bool, int, float, type(None)})


class Clean(NamedTuple):
    """A JSON-safe value and whether it differs from what was given."""

    value: Any
    altered: bool


def clean_text(text: str, *, longest: int = LONGEST_TEXT) -> str:
    """Return text without NUL and lone surrogates, cut to `longest` characters."""
    if "\0" in text:
        text = text.replace("\0", "␀")
    if not text.isascii():
        text = _SURROGATE.sub("�", text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def clean(value: object, *, depth: int = 0) -> Clean:
    """Return a value that every store holds unchanged.

    Notes
    -----
    NaN and infinities become their names, integers beyond 64 bits decimal text, unknown objects
    their `repr`. Without counting as altered, a negative zero becomes 0.0, which it equals, and
    NumPy scalars become Python's.
    """
    if isinstance(value, Clean):
        return value
    kind = type(value)
    if kind is str:
        text = clean_text(value)  # type: ignore[arg-type]  # mypy does not narrow by `type`
        return Clean(text, text != value)
    if value is None or kind is bool:
        return Clean(value, False)
    if isinstance(value, int):
        # `int.__int__` also reads members of an IntEnum.
        number = int.__int__(value)
        return Clean(number, False) if number in _INT64 else Clean(str(number), True)
    if isinstance(value, float):
        real = float.__float__(value)
        # Adding 0.0 takes the sign off a zero, which jsonb does not keep.
        return Clean(real + 0.0, False) if math.isfinite(real) else Clean(_name(real), True)
    if isinstance(value, str):
        text = clean_text(str.__str__(value))
        return Clean(text, text != str.__str__(value))
    if depth < DEEPEST:
        if isinstance(value, list | tuple):
            items = [clean(item, depth=depth + 1) for item in value]
            return Clean([item.value for item in items], any(item.altered for item in items))
        if isinstance(value, Mapping):
            return _clean_mapping(value, depth)
        if kind.__module__ == "numpy" and getattr(value, "shape", None) == ():
            scalar = value.item()  # type: ignore[attr-defined]  # numpy is never imported here
            if type(scalar).__module__ != "numpy":
                return clean(scalar, depth=depth + 1)
    return Clean(clean_text(_repr(value), longest=LONGEST_REPR), True)


def clean_attributes(attributes: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """Return JSON-safe attributes, and the names of those that had to be changed."""
    cleaned: dict[str, Any] = {}
    altered = []
    for key, value in attributes.items():
        name = _clean_name(str(key))
        kind = type(value)
        if value is None or kind is bool or (kind is int and value in _INT64):
            # Nearly all values that are not text, and there is nothing to clean in them.
            cleaned[name] = value
            if name != key:
                altered.append(name)
            continue
        item = clean(value)
        cleaned[name] = item.value
        if item.altered or name != key:
            altered.append(name)
    return cleaned, altered


# Made once: `json.dumps` makes an encoder for each call that is not all defaults.
_ENCODE = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
).encode


def dump(value: object) -> str:
    """Return compact JSON with sorted keys: one value, one text."""
    return _ENCODE(value)


@lru_cache(maxsize=4_096)
def _clean_name(key: str) -> str:
    return clean_text(key)


def _clean_mapping(value: Mapping[Any, object], depth: int) -> Clean:
    altered = False
    cleaned = {}
    for key, inner in value.items():
        name = clean_text(key if type(key) is str else str(key))
        item = clean(inner, depth=depth + 1)
        cleaned[name] = item.value
        altered = altered or item.altered or name != key
    return Clean(cleaned, altered)


def _name(real: float) -> str:
    if math.isnan(real):
        return "NaN"
    return "Infinity" if real > 0 else "-Infinity"


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # someone's broken __repr__ must not lose the event
        return f"<{type(value).__name__}>"
