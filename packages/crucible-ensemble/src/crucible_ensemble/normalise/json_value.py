"""Answers that are JSON."""

import json
from typing import Any

from crucible_ensemble.normalise.code import last_block

_MOST_STARTS = 20


def json_value(text: str, /) -> str | None:
    """Return the last fenced block, or the last balanced object or array, as canonical JSON.

    Notes
    -----
    Keys are sorted and 1.0 is 1. NaN, infinities and duplicate keys have no answer: None.

    Examples
    --------
    >>> json_value('Here it is: {"b": 1.0, "a": [2]}')
    '{"a":[2],"b":1}'
    """
    block = last_block(text)
    if block is not None:
        return _canonical(block)
    whole = _canonical(text)
    if whole is not None:
        return whole
    found = _last_balanced(text)
    return None if found is None else _canonical(found)


def _canonical(text: str) -> str | None:
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        return json.dumps(
            _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False,
            allow_nan=False,
        )  # fmt: skip
    except (ValueError, RecursionError, OverflowError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _last_balanced(text: str) -> str | None:
    """Return the last balanced object or array.

    A bracket in the prose that is never closed hides what follows; the search then starts again
    behind it, a fixed number of times, so that it stays linear.
    """
    start = 0
    for _ in range(_MOST_STARTS):
        found, unclosed = _scan(text, start)
        if found is not None or unclosed is None:
            return found
        start = unclosed + 1
    return None


def _scan(text: str, start: int) -> tuple[str | None, int | None]:
    found, opened, depth, quoted, escaped = None, None, 0, False, False
    for place in range(start, len(text)):
        letter = text[place]
        if quoted:
            if escaped:
                escaped = False
            elif letter == "\\":
                escaped = True
            elif letter == '"':
                quoted = False
        elif letter in "{[":
            if depth == 0:
                opened = place
            depth += 1
        elif depth and letter == '"':
            quoted = True
        elif depth and letter in "}]":
            depth -= 1
            if depth == 0 and opened is not None:
                found = text[opened : place + 1]
    return found, opened if depth else None
