"""One experiment's way into its store: a bounded queue that makes callers wait and never drops."""

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from crucible_telemetry.captured import Ended, Recorded
from crucible_telemetry.enrich import Enricher
from crucible_telemetry.errors import SpillWarning, StoreStalledError
from crucible_telemetry.schema import Row

if TYPE_CHECKING:
    from crucible_telemetry.spill import Spill

_LOOK_AGAIN_S = 0.05
# Early enough that spans give their memory back before the next ones ask for new pages.
_WAKE_AT = 2_048


class Marker:
    """A place in the queue; `reached` is set once all that was queued before it is durable."""

    __slots__ = ("reached",)

    def __init__(self) -> None:
        self.reached = threading.Event()


Item: TypeAlias = Recorded | Ended | Marker


class Channel:
    """Queue of one experiment in one process, with the numbering of its events.

    Callers append to a deque: atomic and without a lock, so that a signal handler or a destructor
    that records cannot deadlock. A full queue makes its callers wait until it is half empty; after
    `max_block_s` in vain the oldest half goes to the spill file.
    """

    def __init__(
        self,
        *,
        experiment_id: str,
        writer_id: str,
        enricher: Enricher,
        spill: "Spill",
        wake: Callable[[], None],
        queue_size: int,
        max_block_s: float,
        flush_interval_s: float,
        introduce: Callable[[], None] | None = None,
    ) -> None:
        self.observers: list[Callable[[list[Row]], None]] = []
        self.experiment_id = experiment_id
        self.writer_id = writer_id
        self.spill = spill
        self.queue_size = queue_size
        self.max_block_s = max_block_s
        self.flush_interval_s = flush_interval_s
        self.closing = False
        self.closed = False
        self.stalled = False
        self.stored = 0
        self.altered = 0
        self.lost = 0
        self.blocked_s = 0.0
        self._introduce = introduce
        self._enricher = enricher
        self._wake = wake
        self._wake_at = min(queue_size // 2, _WAKE_AT)
        self._queue: deque[Item] = deque()
        self._markers: deque[Marker] = deque()
        self._returned: list[Row] = []
        self._gates: deque[threading.Lock] = deque()
        self._taking = threading.RLock()
        self._last_seq = 0
        self._has_spilled = False
        self._owner: threading.Thread | None = None

    @property
    def last_seq(self) -> int:
        """How many events have been numbered."""
        return self._last_seq

    @property
    def queued(self) -> int:
        """How many events wait."""
        return max(0, len(self._queue) - len(self._markers))

    def copy(self, *, writer_id: str, spill: "Spill", introduce: Callable[[], None]) -> "Channel":
        """Return an empty channel of the same settings for a forked process."""
        return Channel(
            experiment_id=self.experiment_id,
            writer_id=writer_id,
            enricher=self._enricher,
            spill=spill,
            wake=self._wake,
            queue_size=self.queue_size,
            max_block_s=self.max_block_s,
            flush_interval_s=self.flush_interval_s,
            introduce=introduce,
        )

    def introduce(self) -> None:
        """Tell the store who writes, once, before the first rows."""
        if self._introduce is not None:
            self._introduce()
            self._introduce = None

    def put(self, item: Recorded | Ended) -> bool:
        """Queue an event; False if the experiment stopped meanwhile and it was not taken.

        Raises
        ------
        StoreStalledError
            If the queue stayed full for `max_block_s` and the spill cannot be written either.
        """
        queue = self._queue
        if len(queue) >= self.queue_size:
            self._wait_for_room()
        queue.append(item)
        if len(queue) == self._wake_at:
            self._wake()
        if not self.closed:
            return True
        try:
            queue.remove(item)
        except ValueError:
            return True  # the last drain took it
        return False

    def mark(self) -> Marker:
        """Queue a marker behind all that is queued."""
        marker = Marker()
        self._markers.append(marker)
        self._queue.append(marker)
        self._wake()
        return marker

    def owned_by(self, thread: threading.Thread) -> None:
        """Name the thread that drains this queue; it never waits for itself."""
        self._owner = thread

    def take(self, limit: int) -> tuple[list[Row], list[Marker]]:
        """Take up to `limit` events as rows, numbered in the order in which they are taken."""
        taken: list[tuple[int, Recorded | Ended]] = []
        markers: list[Marker] = []
        with self._taking:
            returned, self._returned = self._returned, []
            while len(taken) < limit:
                try:
                    item = self._queue.popleft()
                except IndexError:
                    break
                if isinstance(item, Marker):
                    # What comes after a marker may wait for the next batch, what is before must
                    # be in this one.
                    markers.append(item)
                    self._markers.popleft()
                    continue
                self._last_seq += 1
                taken.append((self._last_seq, item))
        self._open_gates()
        row, writer_id = self._enricher.row, self.writer_id
        rows = [row(item, writer_id=writer_id, seq=seq) for seq, item in taken]
        return returned + rows, markers

    def is_owned_here(self) -> bool:
        """Whether this thread drains the queue."""
        return threading.current_thread() is self._owner

    @property
    def redaction_failures(self) -> int:
        """How many events lost their attributes because the redactor failed."""
        return self._enricher.redaction_failures

    def give_back(self, rows: list[Row]) -> None:
        """Return rows that could be put nowhere; they are the next to be taken."""
        with self._taking:
            self._returned = rows + self._returned

    def appended(self, rows: list[Row]) -> None:
        """Note that rows are durable in the store."""
        self.stored += len(rows)
        self.altered += sum(1 for row in rows if row[-2] is not None)
        self.stalled = False
        for observe in self.observers:
            observe(rows)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, neither events nor markers."""
        return not self._queue and not self._returned

    @property
    def has_room(self) -> bool:
        """Whether at most half of the queue is used."""
        return len(self._queue) <= self.queue_size // 2

    def _open_gates(self) -> None:
        if self.has_room:
            while self._gates:
                try:
                    self._gates.popleft().release()
                except (IndexError, RuntimeError):
                    break

    def _wait_for_room(self) -> None:
        if self.is_owned_here():
            return
        started = time.monotonic()
        self._wake()
        try:
            while not self.has_room:
                waited = time.monotonic() - started
                if self.stalled or waited >= self.max_block_s:
                    self.stalled = True
                    self._spill_oldest_half(waited)
                    return
                gate = threading.Lock()
                gate.acquire()
                self._gates.append(gate)
                if not self.has_room:
                    gate.acquire(timeout=min(_LOOK_AGAIN_S, self.max_block_s - waited))
        finally:
            with self._taking:
                self.blocked_s += time.monotonic() - started

    def _spill_oldest_half(self, waited: float) -> None:
        with self.spill.lock:
            if self.has_room:
                return
            if not self.spill.can_write():
                raise StoreStalledError(waited, self.queued)
            rows, markers = self.take(self.queue_size // 2)
            try:
                self.spill.write(rows)
            except OSError as error:
                self.give_back(rows)
                raise StoreStalledError(waited, self.queued) from error
        for marker in markers:
            marker.reached.set()
        self._say_once()

    def _say_once(self) -> None:
        if self._has_spilled:
            return
        self._has_spilled = True
        # Where warnings are errors it must not become one of the caller's, whose event is safe.
        with suppress(SpillWarning):
            warnings.warn(
                f"the store cannot keep up; events go to {self.spill.path} and come back by "
                "themselves",
                SpillWarning,
                stacklevel=2,
            )
