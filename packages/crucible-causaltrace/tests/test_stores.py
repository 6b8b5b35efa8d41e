import json
import os
import signal
import subprocess
import sys
import zipfile

import pytest

from crucible_causaltrace import Chain, Event, export_chain, load, parse_llm_output, save
from crucible_causaltrace.errors import (
    ChainExistsError,
    ChainNotFoundError,
    CorruptChainError,
    InvalidIdError,
    SchemaVersionError,
)
from crucible_causaltrace.stores import ChainStore, CorruptChainWarning, JSONStore


def chain(id, *decisions, task="t", metadata=None):
    made = Chain(task, id=id, metadata=metadata)
    for n, decision in enumerate(decisions):
        made.add(Event(id=f"e{n}", type="decision_made", source="self_report", decision=decision))
    return made


@pytest.fixture
def store(tmp_path):
    return JSONStore(tmp_path / "traces")


def test_a_chain_comes_back_equal(store, oddities):
    port: ChainStore = store
    parsed = parse_llm_output(oddities + "\ud800", "t\ud800", id="c-1")
    assert save(parsed, store=port) == "c-1"
    assert load("c-1", store=port) == parsed
    content = (store.directory / "c-1.json").read_bytes()
    assert content.isascii()
    assert content.decode() == export_chain(parsed, "json")


def test_the_default_store_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(chain("a"))
    assert (tmp_path / ".crucible/traces/a.json").exists()
    monkeypatch.setenv("CRUCIBLE_TRACES", str(tmp_path / "elsewhere"))
    save(chain("b"))
    assert load("b").id == "b"
    assert os.listdir(tmp_path / "elsewhere") == ["b.json"]


def test_an_id_is_taken_once_unless_asked(store):
    store.save(chain("a", "old"))
    with pytest.raises(ChainExistsError, match="overwrite=True"):
        store.save(chain("a", "new"))
    assert store.load("a")["e0"].decision == "old"
    store.save(chain("a", "new"), overwrite=True)
    assert store.load("a")["e0"].decision == "new"
    assert os.listdir(store.directory) == ["a.json"]


@pytest.mark.parametrize(
    "id", ["../x", "/etc/x", "a/b", "a\\b", ".a", "-a", "a.b", "a\n", "a" * 129, "é", "a\x00"]
)
def test_an_id_that_attacks_the_path_touches_no_file(store, id):
    for act in (lambda: store.save(chain(id)), lambda: store.load(id), lambda: store.delete(id)):
        with pytest.raises(InvalidIdError):
            act()
    assert not store.directory.exists()


def test_an_empty_id_is_invalid(store):
    with pytest.raises(InvalidIdError):
        store.load("")


def test_what_is_not_there_is_not_found(store):
    with pytest.raises(ChainNotFoundError):
        store.load("a")
    with pytest.raises(ChainNotFoundError):
        store.delete("a")
    assert list(store.list()) == []


def test_delete_forgets(store):
    store.save(chain("a"))
    store.delete("a")
    assert list(store.list()) == []


def test_list_and_search_say_what_is_there(store):
    store.save(chain("a", "Use 50_%", "x", task="Big Task", metadata={"model": "m"}))
    store.save(chain("b", "Use 5010", task="other"))
    infos = list(store.list())
    assert [(i.id, i.task, i.n_events, i.types) for i in infos] == [
        ("a", "Big Task", 2, ("decision_made",)), ("b", "other", 1, ("decision_made",)),
    ]  # fmt: skip
    json.dumps([i.to_dict() for i in infos])

    def found(**conditions):
        return [i.id for i in store.search(**conditions)]

    assert found() == ["a", "b"]
    assert found(text="50_%") == ["a"]
    assert found(text="USE") == ["a", "b"]
    assert found(task="big") == ["a"]
    assert found(types=["decision_made"]) == ["a", "b"]
    assert found(types=["decision_made", "synthesis"]) == []
    assert found(min_events=2) == ["a"]
    assert found(max_events=1) == ["b"]
    assert found(metadata={"model": "m"}) == ["a"]
    os.utime(store.directory / "a.json", (1000, 1000))
    assert found(created_before_s=1001.0) == ["a"]
    assert found(created_after_s=1001.0) == ["b"]
    with pytest.raises(ValueError, match="`types`"):
        found(types="decision_made")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", CorruptChainError),
        (b"[]", CorruptChainError),
        (b"{}", CorruptChainError),
        (b"\xff", CorruptChainError),
        (b"[" * 200_000, CorruptChainError),
        (json.dumps(chain("other").to_dict()).encode(), CorruptChainError),
        (json.dumps(chain("bad").to_dict() | {"events": [{"id": "a"}]}).encode(), CorruptChainError),
        (json.dumps({"schema": "crucible-causaltrace/2"}).encode(), SchemaVersionError),
    ],
)  # fmt: skip
def test_a_file_that_is_no_chain_is_named_and_passed_over(store, content, error):
    store.save(chain("good"))
    (store.directory / "bad.json").write_bytes(content)
    (store.directory / "not an id.json").write_bytes(content)
    with pytest.raises(error, match="bad.json"):
        store.load("bad")
    with pytest.warns(CorruptChainWarning, match="bad.json"):
        assert [i.id for i in store.list()] == ["good"]


PROGRAM = """
import os, signal, sys
from crucible_causaltrace import Chain
from crucible_causaltrace.errors import ChainExistsError
from crucible_causaltrace.stores import JSONStore

folder, what = sys.argv[1:]
if what == "kill":
    os.replace = os.link = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
    import pathlib
    pathlib.Path.replace = os.replace
    JSONStore(folder).save(Chain("new", id="a"), overwrite=True)
sys.stdin.read()  # both wait here, until both are there
try:
    JSONStore(folder).save(Chain(what, id="a"))
    print("saved")
except ChainExistsError:
    print("exists")
"""


def test_of_two_processes_that_save_one_id_one_wins(store):
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(store.directory), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in ("first", "second")
    ]  # fmt: skip
    for process in both:
        process.stdin.close()
    said = {
        name: p.stdout.read().strip() for name, p in zip(("first", "second"), both, strict=True)
    }
    for process in both:
        process.wait()
        process.stdout.close()
    assert sorted(said.values()) == ["exists", "saved"]
    assert said[store.load("a").task] == "saved"


def test_a_killed_writer_leaves_the_old_chain(store):
    store.save(chain("a", task="old"))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(store.directory), "kill"], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert store.load("a").task == "old"
    assert [i.id for i in store.list()] == ["a"]
    store.save(chain("a", task="new"), overwrite=True)
    assert store.load("a").task == "new"


def test_an_archive_is_verified_and_can_be_restored(store, tmp_path):
    store.save(chain("a", "x"))
    store.save(chain("b", "y"))
    os.utime(store.directory / "a.json", (1000, 1000))
    before = (store.directory / "a.json").read_bytes()
    path = tmp_path / "old.zip"
    assert store.archive(before_s=500.0, path=path) == 0
    assert not path.exists()
    assert store.archive(before_s=2000.0, path=path) == 1
    assert [i.id for i in store.list()] == ["b"]
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["a.json", "manifest.json"]
        assert set(json.loads(archive.read("manifest.json"))["sha256"]) == {"a.json"}
        archive.extract("a.json", store.directory)
    assert (store.directory / "a.json").read_bytes() == before
    assert store.load("a") == chain("a", "x")
    with pytest.raises(FileExistsError):
        store.archive(before_s=1e12, path=path)
    assert len(list(store.list())) == 2
