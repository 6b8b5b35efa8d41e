import json
import sqlite3
import threading

import pytest

from crucible_telemetry import MemoryStore, SQLiteStore, query, start_experiment
from crucible_telemetry.errors import (
    ExperimentStateError,
    ExportError,
    RowRejectedError,
    SpillWarning,
    StoreStalledError,
    StoreUnavailableError,
)
from crucible_telemetry.schema import INDEX
from crucible_telemetry.spill import recover_spill

SMALL = {"queue_size": 1_024, "capture_spans": False, "flush_interval_s": 0.01}


class Gated(MemoryStore):
    """A store that takes nothing before its gate is open."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.waiting = threading.Event()

    def append(self, rows):
        self.waiting.set()
        assert self.gate.wait(60)
        super().append(rows)


class Failing(MemoryStore):
    """A store that fails as often as told, then works."""

    def __init__(self, failures):
        super().__init__()
        self.failures = failures
        self.attempts = 0

    def append(self, rows):
        self.attempts += 1
        if self.attempts <= self.failures:
            raise OSError("no space left on device")
        super().append(rows)


def numbers(experiment):
    return [event.attributes["n"] for event in experiment.events()]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_full_queue_makes_its_callers_wait_and_loses_nothing():
    store = Gated()
    experiment = start_experiment(name="slow", store=store, max_block_s=60, **SMALL)
    experiment.record("first", n=0)
    assert store.waiting.wait(60)
    full = threading.Event()

    def produce():
        for n in range(1, 5_000):
            if n == 1_025:
                full.set()  # the next one finds 1,024 waiting
            experiment.record("event", n=n)

    thread = threading.Thread(target=produce)
    thread.start()
    assert full.wait(60)
    assert experiment.stats().recorded <= 1_026
    assert thread.is_alive()
    store.gate.set()
    thread.join()
    assert numbers(experiment) == list(range(5_000))
    stats = experiment.stop().stats
    assert stats.blocked_s > 0
    assert (stats.spilled, stats.lost) == (0, 0)


def test_a_stalled_store_spills_the_oldest_and_reads_them_back(tmp_path):
    store = Gated()
    experiment = start_experiment(name="stalled", store=store, max_block_s=0, **SMALL)
    experiment.record("first", n=0)
    assert store.waiting.wait(60)

    def produce():
        for n in range(1, 5_000):
            experiment.record("event", n=n)

    with pytest.warns(SpillWarning, match="the store cannot keep up") as warned:
        produce()
    assert len(warned) == 1
    stats = experiment.stats()
    assert stats.recorded == 5_000
    assert stats.stored == 0
    assert stats.spilled >= 5_000 - 1_024 - 1
    (spill,) = tmp_path.glob(".crucible/*.spill.jsonl")
    assert len(spill.read_text().splitlines()) == stats.spilled
    store.gate.set()
    record = experiment.stop()
    assert record.stats.stored == 5_000
    assert not spill.exists()
    events = list(experiment.events())
    assert sorted(event.seq for event in events) == list(range(1, 5_001))
    assert [event.attributes["n"] for event in events] == list(range(5_000))


def test_spans_are_spilled_too_and_never_raise(tmp_path, tracer):
    store = Gated()
    options = SMALL | {"capture_spans": True}
    experiment = start_experiment(name="stalled", store=store, max_block_s=0, **options)
    experiment.record("first")
    assert store.waiting.wait(60)
    for _ in range(2_000):
        tracer.start_span("span").end()
    assert experiment.stats().spilled > 0
    store.gate.set()
    record = experiment.stop()
    assert (record.stats.stored, record.stats.lost) == (2_001, 0)


def test_where_the_spill_cannot_be_written_record_raises_and_spans_are_counted(tmp_path, tracer):
    (tmp_path / ".crucible").write_text("a file where the folder should be")
    store = Gated()
    options = SMALL | {"capture_spans": True}
    experiment = start_experiment(name="stuck", store=store, max_block_s=0, **options)
    experiment.record("first")
    assert store.waiting.wait(60)
    for _ in range(1_024):
        experiment.record("event")
    with pytest.raises(StoreStalledError, match="1024 events wait"):
        experiment.record("event")
    tracer.start_span("lost").end()
    store.gate.set()
    record = experiment.stop()
    assert record.stats.stored == 1_025
    assert record.stats.lost == 1


def test_a_store_that_fails_five_times_loses_nothing(caplog, monkeypatch):
    monkeypatch.setattr("crucible_telemetry.writer._FIRST_DELAY_S", 0.001)
    store = Failing(5)
    with start_experiment(name="fails", store=store, **SMALL) as experiment:
        for n in range(100):
            experiment.record("event", n=n)
        assert numbers(experiment) == list(range(100))
    assert store.attempts >= 6
    assert caplog.text.count("will be tried again: no space left") == 1


def test_stopping_on_a_dead_store_leaves_everything_in_the_spill(tmp_path):
    class Dead(SQLiteStore):
        dead = False

        def append(self, rows):
            if self.dead:
                raise OSError("gone")
            super().append(rows)

    store = Dead(tmp_path / "d.sqlite")
    experiment = start_experiment(name="dead", store=store, max_block_s=0.05, **SMALL)
    experiment.record("event", n=0)
    experiment.flush()
    store.dead = True
    for n in range(1, 100):
        experiment.record("event", n=n)
    with pytest.raises(StoreStalledError):
        experiment.flush()
    with pytest.warns(SpillWarning, match="99 events wait"):
        record = experiment.stop()
    assert (record.stats.recorded, record.stats.stored) == (100, 1)
    assert (record.stats.spilled, record.stats.lost) == (99, 0)

    store.dead = False
    (spill,) = tmp_path.glob("d.sqlite.*.spill.jsonl")
    copy = spill.read_bytes()
    assert recover_spill(spill, store) == 99
    assert not spill.exists()
    assert [e.attributes["n"] for e in query.events(store, record.id)] == list(range(100))
    spill.write_bytes(copy)
    assert recover_spill(spill, store) == 0  # what the store has is not added again
    store.close()


def test_a_store_that_cannot_take_the_summary_says_so_and_can_be_stopped_again():
    class Broken(MemoryStore):
        broken = False

        def put(self, kind, key, value):
            if self.broken:
                raise sqlite3.OperationalError("disk I/O error")
            super().put(kind, key, value)

    store = Broken()
    experiment = start_experiment(name="broken", store=store, **SMALL)
    experiment.record("event")
    store.broken = True
    with pytest.raises(StoreUnavailableError, match="disk I/O error"):
        experiment.stop()
    store.broken = False
    record = experiment.stop()
    assert record.stats.stored == 1
    assert query.experiment(store, experiment.id).state == "stopped"


def test_a_row_that_the_store_refuses_costs_only_itself(tmp_path):
    class Picky(SQLiteStore):
        def append(self, rows):
            if any(row[INDEX["name"]] == "bad" for row in rows):
                raise RowRejectedError("CHECK constraint failed")
            super().append(rows)

    store = Picky(tmp_path / "p.sqlite")
    experiment = start_experiment(name="picky", store=store, **SMALL)
    for n in range(1_000):
        experiment.record("bad" if n == 617 else "event", n=n)
    with pytest.warns(SpillWarning, match="1 refused"):
        record = experiment.stop()
    assert (record.stats.stored, record.stats.refused) == (999, 1)
    assert set(numbers(experiment)) == set(range(1_000)) - {617}
    (spill,) = tmp_path.glob("*.spill.jsonl")
    (line,) = spill.read_text().splitlines()
    refused = json.loads(line)
    assert refused["attributes"] == {"n": 617}
    assert refused["seq"] == 618
    assert refused["spill_reason"] == "CHECK constraint failed"
    assert recover_spill(spill, store) == 0
    assert spill.exists()  # it would be refused again
    store.close()


def test_a_spill_file_cut_in_the_middle_of_a_line_gives_back_the_whole_lines(tmp_path):
    store = Gated()
    experiment = start_experiment(name="cut", store=store, max_block_s=0, **SMALL)
    experiment.record("first")
    assert store.waiting.wait(60)
    for n in range(2_000):
        experiment.record("event", n=n)
    (spill,) = tmp_path.glob(".crucible/*.spill.jsonl")
    copy = tmp_path / "copy.jsonl"
    text = spill.read_text()
    copy.write_text(text[:-10])
    whole = len(text.splitlines()) - 1
    other = MemoryStore()
    assert recover_spill(copy, other) == whole
    copy.write_text('{"seq": 1}\n')
    with pytest.raises(ExportError, match="has no 'experiment_id'"):
        recover_spill(copy, other)
    store.gate.set()
    experiment.stop()


def test_flush_gives_up_after_its_timeout_and_keeps_the_events():
    store = Gated()
    experiment = start_experiment(name="slow", store=store, **SMALL)
    experiment.record("event", n=1)
    with pytest.raises(StoreStalledError):
        experiment.flush(0.01)
    store.gate.set()
    experiment.flush()
    assert numbers(experiment) == [1]
    experiment.stop()


def test_durability_each_returns_after_the_commit(tmp_path, tracer):
    with (
        SQLiteStore(tmp_path / "each.sqlite") as store,
        SQLiteStore(tmp_path / "each.sqlite") as reader,
        start_experiment(
            name="each", store=store, durability="each", flush_interval_s=60
        ) as experiment,
    ):
        experiment.record("event")
        assert len(list(query.events(reader, experiment.id))) == 1
        tracer.start_span("span").end()
        assert len(list(query.events(reader, experiment.id))) == 2


def test_a_signal_handler_that_records_while_the_queue_is_used_does_not_deadlock():
    import signal

    with start_experiment(name="signals", store=MemoryStore(), **SMALL) as experiment:

        def handler(number, frame):
            experiment.record("signal")

        before = signal.signal(signal.SIGUSR1, handler)
        try:
            for n in range(3_000):
                experiment.record("event", n=n)
                if n % 100 == 0:
                    signal.raise_signal(signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)
        names = [event.name for event in experiment.events()]
    assert names.count("signal") == 30
    assert names.count("event") == 3_000


def test_an_event_that_arrives_during_the_stop_is_refused_and_not_forgotten():
    # The filter runs after `record` has seen "running": the whole stop happens in between.
    def stop_first(name):
        if name == "too late":
            stopping = threading.Thread(target=experiment.stop)
            stopping.start()
            stopping.join()
        return True

    experiment = start_experiment(
        name="race", store=MemoryStore(), event_filter=stop_first, **SMALL
    )
    experiment.record("in time")
    with pytest.raises(ExperimentStateError):
        experiment.record("too late")
    assert [event.name for event in experiment.events()] == ["in time"]
    assert experiment.stats().recorded == 1


def test_many_threads_stop_and_record_at_once_without_losing_what_was_accepted():
    for _ in range(20):
        experiment = start_experiment(name="race", store=MemoryStore(), **SMALL)
        accepted = []
        together = threading.Barrier(5)

        def produce(experiment=experiment, accepted=accepted, together=together):
            together.wait()
            try:
                for _ in range(10_000):
                    experiment.record("event")
                    accepted.append(1)
            except ExperimentStateError:
                pass

        threads = [threading.Thread(target=produce) for _ in range(4)]
        for thread in threads:
            thread.start()
        together.wait()
        record = experiment.stop()
        for thread in threads:
            thread.join()
        assert len(list(experiment.events())) == len(accepted)
        assert record.stats.stored == len(accepted)
