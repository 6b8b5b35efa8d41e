"""Server-sent events, from bytes that may be split anywhere."""

from collections.abc import Iterator


class EventReader:
    """Turns pieces of a response's body into the `data` of its events.

    Notes
    -----
    Lines end with CR, LF or both, and nothing else: a line separator U+2028 inside a JSON string
    is text. Comments, event names, ids and retry hints are skipped; the data names its type.

    References
    ----------
    .. [1] WHATWG, HTML Living Standard, 9.2.6, interpreting an event stream.
    """

    def __init__(self) -> None:
        self._left = b""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[str]:
        """Yield the data of every event that this piece completes."""
        self._left += piece
        while True:
            end = min((p for p in map(self._left.find, (b"\n", b"\r")) if p >= 0), default=-1)
            # A CR at the very end may be half of a CR LF.
            if end < 0 or (self._left[end : end + 1] == b"\r" and end + 1 == len(self._left)):
                return
            width = 2 if self._left[end : end + 2] == b"\r\n" else 1
            line, self._left = self._left[:end], self._left[end + width :]
            yield from self._line(line)

    def close(self) -> Iterator[str]:
        """Yield an event that the server did not end with an empty line."""
        if self._left:
            yield from self._line(self._left.rstrip(b"\r"))
            self._left = b""
        yield from self._line(b"")

    def _line(self, line: bytes) -> Iterator[str]:
        if not line:
            if self._data:
                yield "\n".join(self._data)
            self._data = []
        elif line.startswith(b"data:"):
            value = line[5:].decode("utf-8", "replace")
            self._data.append(value.removeprefix(" "))
