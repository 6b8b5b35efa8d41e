"""Work in a thread that ends when it is not wanted any more."""

import threading
from collections.abc import Callable
from typing import Any


async def in_thread(work: Callable[[threading.Event], Any]) -> Any:
    """Run in a thread, which is told of a cancellation and waited for."""
    import anyio
    import anyio.to_thread
    from anyio.lowlevel import checkpoint_if_cancelled

    halt = threading.Event()
    failed: list[Exception] = []
    result: Any = None

    async def watch() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            halt.set()

    def run() -> Any:
        try:
            return work(halt)
        except Exception as error:  # noqa: BLE001 - raised below, without a group around it
            failed.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        with anyio.CancelScope(shield=True):
            result = await anyio.to_thread.run_sync(run)
        await checkpoint_if_cancelled()  # what was halted is no answer
        group.cancel_scope.cancel()
    if failed:
        raise failed[0]
    return result
