"""The name of the task that runs here, whichever event loop it is."""


def task_name() -> str | None:
    """Return the current task's name; None outside an event loop."""
    from anyio import get_current_task

    try:
        return get_current_task().name
    except RuntimeError:  # no event loop runs in this thread
        return None
