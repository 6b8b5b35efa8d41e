"""From a body to what the server said, or to the error that it stands for."""

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crucible_ensemble.errors import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidRequestError,
    ModelError,
    ModelTimeoutError,
    ResponseFormatError,
)
from crucible_ensemble.models.connections import Connections
from crucible_ensemble.models.options import Options
from crucible_ensemble.models.wire import Answer, Stream, Wire, error_from

if TYPE_CHECKING:
    import httpx

_UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError)
_BY_TYPE: Mapping[str, int] = {
    "api_error": 500,
    "authentication_error": 401,
    "invalid_request_error": 400,
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "server_error": 500,
}


class Transport:
    """The connections to one model's server. Everything is tried once."""

    def __init__(
        self,
        wire: Wire,
        *,
        name: str,
        base_url: str,
        key_variables: Sequence[str],
        key_needed: bool,
        options: Options,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"`base_url` must begin with http:// or https://, got {base_url!r}")
        self.base_url = base_url.rstrip("/")
        self._wire, self._name, self._options = wire, name, options
        self._key_variables, self._key_needed = tuple(key_variables), key_needed
        self._connections = options.connections or Connections()

    async def aclose(self) -> None:
        """Close the connections, if no other model holds them."""
        await self._connections.let_go(self)

    async def send(
        self, body: Mapping[str, Any], *, stream: bool, deadline: float
    ) -> "httpx.Response":
        """Return a response with status 200; its body has been read unless it is a stream.

        Raises
        ------
        ModelError
            For any other status, and where there is no response before the deadline.
        """
        import anyio
        import httpx

        client = self._client()
        request = client.build_request(
            "POST", self.base_url + self._wire.path(stream=stream), json=body,
            headers={**self._wire.headers(self._key()), **(self._options.headers or {})},
        )  # fmt: skip
        try:
            with anyio.fail_after(deadline - anyio.current_time()):
                response = await client.send(request, stream=stream, follow_redirects=False)
                if stream and response.status_code != 200:
                    await response.aread()
                    await response.aclose()
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._late() from error
        except httpx.HTTPError as error:
            raise self._broken(error) from error
        status = response.status_code
        if 300 <= status < 400:
            raise InvalidRequestError(
                f"{self._where()} answered {status}, a redirect; it was not followed, since that "
                "would hand the key to another address",
                model=self._name,
                status=status,
                cost_usd=0.0,
            )
        if status >= 400:
            raise self._refusal(status, response.text, response.headers)
        return response

    def answer(self, response: "httpx.Response") -> Answer:
        """Read an answer that came in one piece."""
        try:
            data = response.json()
        except ValueError as error:
            kind = response.headers.get("content-type", "no content type")
            raise self.unreadable(f"{kind} that is not JSON") from error
        if isinstance(data, dict) and data.get("error"):  # a refusal dressed as a success
            raise self._refusal(_status_of(data), response.text, response.headers)
        if not isinstance(data, dict):
            raise self.unreadable(f"a JSON {type(data).__name__}, not an object")
        try:
            return self._wire.read(data)
        except _UNREADABLE as error:
            raise self.unreadable(f"an answer without {error}") from error

    async def pieces(self, response: "httpx.Response", deadline: float) -> AsyncIterator[bytes]:
        """Yield the bytes of a stream as they come."""
        import anyio
        import httpx

        arriving = response.aiter_bytes()
        while True:
            try:
                with anyio.fail_after(max(0.0, deadline - anyio.current_time())):
                    piece = await anext(arriving)
            except StopAsyncIteration:
                return
            except (TimeoutError, httpx.TimeoutException) as error:
                raise self._late() from error
            except httpx.HTTPError as error:
                raise self._broken(error) from error
            yield piece

    def read_event(self, stream: Stream, event: str, headers: Mapping[str, str]) -> str:
        """Give an event to the reader of a stream; return the text it adds."""
        if event.strip() == "[DONE]":
            stream.done = True
            return ""
        try:
            data = json.loads(event)
            if isinstance(data, dict) and data.get("error"):
                raise self._refusal(_status_of(data), event, headers)
            return stream.feed(data)
        except _UNREADABLE as error:
            raise self.unreadable(f"an event that cannot be read ({error})") from error

    def streamed_answer(self, stream: Stream, headers: Mapping[str, str]) -> Answer:
        """Return what a stream said; one that broke off said nothing."""
        if not stream.done:
            kind = headers.get("content-type", "no content type")
            raise self.unreadable(f"a stream of {kind} that ended before the answer did")
        try:
            return stream.answer()
        except _UNREADABLE as error:
            raise self.unreadable(f"a stream that lacks {error}") from error

    def unreadable(self, what: str) -> ResponseFormatError:
        """Return the error for an answer that cannot be used."""
        return ResponseFormatError(f"{self._where()} answered with {what}", model=self._name)

    def _client(self) -> "httpx.AsyncClient":
        if self._options.client is not None:
            return self._options.client
        encrypted = self.base_url.startswith("https://")
        return self._connections.client(self, encrypted=encrypted)

    def _key(self) -> str | None:
        key = self._options.api_key
        for variable in self._key_variables:
            key = key or os.environ.get(variable)
        if key or not self._key_needed:
            return key
        raise AuthenticationError(
            f"no API key for {self._name}: set {' or '.join(self._key_variables)}, "
            "or pass `api_key`",
            model=self._name,
            cost_usd=0.0,
        )

    def _where(self) -> str:
        return f"{self._name} at {self.base_url}"

    def _refusal(self, status: int, text: str, headers: Mapping[str, str]) -> ModelError:
        key = self._key()
        if key:  # some servers quote the key they refuse
            text = text.replace(key, "***")
        if status == 200:
            return self.unreadable("an error without a status")
        return error_from(status, text, headers, model=self._name, where=self._where())

    def _late(self) -> ModelTimeoutError:
        said = f"no answer from {self._where()} within {self._options.timeout_s:g} s"
        return ModelTimeoutError(said, model=self._name)

    def _broken(self, error: Exception) -> ConnectionFailedError:
        import httpx

        said = str(error) or type(error).__name__
        # A connection that was never made cannot have been billed.
        cost = 0.0 if isinstance(error, httpx.ConnectError) else None
        return ConnectionFailedError(
            f"cannot reach {self._where()}: {said}", model=self._name, cost_usd=cost
        )


def _status_of(data: Mapping[str, Any]) -> int:
    error = data["error"]
    status = error.get("code") if isinstance(error, dict) else None
    if isinstance(status, int) and 400 <= status < 600:
        return status
    kind = error.get("type") if isinstance(error, dict) else None
    return _BY_TYPE.get(str(kind), 200)
