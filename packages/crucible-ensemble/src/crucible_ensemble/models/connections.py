"""HTTP connections, which the models of one provider may share."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


class Connections:
    """One httpx client, made when it is first needed and closed with the last model that holds it.

    Notes
    -----
    Connections belong to the event loop they were made in: a new loop gets new ones, and those of a
    loop that is gone went with it.
    """

    def __init__(self) -> None:
        self._holders: set[int] = set()
        self._clients: dict[bool, tuple[object, httpx.AsyncClient]] = {}

    def client(self, holder: object, *, encrypted: bool) -> "httpx.AsyncClient":
        """Return the client of this event loop; `holder` keeps it open until it lets go."""
        from anyio.lowlevel import current_token

        self._holders.add(id(holder))
        loop = current_token()
        known = self._clients.get(encrypted)
        if known is None or known[0] != loop:
            known = self._clients[encrypted] = loop, _new_client(encrypted=encrypted)
        return known[1]

    async def let_go(self, holder: object) -> None:
        """Close the client, if nobody else holds it."""
        from anyio.lowlevel import current_token

        self._holders.discard(id(holder))
        if self._holders:
            return
        clients, self._clients = self._clients, {}
        for loop, client in clients.values():
            if loop == current_token():
                await client.aclose()


def _new_client(*, encrypted: bool) -> "httpx.AsyncClient":
    import ssl

    import httpx

    # Reading the machine's certificates takes as long as fifty calls to a server on loopback.
    # Without them nothing can be trusted, so that plain HTTP stays plain HTTP.
    trusted = True if encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    return httpx.AsyncClient(timeout=None, limits=limits, follow_redirects=False, verify=trusted)
