"""The one thread per store that takes what was queued and makes it durable."""

import logging
import queue
import random
import threading
import time
from dataclasses import dataclass, field

from crucible_telemetry.channel import Channel, Marker
from crucible_telemetry.errors import RowRejectedError
from crucible_telemetry.schema import Row
from crucible_telemetry.stores.port import Store
from crucible_telemetry.suppression import suppressed

_BATCH = 16_384
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0

_log = logging.getLogger("crucible_telemetry")


@dataclass(slots=True)
class _Batch:
    """Rows on their way, with the channels that they came from and what waits for them."""

    rows: list[Row] = field(default_factory=list)
    channels: dict[str, Channel] = field(default_factory=dict)
    markers: list[Marker] = field(default_factory=list)

    def by_channel(self, rows: list[Row]) -> list[tuple[Channel, list[Row]]]:
        parts: dict[str, list[Row]] = {}
        for row in rows:
            parts.setdefault(row[1], []).append(row)
        return [(self.channels[writer_id], part) for writer_id, part in parts.items()]


class StoreWriter:
    """Drain the channels of all experiments that write to one store.

    The thread starts with the first channel and ends with the last. A failing append is tried
    again with growing, jittered delays while the queues fill; a row that the store refuses is
    found by halving the batch and goes alone to its spill file.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._channels: dict[str, Channel] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        # `put` of a SimpleQueue is re-entrant: waking is safe in signal handlers.
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._failing_since: float | None = None
        self._jitter = random.Random()

    @property
    def store(self) -> Store:
        """The store that is written."""
        return self._store

    @property
    def is_idle(self) -> bool:
        """Whether no experiment writes."""
        return not self._channels

    def attach(self, channel: Channel) -> None:
        """Start to drain a channel."""
        with self._lock:
            self._channels[channel.writer_id] = channel
            if self._thread is None:
                self._start()
            else:
                channel.owned_by(self._thread)

    def detach(self, channel: Channel) -> None:
        """Stop to drain a channel, which is empty."""
        with self._lock:
            self._channels.pop(channel.writer_id, None)
        self.wake()

    def replace_after_fork(self, old: Channel, new: Channel) -> None:
        """Drain a child process's own channel instead of the one it inherited."""
        if self._channels.pop(old.writer_id, None) is not None:
            self._channels[new.writer_id] = new
        self._lock = threading.Lock()
        self._calls = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._failing_since = None
        self._thread = None

    def start_again(self) -> None:
        """Start the thread that a fork did not copy."""
        with self._lock:
            if self._channels and self._thread is None:
                self._start()

    def wake(self) -> None:
        """Ask for a drain now; safe from anywhere."""
        self._calls.put(None)

    def hurry(self) -> None:
        """Ask a failing append not to wait for its next attempt: somebody is closing."""
        self._hurry.set()
        self.wake()

    def failing_for(self) -> float:
        """Return for how many seconds every append has failed; 0 if the last one worked."""
        since = self._failing_since
        return 0.0 if since is None else time.monotonic() - since

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="crucible-telemetry", daemon=True)
        self._thread = thread
        for channel in self._channels.values():
            channel.owned_by(thread)
        thread.start()

    def _run(self) -> None:
        with suppressed():
            while True:
                try:
                    worked = self._drain()
                except Exception:  # noqa: BLE001  # others wait for this thread
                    _log.exception("a batch of events could not be written")
                    worked = False
                with self._lock:
                    if not self._channels:
                        self._thread = None
                        return
                    interval = min(c.flush_interval_s for c in self._channels.values())
                if not worked:
                    self._sleep(interval)

    def _sleep(self, interval: float) -> None:
        try:
            self._calls.get(timeout=interval)
            while True:
                self._calls.get_nowait()
        except queue.Empty:
            pass

    def _drain(self) -> bool:
        """Write one batch; False if there was nothing."""
        batch = self._take()
        if batch.rows:
            self._append(batch, batch.rows)
        self._read_spills()
        if not batch.rows and not batch.markers:
            return False
        for channel in batch.channels.values():
            # A caller that is spilling holds this lock until its rows are durable, too.
            with channel.spill.lock:
                pass
        for marker in batch.markers:
            marker.reached.set()
        return True

    def _take(self) -> _Batch:
        batch = _Batch()
        with self._lock:
            channels = list(self._channels.items())
            if channels:
                # The first to be served next time is the second of today.
                first = channels[0][0]
                self._channels[first] = self._channels.pop(first)
        for writer_id, channel in channels:
            room = _BATCH - len(batch.rows)
            if room <= 0:
                break
            rows, markers = channel.take(room)
            if rows or markers:
                batch.channels[writer_id] = channel
                batch.rows += rows
                batch.markers += markers
        return batch

    def _append(self, batch: _Batch, rows: list[Row]) -> None:
        attempt = 0
        while rows:
            try:
                for channel in batch.channels.values():
                    channel.introduce()
                self._store.append(rows)
            except RowRejectedError as error:
                self._failing_since = None
                if len(rows) == 1:
                    self._refuse(batch.channels[rows[0][1]], rows, error.reason)
                    return
                self._append(batch, rows[: len(rows) // 2])
                rows = rows[len(rows) // 2 :]
            except Exception as error:  # noqa: BLE001  # whatever it is, the rows must not be lost
                if self._failing_since is None:
                    self._failing_since = time.monotonic()
                    _log.warning("the store failed and will be tried again: %s", error)
                rows = self._give_up_closing(batch, rows)
                if rows:
                    self._back_off(attempt)
                    attempt += 1
            else:
                self._failing_since = None
                for channel, part in batch.by_channel(rows):
                    channel.appended(part)
                return

    def _back_off(self, attempt: int) -> None:
        longest = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** min(attempt, 10))
        delay = self._jitter.uniform(0, longest)
        if self._hurry.is_set():
            time.sleep(min(delay, _FIRST_DELAY_S))
        else:
            self._hurry.wait(delay)

    def _give_up_closing(self, batch: _Batch, rows: list[Row]) -> list[Row]:
        """Spill the rows of experiments that are closing; return those that can wait."""
        waiting: list[Row] = []
        closing = False
        for channel, part in batch.by_channel(rows):
            if channel.closing:
                closing = True
                if self.failing_for() >= channel.max_block_s:
                    try:
                        channel.spill.write(part)
                    except OSError as error:
                        _log.warning("the spill file cannot be written: %s", error)
                    else:
                        continue
            waiting += part
        if not closing:
            self._hurry.clear()
        return waiting

    def _refuse(self, channel: Channel, rows: list[Row], reason: str) -> None:
        _log.warning("the store refused an event, see %s: %s", channel.spill.path, reason)
        try:
            channel.spill.write(rows, reason=reason)
        except OSError:
            _log.exception("a refused event could not be written to %s", channel.spill.path)
            channel.lost += len(rows)

    def _read_spills(self) -> None:
        """Bring back what was spilled, once the store works and the queue has room."""
        for channel in tuple(self._channels.values()):
            if channel.spill.waiting and channel.has_room and self._failing_since is None:
                with channel.spill.lock:
                    self._read_spill(channel)

    def _read_spill(self, channel: Channel) -> None:
        spill = channel.spill
        for rows in spill.rows():
            parts = [rows]
            while parts:
                part = parts.pop()
                try:
                    self._store.append(part)
                except RowRejectedError as error:
                    if len(part) > 1:
                        half = len(part) // 2
                        parts += [part[half:], part[:half]]
                        continue
                    self._refuse(channel, part, error.reason)
                except Exception as error:  # noqa: BLE001  # the rows stay where they are
                    _log.warning("what was spilled stays in %s for now: %s", spill.path, error)
                    return
                else:
                    channel.appended(part)
                spill.brought_back(len(part))
            if not channel.has_room:
                return
        spill.taken()
