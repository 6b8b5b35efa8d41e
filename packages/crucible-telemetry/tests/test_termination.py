import signal

import pytest

from crucible_telemetry import MemoryStore, SQLiteStore, query, start_experiment

ENDED = """
import os, signal, sys, time
from crucible_telemetry import start_experiment
experiment = start_experiment(
    name="ended", store=sys.argv[1], capture_spans=False, flush_interval_s=60
)
for n in range(1_000):
    experiment.record("event", n=n)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""


def test_sigterm_makes_everything_durable_and_still_ends_by_the_signal(run_script, tmp_path):
    path = tmp_path / "t.sqlite"
    done = run_script(ENDED, path, check=False)
    assert done.returncode == -signal.SIGTERM, done.stderr
    with SQLiteStore(path) as store:
        (record,) = query.experiments(store)
        assert record.state == "interrupted"
        assert record.transitions[-1][0] == "interrupted"
        assert record.stats.stored == 1_000
        assert [writer.last_seq for writer in record.writers] == [1_000]
        assert {e.attributes["n"] for e in query.events(store, record.id)} == set(range(1_000))


USERS_OWN = """
import os, signal, sys
from crucible_telemetry import MemoryStore, start_experiment

def mine(number, frame):
    print("mine")

def start(**options):
    return start_experiment(name="x", store=MemoryStore(), capture_spans=False, **options)

signal.signal(signal.SIGTERM, mine)
with start():
    os.kill(os.getpid(), signal.SIGTERM)
assert signal.getsignal(signal.SIGTERM) is mine

signal.signal(signal.SIGTERM, signal.SIG_DFL)
with start():
    signal.signal(signal.SIGTERM, mine)  # installed later
    os.kill(os.getpid(), signal.SIGTERM)
assert signal.getsignal(signal.SIGTERM) is mine
"""


def test_a_handler_of_the_users_is_not_displaced(run_script):
    assert run_script(USERS_OWN).stdout.split() == ["mine", "mine"]


@pytest.fixture
def default_action():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def test_the_default_action_returns_with_the_last_experiment(default_action):
    options = {"store": MemoryStore(), "capture_spans": False}
    with start_experiment(name="not watched", flush_on_sigterm=False, **options):
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        with start_experiment(name="outer", **options):
            ours = signal.getsignal(signal.SIGTERM)
            assert ours != signal.SIG_DFL
            with start_experiment(name="inner", **options):
                pass
            assert signal.getsignal(signal.SIGTERM) == ours
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
