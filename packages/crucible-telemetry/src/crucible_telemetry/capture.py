"""What one process takes for an experiment: chosen, counted, queued, and waited for."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from crucible_telemetry.captured import Ended, Recorded
from crucible_telemetry.channel import Channel
from crucible_telemetry.errors import StoreStalledError
from crucible_telemetry.records import CaptureStats, State
from crucible_telemetry.sampling import Sampler

if TYPE_CHECKING:
    from crucible_telemetry.writer import StoreWriter

_Counted = Literal["filtered", "paused", "late", "lost", "sampled_out", "forward_failures"]
_LOOK_AGAIN_S = 0.1

_log = logging.getLogger("crucible_telemetry")


class Capture:
    """The way of an event from its caller into the channel, and the counts of what was left out.

    Attributes
    ----------
    is_over : bool
        Whether nothing is taken any more.
    """

    def __init__(
        self,
        channel: Channel,
        writer: "StoreWriter",
        *,
        event_filter: Callable[[str], bool] | None,
        sampler: Sampler | None,
        wait_for_each: bool,
    ) -> None:
        self.is_over = False
        self.state = "running"
        self.channel = channel
        self._writer = writer
        self._event_filter = event_filter
        self._sampler = sampler
        self._wait_for_each = wait_for_each
        self._counting = threading.RLock()
        self._filtered = self._paused = self._late = self._lost = self._sampled_out = 0
        self._forward_failures = 0
        self._ended = False
        self._chooses = event_filter is not None or sampler is not None

    @property
    def state(self) -> State:
        """What decides whether events are taken."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        self.is_over = state in ("stopped", "archived")

    def record(self, item: Recorded) -> bool:
        """Take a recorded event; False if the experiment has stopped.

        Raises
        ------
        StoreStalledError
            If neither the queue nor the spill file can take it; or, where each event is waited
            for, if it is not durable in time.
        """
        if self.is_over or not self._take(item, item.name):
            return False
        if self._wait_for_each:
            self.wait()
        return True

    def span(self, item: Ended) -> None:
        """Take an ended span; what comes after the stop is counted as late.

        Raises
        ------
        StoreStalledError
            If neither the queue nor the spill file can take it; it is counted as lost.
        """
        try:
            if self.is_over or not self._take(item, item.span.name):
                self._count("late")
                return
        except StoreStalledError:
            self._count("lost")
            raise
        if self._wait_for_each:
            try:
                self.wait()
            except StoreStalledError as error:
                _log.warning("a span is queued and not yet durable: %s", error)

    def timed(self, item: Recorded) -> None:
        """Take a timed block; what comes after the stop is counted as late."""
        if not self.record(item):
            self._count("late")

    def wait(self, timeout_s: float | None = None) -> None:
        """Return when everything queued before is durable.

        Raises
        ------
        StoreStalledError
            After `timeout_s`; or, if that is None, when the store has failed for `max_block_s`.
        """
        if self._ended:
            return
        channel = self.channel
        _check_can_wait(channel)
        marker = channel.mark()
        started = time.monotonic()
        while not self._ended:
            waited = time.monotonic() - started
            left = _LOOK_AGAIN_S if timeout_s is None else max(0.0, timeout_s - waited)
            if marker.reached.wait(min(_LOOK_AGAIN_S, left)):
                return
            waited = time.monotonic() - started
            limit = channel.max_block_s
            if channel.closing:
                # The writer spills after `max_block_s`; only a spill that fails takes longer.
                limit = 2 * limit + 1.0
            stalled = min(waited, self._writer.failing_for()) >= limit
            if waited >= timeout_s if timeout_s is not None else stalled:
                raise StoreStalledError(waited, channel.queued)

    def end(self) -> None:
        """Make everything durable and take nothing any more.

        Raises
        ------
        StoreStalledError
            If neither the store nor the spill file can be written; it can be called again.
        """
        if self._ended:
            return
        channel = self.channel
        _check_can_wait(channel)
        self.state = "stopped"
        channel.closing = True
        self._writer.hurry()
        self.wait()
        # A caller that saw "running" a moment ago may still have queued an event. From here on
        # whoever appends sees `closed` and takes it back, unless this drain has it.
        channel.closed = True
        self.wait()
        self._writer.detach(channel)
        self._ended = True
        channel.spill.close()

    def stats(self, *, open_spans: int) -> CaptureStats:
        """Return the counts so far."""
        channel = self.channel
        return CaptureStats(
            recorded=channel.last_seq + channel.queued,
            stored=channel.stored,
            sampled_out=self._sampled_out,
            filtered=self._filtered,
            paused=self._paused,
            late=self._late,
            spilled=channel.spill.total,
            refused=channel.spill.refused,
            lost=self._lost + channel.lost,
            open_spans=open_spans,
            altered=channel.altered,
            forward_failures=self._forward_failures,
            redaction_failures=channel.redaction_failures,
            blocked_s=channel.blocked_s,
        )

    def renew_after_fork(self, channel: Channel) -> None:
        """Use a queue of this process's own; what the parent has queued is the parent's."""
        self._writer.replace_after_fork(self.channel, channel)
        self.channel = channel
        self._counting = threading.RLock()

    def _take(self, item: Recorded | Ended, name: str) -> bool:
        if self._chooses:
            if self._is_filtered(name):
                self._count("filtered")
                return True
            if self._sampler is not None and not self._is_sampled(item, self._sampler):
                self._count("sampled_out")
                return True
        if self._state == "paused":
            self._count("paused")
            return True
        return self.channel.put(item)

    def _is_sampled(self, item: Recorded | Ended, sampler: Sampler) -> bool:
        if isinstance(item, Ended):
            context = item.span.get_span_context()
            return context is None or sampler.keeps_trace(context.trace_id)
        if item.trace_id is not None:
            return sampler.keeps_trace(item.trace_id)
        return item.sample_key is None or sampler.keeps_key(item.sample_key)

    def _is_filtered(self, name: str) -> bool:
        try:
            return self._event_filter is not None and not self._event_filter(name)
        except Exception:  # noqa: BLE001  # a hook of the user's
            _log.exception("the event filter failed on %r; the event is kept", name)
            return False

    def forward_failed(self) -> None:
        """Count an attempt to forward that failed."""
        self._count("forward_failures")

    def _count(
        self, what: Literal["filtered", "paused", "late", "lost", "sampled_out", "forward_failures"]
    ) -> None:
        with self._counting:
            setattr(self, f"_{what}", getattr(self, f"_{what}") + 1)


def _check_can_wait(channel: Channel) -> None:
    if channel.is_owned_here():
        raise RuntimeError(
            "this runs on the thread that writes events (an alert, a redactor, a price book), "
            "which cannot wait for itself: note it, and flush or stop elsewhere"
        )
