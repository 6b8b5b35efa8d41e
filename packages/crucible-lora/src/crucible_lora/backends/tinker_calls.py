"""Calls to the Tinker SDK: each has a deadline, and fails with an error of this package."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

import anyio
import tinker

from crucible_lora.errors import (
    BackendAuthError,
    BackendBillingError,
    BackendError,
    BackendRequestError,
    BackendTimeoutError,
    BackendUnavailableError,
)

T = TypeVar("T")
_NAME = "tinker"
_GOODBYE_S = 10.0


class Service:
    """The SDK's client of one service.

    Parameters
    ----------
    base_url, project_id : str, optional
    api_key : str
    deadline_s : float
        Of each call.
    """

    def __init__(
        self, *, base_url: str | None, api_key: str, project_id: str | None, deadline_s: float
    ) -> None:
        self.deadline_s = deadline_s
        self._client = tinker.ServiceClient(
            base_url=base_url, api_key=api_key, project_id=project_id
        )

    async def open(self) -> None:
        """Log in. The SDK does it when it is first used, and blocks."""

        def log_in() -> None:
            # On HTTP 402 the SDK would sleep and try again for an hour; this lets it fail instead.
            self._client.holder._should_pause_on_billing = _never

        await self._wait("log in", [_in_thread(log_in)])

    async def call(self, what: str, submit: Callable[[Any], Any]) -> Any:
        """Submit one request to the SDK's client and wait for its answer."""
        (found,) = await self.wait(what, lambda: [submit(self._client)])
        return found

    async def wait(self, what: str, submit: Callable[[], Sequence[Any]]) -> list[Any]:
        """Submit requests back to back and return their answers.

        Parameters
        ----------
        what : str
            For messages.
        submit : callable
            Returns the SDK's futures.

        Raises
        ------
        BackendError
            Also where the answers together take longer than the deadline.
        """
        # In a context of its own: the SDK has an event loop of asyncio in another thread, and takes
        # a caller's trio for its own library.
        futures = [f.future() for f in Context().run(submit)]
        return await self._wait(what, futures)

    async def _wait(
        self, what: str, futures: "Sequence[Future[Any]]", *, deadline_s: float | None = None
    ) -> list[Any]:
        end = time.monotonic() + (deadline_s or self.deadline_s)
        try:
            # One thread for all: each change of threads costs as much as making a request.
            def results() -> list[Any]:
                return [future.result(max(0.0, end - time.monotonic())) for future in futures]

            return await anyio.to_thread.run_sync(results, abandon_on_cancel=True)
        except TimeoutError as error:
            raise BackendTimeoutError(
                f"{what}: no answer within {self.deadline_s:g} s", backend=_NAME, retryable=True
            ) from error
        except Exception as error:
            raise translated(what, error) from error
        finally:
            for future in futures:
                future.cancel()

    async def close(self) -> None:
        """Finish the service's session, as far as the service lets us.

        What was trained is saved by then; a service that cannot say goodbye must not take it away.
        """
        with suppress(BackendError):
            futures = [f.future() for f in Context().run(lambda: [self._client.close("success")])]
            await self._wait("close", futures, deadline_s=min(self.deadline_s, _GOODBYE_S))

    def abandon(self) -> None:
        """Let the SDK finish and free what there is, without waiting for it."""
        # In a thread: while the SDK logs in, its own `close` waits for that.
        _in_thread(lambda: self._client.close("errored"))


def translated(what: str, error: Exception) -> BackendError:
    """Return an error of the SDK as one of this package."""
    kind: type[BackendError] = BackendUnavailableError
    retryable, request = True, None
    for cause in _causes(error):
        if isinstance(cause, tinker.RequestFailedError):
            request = cause.request_id
            if cause.category is tinker.types.RequestErrorCategory.User:
                kind, retryable = BackendRequestError, False
            break
        if isinstance(cause, tinker.APIStatusError):
            request = cause.response.headers.get("x-request-id")
            kind, retryable = _kind_of(cause.status_code)
            break
        if isinstance(cause, tinker.APIConnectionError):
            break
    else:
        retryable = False
    return kind(f"{what}: {error}", backend=_NAME, retryable=retryable, request_id=request)


def _kind_of(status: int) -> tuple[type[BackendError], bool]:
    if status in (401, 403):
        return BackendAuthError, False
    if status == 402:
        return BackendBillingError, False
    if status in (408, 409, 429) or status >= 500:
        return BackendUnavailableError, True
    return BackendRequestError, False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _never(status: int, detail: str) -> bool:
    return False


def _in_thread(work: Callable[[], T]) -> "Future[T]":
    """Do blocking work in a thread that does not keep the process alive."""
    future: Future[T] = Future()

    def run() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - handed to who waits
                future.set_exception(error)

    # A context of its own, as in `Service.wait`.
    work_in = Context()
    threading.Thread(target=work_in.run, args=(run,), name="tinker", daemon=True).start()
    return future
