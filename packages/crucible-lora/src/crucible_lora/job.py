"""Training as a task of the caller: watch it, cancel it, wait for it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, Self

import anyio

from crucible_lora.errors import LoraError
from crucible_lora.records import Record
from crucible_lora.request import Request
from crucible_lora.results import StepRow, TrainingReport

State = Literal["waiting", "running", "completed", "cancelled", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus(Record):
    """Where a job is. `loss` is the last update's; `eta_s` is None before the first update."""

    state: State
    step: int
    total: int
    loss: float | None
    eta_s: float | None


class TrainingJob:
    """A run in the background of `async with`; made by `LoraExperiment.job`.

    Leaving the block waits for the end. An error within the block cancels the run at its next
    update; so does the caller's own cancellation.

    Parameters
    ----------
    request : Request
    """

    def __init__(self, request: Request) -> None:
        theirs = request.operation.on_step
        self._request = replace(
            request,
            operation=replace(
                request.operation,
                on_step=lambda row: self._note(row, theirs),
                stop=lambda: self._unwanted,
            ),
        )
        self._stack = AsyncExitStack()
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._changed = anyio.Event()
        self._rows: list[StepRow] = []
        self._state: State = "waiting"
        self._unwanted = False
        self._report: TrainingReport | None = None
        self._error: Exception | None = None
        self._began = 0.0
        self._last = 0.0

    async def __aenter__(self) -> Self:
        if self._state != "waiting":
            raise LoraError("a job runs once: make another")
        self._state, self._began = "running", anyio.current_time()
        group = await self._stack.enter_async_context(anyio.create_task_group())
        group.start_soon(self._run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._scope.cancel()
        await self._stack.__aexit__(None, None, None)

    def status(self) -> JobStatus:
        """Return where it is."""
        done, total = len(self._rows), self._request.total
        eta = None
        if done and self._state == "running":
            eta = (self._last - self._began) / done * (total - done)
        return JobStatus(
            state=self._state,
            step=done,
            total=total,
            loss=self._rows[-1].loss if self._rows else None,
            eta_s=eta,
        )

    def events(self) -> AsyncIterator[StepRow]:
        """Return every update from the first on, as it comes, until the run ends."""
        return _Events(self)

    async def row(self, number: int) -> StepRow | None:
        """Return an update, counted from 0, once it is there; None if the run ends before."""
        while number >= len(self._rows):
            if self._ended.is_set():
                return None
            await self._changed.wait()
        return self._rows[number]

    def cancel(self) -> None:
        """End the run at its next update, with a checkpoint to go on from."""
        self._unwanted = True

    async def result(self) -> TrainingReport:
        """Return the report, once there is one; that of a cancelled job is `stopped` "cancelled".

        Raises
        ------
        Exception
            Whatever ended the run; `LoraError` if it was cancelled from outside.
        """
        await self._ended.wait()
        if self._error is not None:
            raise self._error
        if self._report is None:
            raise LoraError("the run was cancelled with its caller; `resume` goes on")
        return self._report

    async def _run(self) -> None:
        try:
            with self._scope:
                report = await self._request.run()
                self._report = report
                self._state = "cancelled" if report.stopped == "cancelled" else "completed"
        except Exception as error:  # noqa: BLE001 - raised by `result`
            self._error, self._state = error, "failed"
        finally:
            if self._state == "running":
                self._state = "cancelled"
            self._ended.set()
            self._wake()

    def _note(self, row: StepRow, theirs: Callable[[StepRow], None] | None) -> None:
        self._rows.append(row)
        self._last = anyio.current_time()
        self._wake()
        if theirs is not None:
            theirs(row)

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


class _Events:
    """Not a generator: leaving the loop early leaves nothing behind."""

    def __init__(self, job: TrainingJob) -> None:
        self._job, self._seen = job, 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StepRow:
        row = await self._job.row(self._seen)
        if row is None:
            raise StopAsyncIteration
        self._seen += 1
        return row
