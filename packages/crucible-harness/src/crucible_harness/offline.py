"""A stretch of code in which nothing may reach the network, and an attempt is an error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

_EVENTS = frozenset({"socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"})
_offline: ContextVar[bool] = ContextVar("crucible_harness_offline", default=False)


@contextmanager
def no_sockets() -> Iterator[None]:
    """Refuse every connection and every look-up of a name made in this context.

    Tasks and threads that anyio starts inside inherit the ban; whatever else the process does is
    left alone.

    Raises
    ------
    ConnectionRefusedError
        In the code that tried.
    """
    _watch()
    token = _offline.set(True)
    try:
        yield
    finally:
        _offline.reset(token)


@cache
def _watch() -> None:
    # An audit hook sees the attempt wherever it is made and cannot be removed again; outside of
    # `no_sockets` it does nothing. Patching `socket` would not be seen by who imported it before.
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event in _EVENTS and _offline.get():
        raise ConnectionRefusedError(f"{event} {arguments[1:]!r}: no connection may be made here")
