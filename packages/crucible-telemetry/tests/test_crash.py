import os
import random
import signal
import sqlite3
import subprocess
import sys

import pytest

from crucible_telemetry import SQLiteStore, export, query

WRITER = """
import sys, threading
from crucible_telemetry import bind, start_experiment
experiment = start_experiment(
    name="killed",
    store=sys.argv[1],
    capture_spans=False,
    flush_interval_s=0.01,
    queue_size=1_024,
)
print(experiment.id, flush=True)

def more():
    while True:
        for _ in range(50):
            experiment.record("beside")
        experiment.flush()

threading.Thread(target=bind(more), daemon=True).start()
n = 0
while True:
    for _ in range(200):
        n += 1
        experiment.record("event", n=n)
    experiment.flush()
    print(n, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("seed", range(20))
def test_kill_9_at_any_moment_leaves_a_prefix_with_all_that_was_flushed(tmp_path, seed):
    path = tmp_path / "killed.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
    )
    lines = random.Random(seed).randrange(2, 8)
    said = [process.stdout.readline().strip() for _ in range(lines)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()

    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()
    with SQLiteStore(path) as store:
        (record,) = query.experiments(store)
        events = list(query.events(store, record.id))
        assert record.id == said[0]
        assert record.state == "interrupted"
        assert sorted(e.seq for e in events) == list(range(1, len(events) + 1))
        numbers = {e.attributes["n"] for e in events if e.name == "event"}
        assert numbers >= set(range(1, int(said[-1]) + 1))
        exported = export(record.id, "jsonl", store=store, path=tmp_path / "killed.jsonl")
        assert len(exported.read_text().splitlines()) == len(events)


def test_a_process_number_used_again_does_not_hide_an_interruption(tmp_path):
    from dataclasses import replace

    from crucible_telemetry import start_experiment
    from crucible_telemetry.provenance import is_gone

    with start_experiment(name="x", store=tmp_path / "x.sqlite", capture_spans=False) as experiment:
        (me,) = query.experiment(experiment.store, experiment.id).writers
        assert query.experiment(experiment.store, experiment.id).state == "running"
    assert not is_gone(me)
    # A writer with our number that began before this process was born was another process.
    long_ago = me.started_ns - 10**9 * 86_400 * 365
    if sys.platform == "linux":
        assert is_gone(replace(me, started_ns=long_ago))
    assert not is_gone(replace(me, host="elsewhere", started_ns=long_ago))


FOUR = """
import sys
from crucible_telemetry import start_experiment
with start_experiment(name="one of four", store=sys.argv[1], capture_spans=False) as experiment:
    for n in range(5_000):
        experiment.record("event", n=n)
"""


def test_four_processes_write_one_file(tmp_path):
    path = tmp_path / "shared.sqlite"
    processes = [
        subprocess.Popen([sys.executable, "-c", FOUR, path], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with SQLiteStore(path) as store:
        records = query.experiments(store)
        assert len(records) == 4
        for record in records:
            seqs = sorted(e.seq for e in query.events(store, record.id))
            assert seqs == list(range(1, 5_001))
