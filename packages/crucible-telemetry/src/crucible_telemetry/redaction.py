"""What must not be stored in clear: keyed hashes for identifiers, and attributes left out."""

import hashlib
import hmac
from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from typing import Any, Protocol

from crucible_telemetry.schema import Json
from crucible_telemetry.values import dump

_LEAST_SALT = 16
_DIGITS = 32


class Redactor(Protocol):
    """Change attributes before they are stored.

    It runs on the writer's thread, on JSON-safe values. If it raises, or returns anything else
    than a dict, all attributes of that event are dropped: nothing leaks because a hook failed.
    """

    def redact(self, attributes: dict[str, Json]) -> dict[str, Json]:
        """Return what may be stored."""
        ...


class HmacRedactor:
    """Replace identifiers by a keyed hash: equal ones stay equal, and nobody can guess them.

    Parameters
    ----------
    keys : collection of str
        Names of attributes, at any depth.
    salt : bytes, at least 16
        Secret; whoever has it can test guesses.

    Notes
    -----
    The first 32 hexadecimal digits of HMAC-SHA256 [1]_ of the text in UTF-8, or of the JSON of any
    other value. None stays None.

    References
    ----------
    .. [1] H. Krawczyk, M. Bellare, R. Canetti, RFC 2104, 1997.

    Examples
    --------
    >>> HmacRedactor(["user"], salt=bytes(32)).redact({"user": "user@example.com", "n": 1})
    {'user': '6bc739d87d2ddc0b17f7b728e827fd91', 'n': 1}
    """

    def __init__(self, keys: Collection[str], *, salt: bytes) -> None:
        self._keys = frozenset(_names("keys", keys))
        if len(salt) < _LEAST_SALT:
            raise ValueError(f"`salt` must be at least {_LEAST_SALT} bytes")  # never shown
        self._salt = salt

    def __repr__(self) -> str:
        return f"HmacRedactor({sorted(self._keys)})"

    def redact(self, attributes: dict[str, Json]) -> dict[str, Json]:
        """Return the attributes with hashes."""
        changed: dict[str, Json] = _rebuilt(attributes, self._hashed)
        return changed

    def _hashed(self, key: str, value: Any) -> tuple[bool, Any]:
        if key not in self._keys or value is None:
            return False, value
        text = value if isinstance(value, str) else dump(value)
        digest = hmac.new(self._salt, text.encode(), hashlib.sha256).hexdigest()
        return True, digest[:_DIGITS]


class DropRedactor:
    """Leave attributes out.

    Parameters
    ----------
    patterns : collection of str
        Names of attributes, at any depth; `*` and `?` as in file names, case matters.

    Examples
    --------
    >>> DropRedactor(["http.*"]).redact({"http.url": "/x", "n": 1})
    {'n': 1}
    """

    def __init__(self, patterns: Collection[str]) -> None:
        self._patterns = tuple(_names("patterns", patterns))

    def __repr__(self) -> str:
        return f"DropRedactor({list(self._patterns)})"

    def redact(self, attributes: dict[str, Json]) -> dict[str, Json]:
        """Return the attributes that no pattern fits."""
        changed: dict[str, Json] = _rebuilt(attributes, self._dropped)
        return changed

    def _dropped(self, key: str, value: Any) -> tuple[bool, Any]:
        fits = any(fnmatchcase(key, pattern) for pattern in self._patterns)
        return (True, _GONE) if fits else (False, value)


def described(redactor: Redactor | None) -> str | None:
    """Return how a record names a redactor: ours with its settings, others by their class."""
    if redactor is None:
        return None
    if isinstance(redactor, HmacRedactor | DropRedactor):
        return repr(redactor)
    return f"{type(redactor).__module__}.{type(redactor).__qualname__}"


_GONE = object()


def _names(parameter: str, names: Collection[str]) -> Collection[str]:
    if isinstance(names, str) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"`{parameter}` must be a collection of names, got {names!r}")
    return names


def _rebuilt(value: Any, change: Callable[[str, Any], tuple[bool, Any]]) -> Any:
    """Return a copy in which `change` has decided on every key of every mapping."""
    if isinstance(value, dict):
        copy = {}
        for key, inner in value.items():
            decided, found = change(key, inner)
            if found is not _GONE:
                copy[key] = found if decided else _rebuilt(inner, change)
        return copy
    if isinstance(value, list):
        return [_rebuilt(item, change) for item in value]
    return value
