"""A bar on the terminal, where there is one."""

import sys
from types import TracebackType
from typing import Any, Self


class Meter:
    """Counts what is done; shown if wanted, by default on a terminal alone."""

    def __init__(self, label: str, total: int, *, wanted: bool | None) -> None:
        self._label, self._total = label, total
        self._shown = sys.stderr.isatty() if wanted is None else wanted
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._shown:
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True))
            self._task = self._bar.add_task(self._label, total=self._total)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, steps: int) -> None:
        """Count some more."""
        if self._bar is not None:
            self._bar.advance(self._task, steps)
