"""SIGTERM, the way schedulers end a job: what was recorded becomes durable first."""

import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING

from crucible_telemetry.errors import TelemetryError

if TYPE_CHECKING:
    from crucible_telemetry.experiment import Experiment
    from crucible_telemetry.process import Process

_LIMIT_S = 20.0
_MARK_LIMIT_S = 2.0

_log = logging.getLogger("crucible_telemetry")


class Termination:
    """Our handler of SIGTERM, there only while experiments run that want it.

    It takes the place of the default action alone: a handler of the user's stays, and theirs
    replaces ours.
    """

    def __init__(self, process: "Process") -> None:
        self._process = process

    def watch(self) -> None:
        """Install the handler, from the main thread and over the default action only."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._handle)

    def unwatch(self) -> None:
        """Restore the default action once nothing is left to save."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        deadline = time.monotonic() + _LIMIT_S
        running = [e for e in self._process.running() if e.flush_on_sigterm]
        for experiment in running:
            try:
                experiment.drain(max(0.0, deadline - time.monotonic()))
            except TelemetryError as error:
                _log.error("%s left events behind: %s", experiment.id, error)
        # In a thread of its own: the code that the signal interrupted may hold the store's lock.
        # Whoever reads an experiment that still says "running" finds its process gone.
        marking = threading.Thread(target=_mark, args=(running,), daemon=True)
        marking.start()
        marking.join(_MARK_LIMIT_S)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


def _mark(experiments: "list[Experiment]") -> None:
    for experiment in experiments:
        try:
            experiment.mark_interrupted()
        except TelemetryError as error:
            _log.error("%s could not be marked as interrupted: %s", experiment.id, error)
