"""Connections to one server, kept open and handed out one at a time."""

import ssl
from collections.abc import AsyncIterator

import httpx

_MOST_IDLE = 20


class Lines(httpx.AsyncBaseTransport):
    """As many connections as there are requests under way; those that are free wait for the next.

    Notes
    -----
    httpx's own pool asks every connection whether it is still open whenever any request begins or
    ends, which at ten calls at a time is a third of all the work of a call. Here a request asks
    about the one that it takes, the one that was used last.
    """

    def __init__(self, trusted: ssl.SSLContext) -> None:
        self._trusted = trusted
        self._idle: list[httpx.AsyncHTTPTransport] = []
        self._open: set[httpx.AsyncHTTPTransport] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over a line of its own, free again when the response is closed."""
        line = self._idle.pop() if self._idle else self._new()
        try:
            response = await line.handle_async_request(request)
        except BaseException:
            if line in self._open:
                self._idle.append(line)  # it has closed what was broken
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _OnLine(response.stream, line, self)
        return response

    async def free(self, line: httpx.AsyncHTTPTransport) -> None:
        """Take a line back."""
        if line not in self._open:  # everything was closed meanwhile
            return
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(line)
            return
        self._open.discard(line)
        await line.aclose()

    async def aclose(self) -> None:
        """Close every line."""
        lines, self._open, self._idle = self._open, set(), []
        for line in lines:
            await line.aclose()

    def _new(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        line = httpx.AsyncHTTPTransport(verify=self._trusted, limits=limits)
        self._open.add(line)
        return line


class _OnLine(httpx.AsyncByteStream):
    """The body of a response; closing it frees its line."""

    def __init__(
        self, body: httpx.AsyncByteStream, line: httpx.AsyncHTTPTransport, lines: Lines
    ) -> None:
        self._body, self._lines = body, lines
        self._line: httpx.AsyncHTTPTransport | None = line

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            yield piece

    async def aclose(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            try:
                await self._body.aclose()
            finally:
                await self._lines.free(line)
