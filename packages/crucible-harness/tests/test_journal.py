import hashlib
import json
import pickle
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from crucible_harness.errors import (
    DesignMismatchError,
    JournalCorruptError,
    JournalLockedError,
    JournalVersionError,
    JournalWriteError,
    NotARunError,
)
from crucible_harness.journal import Journal
from crucible_harness.journal_sqlite import _FOLDED_EVERY
from crucible_harness.tables import TABLES, Call, Outcome

DESIGN = {"name": "x", "seed": 1}


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def call(name: str, text: str = "42", **facts: Any) -> Call:
    return Call(
        **{
            "leaf_key": key(name), "attempt": 0, "condition": "shared", "item": "i", "repeat": 0,
            "sample": 0, "status": "ok", "request": '{"prompt":"?"}', "started_ns": 1,
            "response": {"text": text, "input_tokens": 3, "cost_usd": 0.5}, **facts,
        }
    )  # fmt: skip


def now(coroutine: Any) -> Any:
    """Finish a coroutine that never waits: with a file, no write does."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def write(journal: Journal, name: str, **facts: Any) -> None:
    assert now(journal.intend(key(name), condition="a", item="i", reserved_usd=0.25)) == 0
    now(journal.finish_call(call(name, **facts)))


def cell(status: str = "ok") -> Outcome:
    return Outcome(
        condition="a", item="i", repeat=0, status=status, output={"position": 0},
        scores={"accuracy": 1.0}, call_keys=(key("k"),), cost_usd=0.5, latency_s=0.1,
    )  # fmt: skip


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite", design=DESIGN)
    yield journal
    journal.close()


def test_an_answer_is_found_again_by_its_key_also_by_the_next_process(journal):
    write(journal, "k")
    for opened in (journal, Journal(journal.path)):
        assert now(opened.answer(key("k")))["text"] == "42"
        assert now(opened.answer(key("other"))) is None


def test_a_failed_call_is_no_answer_and_its_next_attempt_has_the_next_number(journal):
    write(journal, "k", status="error", response=None, error_class="ServerError")
    assert now(journal.answer(key("k"))) is None
    assert now(journal.intend(key("k"), condition="a", item="i")) == 1
    journal.close()
    again = Journal(journal.path)
    assert now(again.intend(key("k"), condition="a", item="i")) == 2


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {} SET design = 'x'", "DELETE FROM {}"])
def test_a_row_cannot_be_changed_or_removed(journal, statement, table):
    write(journal, "k")
    now(journal.finish_cell(cell()))
    now(journal.note("resume"))
    with (
        sqlite3.connect(journal.path) as db,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        db.execute(statement.format(table))


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        ("UPDATE calls SET response = replace(response, '42', '43') WHERE n = 2", ("calls", 2)),
        ("DELETE FROM calls WHERE n = 2", ("calls", 2)),
        ("UPDATE calls SET n = -n WHERE n > 1; UPDATE calls SET n = 5 + n WHERE n < 0", ("calls", 2)),
        ("UPDATE intents SET reserved_usd = 0 WHERE n = 1", ("intents", 1)),
        ("UPDATE cells SET scores = '{\"accuracy\":0.0}'", ("cells", 1)),
        ("UPDATE events SET time_ns = time_ns + 1", ("events", 1)),
    ],
    ids=["changed", "deleted", "swapped", "intent", "cell", "event"],
)  # fmt: skip
def test_a_changed_deleted_or_swapped_row_is_found_in_every_table(journal, tamper, found):
    for name in ("a", "b", "c"):
        write(journal, name)
    now(journal.finish_cell(cell()))
    now(journal.note("resume", finished=1))
    journal.check()
    with sqlite3.connect(journal.path) as db:
        for table in TABLES:
            db.execute(f"DROP TRIGGER no_update_{table}")
            db.execute(f"DROP TRIGGER no_delete_{table}")
        db.executescript(tamper)
    with pytest.raises(JournalCorruptError) as caught:
        journal.check()
    assert (caught.value.table, caught.value.row) == found


def test_an_intent_without_an_end_was_possibly_billed_and_keeps_its_reservation(journal):
    write(journal, "seen")
    now(journal.intend(key("lost"), condition="b", item="j", repeat=1, sample=2, reserved_usd=0.25))
    ((lost, reserved),) = journal.lost()
    assert (lost.condition, lost.item, lost.repeat, lost.sample) == ("b", "j", 1, 2)
    assert lost.leaf_key == key("lost")
    assert reserved == 0.25


def test_another_design_is_refused_and_the_difference_named(journal):
    with pytest.raises(DesignMismatchError) as caught:
        Journal(journal.path, design={"name": "x", "seed": 2})
    assert caught.value.fields == ("seed",)


def test_a_journal_of_another_version_is_refused_and_left_as_it_is(journal):
    journal.close()
    with sqlite3.connect(journal.path) as db:
        db.execute("UPDATE meta SET value = 'crucible-harness/journal/9' WHERE key = 'schema'")
    before = journal.path.read_bytes()
    with pytest.raises(JournalVersionError) as caught:
        Journal(journal.path)
    assert caught.value.found == "crucible-harness/journal/9"
    assert journal.path.read_bytes() == before


def test_a_second_holder_is_refused_and_the_first_one_named(journal):
    import os
    import socket

    journal.lock()
    second = Journal(journal.path, design=DESIGN)
    with pytest.raises(JournalLockedError) as caught:
        second.lock()
    assert (caught.value.pid, caught.value.host) == (os.getpid(), socket.gethostname())
    second.close()


def test_the_lock_of_a_dead_holder_is_free(tmp_path):
    first = Journal(tmp_path / "journal.sqlite", design=DESIGN)
    first.lock()
    first.close()
    second = Journal(tmp_path / "journal.sqlite", design=DESIGN)
    second.lock()
    second.close()


def test_on_a_full_disk_the_answer_is_kept_beside_the_journal_and_read_back(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite", design=DESIGN)
    journal.lock()
    now(journal.intend(key("k"), condition="a", item="i"))
    db = journal._store._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite sees of a full disk
    now(journal.finish_call(call("k", text="x" * 100_000)))
    assert isinstance(journal.failure, JournalWriteError)
    with pytest.raises(JournalWriteError, match="full"):
        now(journal.intend(key("next"), condition="a", item="i"))  # nothing more is sent
    journal.close()

    again = Journal(tmp_path / "journal.sqlite", design=DESIGN)
    again.lock()
    assert now(again.answer(key("k")))["text"] == "x" * 100_000
    assert again.possibly_billed() == ()
    again.check()
    again.close()
    assert not (tmp_path / "recovery.jsonl").exists()


def test_a_folder_without_a_journal_and_a_file_that_is_none(tmp_path):
    path = tmp_path / "journal.sqlite"
    with pytest.raises(NotARunError):
        Journal(path)
    for content in (b"not a database at all" * 100, b""):
        path.write_bytes(content)
        with pytest.raises(JournalCorruptError):
            Journal(path)
        assert path.read_bytes() == content  # never rewritten


def test_columns_hold_what_the_answer_says(journal):
    write(journal, "k", reserved_usd=0.25, queued_s=1.5)
    (row,) = journal.calls()
    assert (row["input_tokens"], row["output_tokens"], row["cost_usd"]) == (3, None, 0.5)
    assert (row["reserved_usd"], row["queued_s"], row["condition"]) == (0.25, 1.5, "shared")
    assert json.loads(row["request"]) == {"prompt": "?"}


def test_text_that_no_database_can_hold_is_escaped(journal):
    write(journal, "k", status="error", response=None, error_message="a\0b \ud800 é")
    (row,) = journal.calls()
    assert row["error_message"] == "a\\x00b \\ud800 é"


def test_of_a_cell_that_was_tried_again_the_latest_attempt_counts_and_the_first_stays(journal):
    now(journal.finish_cell(cell("error")))
    now(journal.finish_cell(cell("ok")))
    assert journal.states() == {("a", "i", 0): "ok"}
    (record,) = journal.cells().values()
    assert record[1]["scores"] == {"accuracy": 1.0}
    assert record[1]["call_keys"] == [key("k")]
    assert record[1]["cost_usd"] == 0.5
    with sqlite3.connect(journal.path) as db:
        assert db.execute("SELECT attempt, status FROM cells ORDER BY n").fetchall() == [
            (0, "error"), (1, "ok"),
        ]  # fmt: skip


def test_power_safe_commits_are_synchronous(tmp_path):
    for durability, level in (("process", 1), ("power", 2)):  # sqlite.org/pragma.html#synchronous
        journal = Journal(tmp_path / f"{durability}.sqlite", design=DESIGN, durability=durability)
        assert journal._store._db.execute("PRAGMA synchronous").fetchone() == (level,)
        assert journal._store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        journal.close()


def test_the_log_is_folded_into_the_file_beside_a_run_that_goes_on(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite", design=DESIGN)
    journal.lock()
    for n in range(2 * _FOLDED_EVERY):
        now(journal.note("resume", finished=n))
    journal._store._checkpoints.end()  # once what was begun is done, and before the file is closed
    alone = tmp_path / "alone.sqlite"
    alone.write_bytes(journal.path.read_bytes())  # without its log
    with closing(sqlite3.connect(alone)) as db:
        (folded,) = db.execute("SELECT COUNT(*) FROM events").fetchone()
    assert folded >= _FOLDED_EVERY
    assert len(journal.events()) == 2 * _FOLDED_EVERY
    journal._store._checkpoints = None
    journal.close()


@pytest.mark.parametrize(
    "error",
    [
        JournalLockedError("f", pid=3, host="h"),
        JournalCorruptError("f", table="calls", row=2),
        JournalVersionError("f", found="2", known="1"),
        DesignMismatchError("f", ("seed",)),
    ],
)
def test_errors_survive_pickling(error):
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), vars(again)) == (str(error), vars(error))
