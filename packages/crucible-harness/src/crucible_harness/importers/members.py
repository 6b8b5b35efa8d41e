"""The members of a JSON object that is too large to be held at once."""

import json
from collections.abc import Iterator
from typing import IO, Any

_BLANK = " \t\r\n"
_CHUNK = 1 << 20  # characters


def members(file: IO[str], *, one_by_one: str) -> Iterator[tuple[str, Any]]:
    """Yield each member of the object in a file, and the elements of the list `one_by_one`.

    Raises
    ------
    ValueError
        If it is no JSON object, or ends early.
    """
    text = _Text(file)
    text.take("{")
    if text.peek() == "}":
        return
    while True:
        key = text.value()
        text.take(":")
        if key == one_by_one and text.peek() == "[":
            text.take("[")
            if text.peek() == "]":
                text.take("]")
            else:
                more = ","
                while more == ",":
                    yield key, text.value()
                    more = text.take(",]")
        else:
            yield key, text.value()
        if text.take(",}") == "}":
            return


class _Text:
    """The part of a file that is being read."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._before = 0  # characters that are read and gone
        self._decode = json.JSONDecoder().raw_decode

    def _more(self) -> bool:
        """Read on, at least as much again as is held; False, and nothing changed, at the end."""
        held = self._text[self._at :]
        read = self._file.read(max(_CHUNK, len(held)))
        if not read:
            return False
        self._before += self._at
        self._text, self._at = held + read, 0
        return True

    def peek(self) -> str:
        """Return the next character that is not blank, "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, wanted: str) -> str:
        """Return the next character and go behind it."""
        found = self.peek()
        if not found or found not in wanted:
            place = self._before + self._at
            raise ValueError(f"expected one of {wanted!r} at character {place}, got {found!r}")
        self._at += 1
        return found

    def value(self) -> Any:
        """Return the next value and go behind it."""
        self.peek()
        while True:
            try:
                found, end = self._decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            # A number may go on: what is held of "1e+5" may end behind its "1e+".
            if end > len(self._text) - 3 and self._more():
                continue
            self._at = end
            return found
