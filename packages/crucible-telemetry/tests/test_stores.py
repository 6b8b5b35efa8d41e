import sqlite3
from itertools import count
from pathlib import Path

import pytest

from crucible_telemetry import F, MemoryStore, SQLiteStore, Store, open_store, start_experiment
from crucible_telemetry.errors import RowRejectedError, StoreUnavailableError, StoreVersionError
from crucible_telemetry.schema import INDEX, VERSION
from crucible_telemetry.stores import tables
from crucible_telemetry.stores.port import Query
from crucible_telemetry.testing import check_store, example_row


def test_memory_and_sqlite_keep_the_promises_of_the_port(tmp_path):
    check_store(MemoryStore)
    numbers = count()
    for journal in ("wal", "delete"):
        check_store(lambda j=journal: SQLiteStore(tmp_path / f"{next(numbers)}.db", journal=j))
    assert isinstance(MemoryStore(), Store)


def test_a_store_that_breaks_a_promise_is_found_out():
    class Unordered(MemoryStore):
        def scan(self, query):
            return reversed(list(super().scan(query)))

    class Forgetful(MemoryStore):
        def append(self, rows):
            super().append(rows[:-1])

    class Inclusive(MemoryStore):
        def scan(self, query):
            from dataclasses import replace

            until = None if query.until_ns is None else query.until_ns + 1
            return super().scan(replace(query, until_ns=until))

    class Mixed(MemoryStore):
        def list(self, kind):
            return super().list("experiment")

    for broken in (Unordered, Forgetful, Inclusive, Mixed):
        with pytest.raises(AssertionError, match="not kept: "):
            check_store(broken)


def test_the_file_is_strict_and_in_wal_and_indexed_by_the_first_query(tmp_path):
    path = tmp_path / "f.sqlite"

    def indexes():
        with_own_eyes = sqlite3.connect(path)
        found = with_own_eyes.execute(
            "SELECT name FROM sqlite_master WHERE type='index' AND sql > ''"
        )
        names = {row[0] for row in found}
        mode = with_own_eyes.execute("PRAGMA journal_mode").fetchone()[0]
        with_own_eyes.close()
        return mode, names

    with SQLiteStore(path) as store:
        store.append([example_row()])
        assert indexes() == ("wal", set())
        list(store.scan(Query(experiments=("exp_a",))))
        assert indexes() == ("wal", {"event_seq", "event_start", "event_item"})
        for column, value in (("seq", "one"), ("name", None), ("pid", 2**64), ("name", "\ud800"),
                              ("trace_id", "xyz"), ("duration_s", "x"), ("name", object())):  # fmt: skip
            row = list(example_row(seq=2))
            row[INDEX[column]] = value
            with pytest.raises(RowRejectedError):
                store.append([example_row(seq=3), tuple(row)])
        with pytest.raises(RowRejectedError):
            store.append([example_row()])  # the same number again
        assert len(list(store.scan(Query(experiments=("exp_a",))))) == 1


def test_one_stream_is_read_in_the_order_of_an_index_and_an_item_by_its_own(tmp_path):
    def plan(query):
        text, values, _ = tables.select(query, stream=1)
        found = sqlite3.connect(tmp_path / "f.sqlite")
        steps = "; ".join(row[3] for row in found.execute(f"EXPLAIN QUERY PLAN {text}", values))
        found.close()
        return steps

    with SQLiteStore(tmp_path / "f.sqlite") as store:
        store.append([example_row(seq=n, start_ns=-n) for n in range(1, 9)])
        list(store.scan(Query(experiments=("exp_a",))))
    everything = plan(Query(experiments=("exp_a",)))
    assert "event_start (stream_id=?)" in everything
    assert "TEMP B-TREE" not in everything  # nothing is sorted
    one = plan(Query(experiments=("exp_a",), where=(F("item_id") == "q1") & (F("seq") > 1)))
    assert "event_item (stream_id=? AND item_id=?)" in one
    either = plan(Query(experiments=("exp_a",), where=(F("item_id") == "q1") | (F("seq") > 1)))
    assert "event_start (stream_id=?)" in either


def test_a_reader_sees_a_snapshot_while_others_write(tmp_path):
    with SQLiteStore(tmp_path / "f.sqlite") as store:
        store.append([example_row(seq=n) for n in range(1, 3_001)])
        reading = store.scan(Query(experiments=("exp_a",)))
        next(reading)
        store.append([example_row(seq=3_001)])
        assert len(list(reading)) == 2_999


def test_a_newer_file_is_refused(tmp_path):
    path = tmp_path / "new.sqlite"
    SQLiteStore(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(StoreVersionError, match="has schema version 9, this package reads up to 1"):
        SQLiteStore(path)


def test_an_older_file_is_brought_to_this_version_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "old.sqlite"
    with SQLiteStore(path) as store:
        store.append([example_row()])
    monkeypatch.setattr("crucible_telemetry.stores.sqlite.VERSION", 2)
    added = "CREATE TABLE added (x INTEGER) STRICT"
    monkeypatch.setattr(tables, "UPGRADES", (*tables.UPGRADES, (added, "no SQL")))
    with pytest.raises(StoreUnavailableError, match="syntax error"):
        SQLiteStore(path)

    def state():
        with_own_eyes = sqlite3.connect(path)
        names = {row[0] for row in with_own_eyes.execute("SELECT name FROM sqlite_master")}
        version = with_own_eyes.execute("PRAGMA user_version").fetchone()[0]
        with_own_eyes.close()
        return version, "added" in names

    assert state() == (1, False)
    monkeypatch.setattr(tables, "UPGRADES", (*tables.UPGRADES[:1], (added,)))
    with SQLiteStore(path) as store:
        assert state() == (2, True)
        assert list(store.scan(Query(experiments=("exp_a",)))) == [example_row()]


def test_there_is_an_upgrade_to_every_version():
    assert len(tables.UPGRADES) == VERSION


def test_a_file_that_cannot_be_a_store_is_refused_at_start(tmp_path):
    (tmp_path / "text.sqlite").write_text("no database, but long enough to be read as one" * 20)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "text.sqlite", tmp_path, tmp_path / "file" / "x.sqlite"):
        with pytest.raises(StoreUnavailableError, match=r"the store .* is not available"):
            start_experiment(name="x", store=path, capture_spans=False)


def test_a_file_system_without_wal_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(SQLiteStore, "_set_journal", lambda self, connection: "delete")
    with pytest.raises(StoreUnavailableError, match="journal mode 'wal' was refused, got 'delete'"):
        SQLiteStore(tmp_path / "x.sqlite")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"journal": "off"}, "`journal` must be"),
        ({"busy_timeout_s": 0}, "`busy_timeout_s` must be > 0"),
        ({"path": ":memory:"}, "`path` must be a file"),
        ({"path": ""}, "`path` must be a file"),
    ],
)
def test_bad_arguments_to_a_store(tmp_path, options, match):
    with pytest.raises(ValueError, match=match):
        SQLiteStore(**({"path": tmp_path / "x.sqlite"} | options))


def test_stores_open_by_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRUCIBLE_TELEMETRY_STORE", raising=False)

    def path_of(url):
        store = open_store(url)
        store.close()
        return store.path

    assert isinstance(open_store("memory:"), MemoryStore)
    assert path_of(None) == Path(".crucible/telemetry.sqlite")
    assert path_of("a/b.sqlite") == Path("a/b.sqlite")
    assert path_of(tmp_path / "c.sqlite") == tmp_path / "c.sqlite"
    assert path_of("sqlite:///relative.sqlite") == Path("relative.sqlite")
    assert path_of(f"sqlite:///{tmp_path}/d.sqlite") == tmp_path / "d.sqlite"
    monkeypatch.setenv("CRUCIBLE_TELEMETRY_STORE", "env.sqlite")
    assert path_of(None) == Path("env.sqlite")
    for wrong in ("mysql://x", "sqlite://x", "sqlite:///"):
        with pytest.raises(ValueError, match="`url` must be"):
            open_store(wrong)


def test_a_large_memory_store_warns_once(monkeypatch):
    monkeypatch.setattr("crucible_telemetry.stores.memory._MANY_ROWS", 2)
    store = MemoryStore()
    store.append([example_row()] * 2)
    with pytest.warns(ResourceWarning, match="holds over 2 rows"):
        store.append([example_row()])
    store.append([example_row()])
    assert len(list(store.scan(Query(experiments=("exp_a",))))) == 4
