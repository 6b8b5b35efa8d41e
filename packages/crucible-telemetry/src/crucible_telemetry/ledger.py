"""What is known of an experiment itself, written down whenever its state changes."""

from dataclasses import replace

from crucible_telemetry import query
from crucible_telemetry.clock import Clock
from crucible_telemetry.records import CaptureStats, ExperimentRecord, State, WriterRecord
from crucible_telemetry.stores.opening import reachable
from crucible_telemetry.stores.port import Store
from crucible_telemetry.suppression import suppressed


class Ledger:
    """The record of an experiment and of this process as its writer, here and in the store.

    Attributes
    ----------
    record : ExperimentRecord
        As of now; with statistics once it has stopped.
    """

    def __init__(
        self,
        record: ExperimentRecord,
        *,
        this_writer: WriterRecord,
        store: Store,
        clock: Clock,
        is_copy: bool,
    ) -> None:
        self.record = record
        self._this_writer = this_writer
        self._store = store
        self._clock = clock
        # Of a fork or a worker: the experiment's document is that of the process that started it.
        self._is_copy = is_copy
        self._since_ns = clock.monotonic_ns()
        self._active_ns = 0

    def renew_after_fork(self, this_writer: WriterRecord) -> None:
        """Go on as another writer, whose `stop` ends its own part only."""
        self._this_writer = this_writer
        self._is_copy = True

    def pause(self) -> None:
        """Note that it is paused; its active time stands still."""
        self._active_ns += self._clock.monotonic_ns() - self._since_ns
        self._become("paused")

    def resume(self) -> None:
        """Note that it runs again."""
        self._since_ns = self._clock.monotonic_ns()
        self._become("running")

    def interrupt(self, stats: CaptureStats, *, last_seq: int) -> None:
        """Note in the store that this process was told to end."""
        self._put_writer(last_seq)
        self._put(replace(self._in("interrupted", self._clock.wall_ns()), stats=stats))

    def close(self, stats: CaptureStats, *, last_seq: int, was_running: bool) -> None:
        """Note that it has stopped, with what came of it."""
        if was_running:
            self._active_ns += self._clock.monotonic_ns() - self._since_ns
        now = self._clock.wall_ns()
        closed = replace(
            self._in("stopped", now),
            stopped_ns=now,
            active_s=self._active_ns / 1e9,
            stats=stats,
            writers=(replace(self._this_writer, last_seq=last_seq),),
        )
        self._put_writer(last_seq)
        self._put(closed)
        self.record = closed

    def _become(self, state: State) -> None:
        self.record = self._in(state, self._clock.wall_ns())
        self._put(self.record)

    def _in(self, state: State, now_ns: int) -> ExperimentRecord:
        transitions = (*self.record.transitions, (state, now_ns))
        return replace(self.record, state=state, transitions=transitions)

    def _put_writer(self, last_seq: int) -> None:
        writer = replace(self._this_writer, last_seq=last_seq)
        with suppressed(), reachable(self._store):
            key = query.writer_key(self.record.id, writer.writer_id)
            self._store.put("writer", key, writer.to_dict())

    def _put(self, record: ExperimentRecord) -> None:
        if self._is_copy:
            return
        with suppressed(), reachable(self._store):
            self._store.put("experiment", record.id, query.without_writers(record))
