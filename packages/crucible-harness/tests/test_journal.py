import json
import sqlite3

import pytest

from crucible_harness.errors import (
    DesignMismatchError,
    JournalCorruptError,
    JournalLockedError,
    JournalWriteError,
    NotARunError,
)
from crucible_harness.journal import Call, Journal

DESIGN = {"name": "x", "seed": 1}


def call(key: str, text: str = "42") -> Call:
    return Call(
        leaf_key=key, attempt=0, item="i", repeat=0, status="ok", request={"prompt": key},
        response={"text": text, "input_tokens": 3, "cost_usd": 0.5}, started_ns=1,
    )  # fmt: skip


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite", design=DESIGN)
    yield journal
    journal.close()


def test_an_answer_is_found_again_by_its_key(journal):
    assert journal.intend("k") == 0
    journal.finish_call(call("k"))
    assert journal.answer("k")["text"] == "42"
    assert journal.answer("other") is None


@pytest.mark.parametrize("statement", ["UPDATE calls SET response = 'x'", "DELETE FROM calls"])
def test_a_row_cannot_be_changed_or_removed(journal, statement):
    journal.intend("k")
    journal.finish_call(call("k"))
    with (
        sqlite3.connect(journal.path) as db,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        db.execute(statement)


def test_a_changed_row_is_found(journal):
    for key in ("a", "b", "c"):
        journal.intend(key)
        journal.finish_call(call(key))
    assert journal.broken_row() is None
    with sqlite3.connect(journal.path) as db:
        db.execute("DROP TRIGGER no_update_calls")
        db.execute("UPDATE calls SET response = replace(response, '42', '43') WHERE n = 2")
    assert journal.broken_row() == "calls row 2"


def test_an_intent_without_an_end_was_possibly_billed(journal):
    journal.intend("seen")
    journal.finish_call(call("seen"))
    journal.intend("lost")
    assert journal.possibly_billed() == ("lost",)


def test_another_design_is_refused_and_the_difference_named(journal):
    with pytest.raises(DesignMismatchError) as caught:
        Journal(journal.path, design={"name": "x", "seed": 2})
    assert caught.value.fields == ("seed",)


def test_a_second_holder_is_refused_and_the_first_one_named(journal, tmp_path):
    journal.lock()
    second = Journal(journal.path, design=DESIGN)
    with pytest.raises(JournalLockedError, match="process"):
        second.lock()
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
    journal.intend("k")
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite sees of a full disk
    journal.finish_call(call("k", text="x" * 100_000))
    assert isinstance(journal.failure, JournalWriteError)
    with pytest.raises(JournalWriteError, match="full"):
        journal.intend("next")  # nothing more is sent
    journal.close()

    again = Journal(tmp_path / "journal.sqlite", design=DESIGN)
    again.lock()
    assert again.answer("k")["text"] == "x" * 100_000
    assert again.possibly_billed() == ()
    assert again.broken_row() is None
    again.close()
    assert not (tmp_path / "recovery.jsonl").exists()


def test_a_folder_without_a_journal_and_a_file_that_is_none(tmp_path):
    with pytest.raises(NotARunError):
        Journal(tmp_path / "journal.sqlite")
    (tmp_path / "journal.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(JournalCorruptError):
        Journal(tmp_path / "journal.sqlite")


def test_columns_hold_what_the_answer_says(journal):
    journal.intend("k")
    journal.finish_call(call("k"))
    with sqlite3.connect(journal.path) as db:
        row = db.execute(
            "SELECT input_tokens, output_tokens, cost_usd, request FROM calls"
        ).fetchone()
    assert row[:3] == (3, None, 0.5)
    assert json.loads(row[3]) == {"prompt": "k"}
