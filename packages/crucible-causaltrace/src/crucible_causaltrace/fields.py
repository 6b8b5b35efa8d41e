"""What the content of a field says: confidence, alternatives, metadata, code."""

import json
import re
from typing import Any

from crucible_causaltrace.event import Json

_CONFIDENCE = re.compile(
    r"[~≈]?\s*([+-]?)([0-9]+(?:[.,][0-9]+)?|[.,][0-9]+)\s*"
    r"(?:(%)|/\s*([0-9]+(?:[.,][0-9]+)?))?\s*(?:\([^()]*\))?"
)
_THOUSANDS = re.compile(r"[1-9][0-9]*,[0-9]{3}")
_BULLET = re.compile(r"(?:[-*•]|[0-9]{1,3}[.)])\s+")
_LONGEST_CONFIDENCE = 400
_DEEPEST_METADATA = 32


def read_confidence(stated: str) -> tuple[float | None, str | None]:
    """Read a stated confidence.

    Returns
    -------
    value : float in [0, 1] or None
        Never clamped, never guessed.
    issue : str or None
        "empty_confidence", "confidence_not_numeric" or "confidence_out_of_range".
    """
    stated = stated.strip()
    if not stated:
        return None, "empty_confidence"
    match = _CONFIDENCE.fullmatch(stated) if len(stated) <= _LONGEST_CONFIDENCE else None
    if match is None:
        return None, "confidence_not_numeric"
    sign, number, percent, parts = match.groups()
    value = _read_number(number)
    if percent:
        value /= 100.0
    elif parts:
        whole = _read_number(parts)
        if whole == 0.0:
            return None, "confidence_not_numeric"
        value /= whole
    if value > 1.0 or (sign == "-" and value != 0.0):
        return None, "confidence_out_of_range"
    return value, None


def _read_number(digits: str) -> float:
    # "1,000" is a thousand; "0,85" has a decimal comma.
    return float(digits.replace(",", "" if _THOUSANDS.fullmatch(digits) else "."))


def split_alternatives(content: str) -> list[str]:
    """Split a list that is not tagged: on lines and `;` if there are any, else on commas."""
    parts = re.split(r"[\n;]", content) if re.search(r"[\n;]", content) else content.split(",")
    stripped = (_BULLET.sub("", part.strip(), count=1).strip() for part in parts)
    return [part for part in stripped if part]


def read_metadata(content: str) -> tuple[dict[str, Json], bool]:
    """Read a JSON object or lines of `key: value`; other text stays whole under "text".

    Returns
    -------
    metadata : dict
    read : bool
        False if the content is neither.
    """
    content = content.strip()
    if not content:
        return {}, True
    try:
        data = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict) and _depth_is_fine(data):
        return data, True
    pairs: dict[str, Json] = {}
    for line in content.splitlines():
        key, colon, value = line.partition(":")
        if line.strip() and not (colon and re.fullmatch(r"[\w .-]{1,64}", key.strip())):
            return {"text": content}, False
        if line.strip():
            pairs.setdefault(key.strip(), value.strip())
    return pairs, True


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _depth_is_fine(data: object) -> bool:
    level: list[object] = [data]
    for _ in range(_DEEPEST_METADATA):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return True
    return False


def unframe_code(code: str) -> str:
    """Drop the line breaks that set code apart from its tags, as a pair."""
    for newline in ("\r\n", "\n"):
        if code.startswith(newline):
            code = code.removeprefix(newline)
            return code.removesuffix(newline)
    return code
