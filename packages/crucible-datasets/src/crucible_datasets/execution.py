"""Running predicted programs against the tests of their items. Opt-in, and only in a sandbox."""

import os
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, cast

import anyio

from crucible_datasets.errors import ExecutionNotAllowedError
from crucible_datasets.evaluation import Predictions, by_item
from crucible_datasets.items import Dataset, Item
from crucible_datasets.programs import Assemble, program_of
from crucible_datasets.results import Execution, Prediction
from crucible_datasets.sandbox import Sandbox
from crucible_datasets.tracing import span

_TAIL = 2000


async def run_code(
    dataset: Dataset,
    predictions: Predictions,
    *,
    sandbox: Sandbox,
    allow_execution: bool,
    timeout_s: float = 3.0,
    memory_bytes: int = 2**30,
    concurrency: int | None = None,
    assemble: Assemble = "auto",
) -> tuple[Execution, ...]:
    """Run each predicted program with the tests of its item.

    Parameters
    ----------
    dataset : Dataset
        Of task "code"; items have `entry_point` and `test` in their metadata.
    sandbox : Sandbox
        `SubprocessSandbox()`, or one of your own.
    allow_execution : bool
        Must be True: model output is untrusted.
    timeout_s : float, > 0
        Wall clock, per program.
    memory_bytes : int
        Address space, per process.
    concurrency : int, >= 1, optional
        Programs at the same time; the number of processors by default.
    assemble : {"auto", "continuation", "chat"}
        How output becomes a program: appended to the prompt and cut after the function, or the last
        code block after the prompt's imports and other functions. "auto" takes the block where the
        output defines the function.

    Returns
    -------
    One execution per prediction, in the order of data set and samples.

    Raises
    ------
    ExecutionNotAllowedError
        Unless `allow_execution` is True.
    SandboxUnavailableError
        If the sandbox cannot give what was asked for.
    ValueError
        If the data set is not code, or an argument is out of range.
    """
    if allow_execution is not True:
        raise ExecutionNotAllowedError
    if dataset.task != "code":
        raise ValueError(f"`dataset` must be of task 'code', got {dataset.task!r}")
    if assemble not in ("auto", "continuation", "chat"):
        raise ValueError(f"`assemble` must be auto, continuation or chat, got {assemble!r}")
    if concurrency is not None and concurrency < 1:
        raise ValueError(f"`concurrency` must be >= 1, got {concurrency}")
    lacking = [i.id for i in dataset if not {"entry_point", "test"} <= i.metadata.keys()]
    if lacking:
        raise ValueError(f"`dataset` must have entry_point and test, got {lacking[0]} without")
    given = by_item(predictions, dataset, "skip")
    jobs = [(item, one) for item in dataset for one in given.get(item.id, ())]
    done: dict[int, Execution] = {}
    limiter = anyio.CapacityLimiter(concurrency or os.cpu_count() or 1)

    async def one(place: int, item: Item, prediction: Prediction) -> None:
        async with limiter:
            done[place] = await _run(
                item, prediction, sandbox, assemble, timeout_s=timeout_s, memory_bytes=memory_bytes
            )

    with span("run_code", n=len(jobs)) as here:
        try:
            async with AsyncExitStack() as stack:
                if hasattr(sandbox, "__aenter__"):
                    await stack.enter_async_context(
                        cast("AbstractAsyncContextManager[Any]", sandbox)
                    )
                async with anyio.create_task_group() as group:
                    for place, (item, prediction) in enumerate(jobs):
                        group.start_soon(one, place, item, prediction)
        except BaseExceptionGroup as several:
            raise _first(several) from several
        found = tuple(done[place] for place in range(len(jobs)))
        here.set(
            passed=sum(e.outcome == "passed" for e in found),
            timeout=sum(e.outcome == "timeout" for e in found),
            isolation=",".join(sorted({wall for e in found for wall in e.isolation})),
        )
    return found


def run_code_sync(
    dataset: Dataset,
    predictions: Predictions,
    *,
    sandbox: Sandbox,
    allow_execution: bool,
    timeout_s: float = 3.0,
    memory_bytes: int = 2**30,
    concurrency: int | None = None,
    assemble: Assemble = "auto",
) -> tuple[Execution, ...]:
    """Run `run_code` from a script or a notebook; see there."""
    from anyio.from_thread import start_blocking_portal

    async def run() -> tuple[Execution, ...]:
        return await run_code(
            dataset, predictions, sandbox=sandbox, allow_execution=allow_execution,
            timeout_s=timeout_s, memory_bytes=memory_bytes, concurrency=concurrency,
            assemble=assemble,
        )  # fmt: skip

    with start_blocking_portal() as portal:  # a thread of its own: notebooks run a loop already
        return portal.call(run)


async def _run(
    item: Item, prediction: Prediction, sandbox: Sandbox, assemble: Assemble, **limits: Any
) -> Execution:
    if prediction.error is not None or prediction.output is None:
        return Execution(
            item_id=item.id, sample=prediction.sample, outcome="refused", duration_s=0.0,
            stderr_tail=prediction.error or "there is no output",
        )  # fmt: skip
    result = await sandbox.run(program_of(item, prediction.output, assemble=assemble), **limits)
    return Execution(
        item_id=item.id, sample=prediction.sample, outcome=result.outcome,
        duration_s=result.duration_s, stderr_tail=result.stderr[-_TAIL:],
        isolation=result.isolation,
    )  # fmt: skip


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group: callers expect the one that a single run raises."""
    first = several.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
