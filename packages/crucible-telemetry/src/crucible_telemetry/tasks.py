"""The name of the task that runs here, whichever event loop it is."""

import sys


def task_name() -> str | None:
    """Return the current task's name; None outside an event loop."""
    if not _in_event_loop():
        return None
    from anyio import get_current_task

    try:
        return get_current_task().name
    except RuntimeError:  # no event loop runs in this thread
        return None


def _in_event_loop() -> bool:
    """Whether a loop may run in this thread: anyio answers that by an exception, at ten times."""
    modules = sys.modules
    loops = modules.get("asyncio")
    if loops is not None and loops._get_running_loop() is not None:
        return True
    trio = modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())
