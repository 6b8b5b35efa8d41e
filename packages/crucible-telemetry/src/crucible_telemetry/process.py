"""What exists once per process because OpenTelemetry and the interpreter exist once.

One object, and nothing on import: it fills with the first experiment.
"""

import atexit
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from crucible_telemetry.errors import TelemetryError
from crucible_telemetry.stores.port import Store
from crucible_telemetry.termination import Termination

if TYPE_CHECKING:
    from crucible_telemetry.experiment import Experiment
    from crucible_telemetry.writer import StoreWriter

_EXIT_LIMIT_S = 30.0

_log = logging.getLogger("crucible_telemetry")


class Process:
    """The experiments of this process, their writers, and the providers that we listen to."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.processors: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._experiments: WeakValueDictionary[str, Experiment] = WeakValueDictionary()
        self._running: dict[str, Experiment] = {}
        self._writers: list[StoreWriter] = []
        self._hooked = False
        self._termination = Termination(self)

    def started(self, experiment: "Experiment") -> None:
        """Note that an experiment runs; the process ends only when its events are durable."""
        with self.lock:
            if not self._hooked:
                self._hooked = True
                self._hook()
            self._experiments[experiment.id] = experiment
            self._running[experiment.id] = experiment
        if experiment.flush_on_sigterm:
            self._termination.watch()

    def stopped(self, experiment: "Experiment") -> None:
        """Note that an experiment has stopped."""
        with self.lock:
            self._running.pop(experiment.id, None)
            self._writers = [writer for writer in self._writers if not writer.is_idle]
            watched = any(other.flush_on_sigterm for other in self._running.values())
        if not watched:
            self._termination.unwatch()

    def running(self) -> list["Experiment"]:
        """Return the experiments that have not stopped."""
        with self.lock:
            return list(self._running.values())

    def find(self, id: str) -> "Experiment | None":
        """Return an experiment of this process, running or still referred to."""
        with self.lock:
            return self._experiments.get(id)

    def writer_of(self, store: Store) -> "StoreWriter":
        """Return the one writer of a store. The caller holds the lock until it has attached."""
        from crucible_telemetry.writer import StoreWriter

        for writer in self._writers:
            if writer.store is store:
                return writer
        self._writers.append(StoreWriter(store))
        return self._writers[-1]

    def _hook(self) -> None:
        atexit.register(self.drain_at_exit)
        if hasattr(os, "register_at_fork"):
            from multiprocessing import util

            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork_in_parent,
                after_in_child=self._after_fork,
            )
            # A forked worker of multiprocessing leaves without running `atexit`.
            util.register_after_fork(
                self, lambda it: util.Finalize(it, it.drain_at_exit, exitpriority=0)
            )

    def _before_fork(self) -> None:
        self._call_stores("before_fork")

    def _after_fork_in_parent(self) -> None:
        self._call_stores("after_fork_in_parent")

    def _call_stores(self, hook: str) -> None:
        for writer in self._writers:
            call = getattr(writer.store, hook, None)
            if call is not None:
                call()

    def _after_fork(self) -> None:
        from crucible_telemetry.assembly import join_as_copy

        self.lock = threading.RLock()
        self._call_stores("after_fork")
        for experiment in self._running.values():
            join_as_copy(experiment)
        for writer in self._writers:
            writer.start_again()

    def drain_at_exit(self) -> None:
        """Make everything durable before the process ends."""
        deadline = time.monotonic() + _EXIT_LIMIT_S
        for experiment in self.running():
            try:
                experiment.drain(max(0.0, deadline - time.monotonic()))
            except TelemetryError as error:
                _log.error("%s left events behind: %s", experiment.id, error)


PROCESS = Process()
