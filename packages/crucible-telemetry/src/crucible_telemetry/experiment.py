"""A running experiment: what is recorded under it, and what has been."""

import threading
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from crucible_telemetry import query
from crucible_telemetry.capture import Capture
from crucible_telemetry.channel import Channel
from crucible_telemetry.clock import Clock
from crucible_telemetry.context import activated, leave
from crucible_telemetry.errors import ExperimentStateError
from crucible_telemetry.event import Event
from crucible_telemetry.filters import Filter
from crucible_telemetry.incomplete import warn_of
from crucible_telemetry.ledger import Ledger
from crucible_telemetry.outcome import Outcome
from crucible_telemetry.process import PROCESS
from crucible_telemetry.recording import recorded
from crucible_telemetry.records import CaptureStats, ExperimentRecord, State, WriterRecord
from crucible_telemetry.stores.opening import reachable
from crucible_telemetry.stores.port import Store
from crucible_telemetry.streaming import StreamingMetrics
from crucible_telemetry.suppression import own_span, suppressed
from crucible_telemetry.tasks import task_name
from crucible_telemetry.timed import Timed

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext

    from crucible_telemetry.processor import ExperimentSpanProcessor
    from crucible_telemetry.windows import Align, Window

TaskInfo = Literal["spans", "all", "none"]


class Experiment:
    """What `start_experiment` returns; also a context manager, sync and async, that stops it.

    Attributes
    ----------
    id, name, condition, tags, parent_id
        As started; `parent_id` is the experiment around this one, if any.
    outer : Experiment or None
        The experiment around this one.
    store : Store
        Where its events are.
    clock : Clock
        Tells its time.
    capture : Capture
        Takes events; the span processor and timed blocks hand theirs to it.
    live : StreamingMetrics
        Of what this process has stored so far.
    stamp : dict
        Attributes that the span processor sets on spans of this experiment; may be empty.
    came_from : tuple
        The span that was current before a worker joined, and the remote one that it continues.
    flush_on_sigterm : bool
        As started.
    owns_store : bool
        Whether the store was opened for this experiment and is released with it.
    """

    def __init__(
        self,
        record: ExperimentRecord,
        *,
        store: Store,
        owns_store: bool,
        outer: "Experiment | None",
        capture: Capture,
        this_writer: WriterRecord,
        processor: "ExperimentSpanProcessor | None",
        clock: Clock,
        task_info: TaskInfo,
        stamp_spans: bool,
        flush_on_sigterm: bool,
        is_copy: bool,
    ) -> None:
        from opentelemetry.trace import get_current_span

        self._current_span = get_current_span
        self.id = record.id
        self.name = record.name
        self.condition = record.condition
        self.tags = record.tags
        self.parent_id = record.parent_id
        self.outer = outer
        self.store = store
        self.clock = clock
        self.capture = capture
        self.came_from: tuple[Span | None, Span | None] = (None, None)
        self.flush_on_sigterm = flush_on_sigterm
        self.stamp: dict[str, str] = {}
        if stamp_spans:
            self.stamp = {
                "crucible.experiment.id": record.id,
                "crucible.experiment.name": record.name,
                "crucible.experiment.condition": record.condition,
            }
        self.live = StreamingMetrics()
        capture.channel.observers.append(self.live.observe)
        self.names_span_tasks = task_info != "none"
        self._names_all_tasks = task_info == "all"
        self.owns_store = owns_store
        self._ledger = Ledger(
            record, this_writer=this_writer, store=store, clock=clock, is_copy=is_copy
        )
        self._processor = processor
        self._changing = threading.RLock()

    def __repr__(self) -> str:
        return f"<Experiment {self.id} {self.name!r} {self.condition!r} {self.state}>"

    @property
    def state(self) -> State:
        """Running, paused, stopped or archived."""
        return self.capture.state

    @property
    def is_stopped(self) -> bool:
        """Whether it has stopped, archived or not."""
        return self.capture.is_over

    def record(
        self,
        name: str,
        /,
        *,
        outcome: Outcome = "unknown",
        duration_s: float | None = None,
        start_ns: int | None = None,
        error_type: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost_usd: float | None = None,
        item_id: str | None = None,
        repeat: int | None = None,
        sample_key: str | None = None,
        **attributes: object,
    ) -> None:
        """Record one event. Inside a span it becomes the span's child.

        Parameters
        ----------
        name : str
            1 to 200 characters.
        duration_s : float, finite, >= 0
        start_ns : int, optional
            Unix nanoseconds; None is now - `duration_s`.
        input_tokens, output_tokens : int, >= 0
        cost_usd : float, finite, >= 0
        sample_key : str, optional
            Decides, outside a span, whether the event is in the sample of an experiment with
            `sample_rate` < 1; equal keys share their fate. Without a key it is kept.
        **attributes
            Anything else; dotted names as `**{"a.b": 1}`. Values other than text and numbers are
            copied at once, so that changing a list afterwards does not change the event.

        Raises
        ------
        ValueError
            If an argument is out of range.
        ExperimentStateError
            If the experiment has stopped.
        StoreStalledError
            If the queue stays full and the spill file cannot be written.
        """
        item = recorded(
            name,
            self.clock,
            outcome,
            duration_s,
            start_ns,
            error_type,
            model,
            provider,
            input_tokens,
            output_tokens,
            cost_usd,
            item_id,
            repeat,
            self._current_span().get_span_context(),
            task_name() if self._names_all_tasks else None,
            sample_key,
            attributes,
        )
        if not self.capture.record(item):
            raise ExperimentStateError("record", self.state)

    def timed(self, name: str, /, **attributes: object) -> Timed:
        """Time a block or a function, sync or async, and record it with its outcome.

        A context manager and a decorator; an exception is recorded and goes on.
        """
        return Timed(self, name, attributes)

    def carrier(self) -> dict[str, str]:
        """Return W3C headers by which a worker joins this experiment; see `join_experiment`."""
        from crucible_telemetry.remote import carrier

        return carrier(self)

    def summary(self) -> ExperimentRecord:
        """Return what is known of it now; statistics once it has stopped."""
        return self._ledger.record

    def mark_interrupted(self) -> None:
        """Note in the store that this process was told to end. What was recorded is there."""
        self._ledger.interrupt(self.stats(), last_seq=self.capture.channel.last_seq)

    def span_context(self) -> "SpanContext":
        """Return the identity of the span that is current here."""
        return self._current_span().get_span_context()

    def pause(self) -> None:
        """Discard and count events until `resume`.

        Raises
        ------
        ExperimentStateError
            If it is not running.
        """
        with self._changing:
            if self.state != "running":
                raise ExperimentStateError("pause", self.state)
            self.capture.state = "paused"
            self._ledger.pause()

    def resume(self) -> None:
        """Take events again.

        Raises
        ------
        ExperimentStateError
            If it is not paused.
        """
        with self._changing:
            if self.state != "paused":
                raise ExperimentStateError("resume", self.state)
            self.capture.state = "running"
            self._ledger.resume()

    def stop(self) -> ExperimentRecord:
        """Make everything durable and return the summary; again, the same summary.

        Inside an event loop it blocks the loop until the queue is drained: `aclose` and
        `stop_experiment_async` do not.

        Raises
        ------
        StoreStalledError
            If neither the store nor the spill file can be written.
        """
        leave(self, self.outer)
        with self._changing:
            if self._ledger.record.stopped_ns is None:
                self._finish()
            return self._ledger.record

    async def aclose(self) -> None:
        """Do what `stop` does, without blocking the event loop; also while being cancelled."""
        from anyio import CancelScope, to_thread

        leave(self, self.outer)
        with CancelScope(shield=True):
            await to_thread.run_sync(self.stop)

    def archive(self, path: str | Path) -> Path:
        """Move the events out of the store, to a JSON Lines file with a manifest.

        The file is written, read again and compared with its hash before anything is deleted. The
        record stays in the store as "archived"; `exports.import_events` brings the events back.

        Raises
        ------
        ExperimentStateError
            If it has not stopped, or is archived already.
        ExportError
            If the file does not hold what was in the store.
        StoreUnavailableError
            If the store cannot erase.
        """
        from crucible_telemetry.archive import archive

        with self._changing:
            if self.state != "stopped":
                raise ExperimentStateError("archive", self.state)
            target, self._ledger.record = archive(self, Path(path))
            self.capture.state = "archived"
        return target

    def active(self) -> AbstractContextManager[None]:
        """Make a running experiment current here, in another thread or task; it goes on after.

        Raises
        ------
        ExperimentStateError
            If it has stopped.
        """
        if self.is_stopped:
            raise ExperimentStateError("activate", "stopped")
        return activated(self)

    def flush(self, timeout_s: float | None = None) -> None:
        """Return when every event recorded before the call is durable.

        Parameters
        ----------
        timeout_s : float, >= 0, optional
            None waits as long as the store makes progress, and `max_block_s` if it fails.

        Raises
        ------
        StoreStalledError
            If that takes longer.
        """
        if timeout_s is not None and not timeout_s >= 0:
            raise ValueError(f"`timeout_s` must be >= 0, got {timeout_s}")
        with own_span("flush"):
            self.drain(timeout_s)

    def drain(self, timeout_s: float | None = None) -> None:
        """Do what `flush` does, without a span of its own."""
        self.capture.wait(timeout_s)

    async def aflush(self, timeout_s: float | None = None) -> None:
        """Do what `flush` does, without blocking the event loop."""
        from anyio import to_thread

        await to_thread.run_sync(self.flush, timeout_s, abandon_on_cancel=True)

    def events(
        self,
        where: Filter | None = None,
        *,
        names: Collection[str] | None = None,
        outcomes: Collection[Outcome] | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        last_s: float | None = None,
        last_n: int | None = None,
        include_children: bool = False,
        limit: int | None = None,
    ) -> Iterator[Event]:
        """Yield the events so far, ordered by (start_ns, writer_id, seq).

        Flushes first. See `query.events` for the parameters; `last_s` counts back from now.
        """
        if last_s is not None:
            if not last_s > 0:
                raise ValueError(f"`last_s` must be > 0, got {last_s}")
            since_ns = max(since_ns or 0, self.clock.wall_ns() - int(last_s * 1e9))
        self.drain()
        return query.events(
            self.store,
            self.id,
            where,
            names=names,
            outcomes=outcomes,
            since_ns=since_ns,
            until_ns=until_ns,
            last_n=last_n,
            include_children=include_children,
            limit=limit,
        )

    def windows(
        self,
        width_s: float,
        *,
        step_s: float | None = None,
        align: "Align" = "start",
        names: Collection[str] | None = None,
    ) -> "Iterator[Window]":
        """Yield the numbers so far, window by window; see `crucible_telemetry.windows`."""
        from crucible_telemetry.windows import windows

        return windows(self, width_s, step_s=step_s, align=align, names=names)

    def stats(self) -> CaptureStats:
        """Return the counts so far."""
        return self.capture.stats(open_spans=len(self._open_spans()))

    def __enter__(self) -> "Experiment":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> "Experiment":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def renew_after_fork(self, channel: Channel, this_writer: WriterRecord) -> None:
        """Write through a channel of a forked child's own; `stop` ends the child's part only."""
        self.capture.renew_after_fork(channel)
        self._ledger.renew_after_fork(this_writer)
        self._changing = threading.RLock()
        self.live = StreamingMetrics()
        channel.observers.append(self.live.observe)

    def _open_spans(self) -> list[str]:
        return [] if self._processor is None else self._processor.open_spans(self)

    def _finish(self) -> None:
        was_running = self.state == "running"
        self.capture.end()
        PROCESS.stopped(self)
        stats, channel = self.stats(), self.capture.channel
        self._ledger.close(stats, last_seq=channel.last_seq, was_running=was_running)
        if self.owns_store:
            with suppressed(), reachable(self.store):
                self.store.close()
        warn_of(self.name, stats, open_spans=self._open_spans(), spill=channel.spill)
