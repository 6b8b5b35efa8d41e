"""For those who write a store of their own: what it must do, executed."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.errors import (
    CausalTraceError,
    ChainExistsError,
    ChainNotFoundError,
    InvalidIdError,
)
from crucible_causaltrace.event import Event
from crucible_causaltrace.parsing import parse_llm_output
from crucible_causaltrace.stores.archives import read_archive
from crucible_causaltrace.stores.port import ChainStore

__all__ = ["check_store"]

_BAD_IDS = ("", "../x", "a/b", "a\\b", ".a", "a.b", "a\n", "a" * 129, "é", "a\x00")


def check_store(make: Callable[[], ChainStore]) -> None:
    """Check that a store keeps the promises of the `ChainStore` port.

    Parameters
    ----------
    make : callable
        Returns a new, empty store each time.

    Raises
    ------
    AssertionError
        With the promise that is not kept.
    """
    for check in (
        _returns_chains_equal,
        _takes_an_id_once,
        _forgets,
        _refuses_bad_ids,
        _searches,
        _reads_search_texts_letter_by_letter,
        _archives,
    ):
        check(make())


def _hold(condition: bool, promise: str) -> None:
    if not condition:
        raise AssertionError(promise)


def _raises(error: type[CausalTraceError], act: Callable[[], object], promise: str) -> None:
    try:
        act()
    except error:
        return
    raise AssertionError(f"{promise}: {error.__name__}")


def _chain(id: str, *decisions: str, task: str = "t", **metadata: str) -> Chain:
    chain = Chain(task, id=id, metadata=metadata)
    for n, decision in enumerate(decisions):
        chain.add(
            Event(
                id=f"e{n}",
                type="decision_made",
                source="self_report",
                decision=decision,
                depends_on=() if n == 0 else ("e0",),
            )
        )
    return chain


def _returns_chains_equal(store: ChainStore) -> None:
    text = '<event type="x:y" id="\x00"><decision>NUL \x00, lone \ud800</decision></event>Answer'
    parsed = parse_llm_output(text, "t\x00\ud800", id="c-1", metadata={"k\ud800": [1, None]})
    for chain in (parsed, Chain("", id="empty"), _chain("A", "é", "x" * 10_000)):
        _hold(store.save(chain) == chain.id, "save must return the id")
        _hold(store.load(chain.id) == chain, "load must return an equal chain, whatever its text")
    ids = [info.id for info in store.list()]
    _hold(ids == sorted(ids) == ["A", "c-1", "empty"], "list must go through all chains by id")


def _takes_an_id_once(store: ChainStore) -> None:
    store.save(_chain("a", "old", "gone"))
    again = "save must refuse an id that is taken"
    _raises(ChainExistsError, lambda: store.save(_chain("a", "new")), again)
    _hold(store.load("a") == _chain("a", "old", "gone"), "a refused save must change nothing")
    store.save(_chain("a", "new"), overwrite=True)
    _hold(store.load("a") == _chain("a", "new"), "overwrite must replace the whole chain")
    store.save(_chain("b", "first"), overwrite=True)
    _hold(store.load("b") == _chain("b", "first"), "overwrite must not need an old chain")


def _forgets(store: ChainStore) -> None:
    store.save(_chain("a", "x", "y"))
    store.save(_chain("b", "x"))
    store.delete("a")
    for act in (lambda: store.load("a"), lambda: store.delete("a")):
        _raises(ChainNotFoundError, act, "a deleted chain must be gone")
    _hold([info.id for info in store.list()] == ["b"], "delete must forget that chain alone")
    store.save(_chain("a", "z"))
    _hold(store.load("a") == _chain("a", "z"), "a deleted id must be free again")


def _refuses_bad_ids(store: ChainStore) -> None:
    promise = "an id that is not fit for a file name must be refused"
    for id in _BAD_IDS:
        if id:
            _raises(InvalidIdError, lambda id=id: store.save(Chain("t", id=id)), promise)  # type: ignore[misc]
        _raises(InvalidIdError, lambda id=id: store.load(id), promise)  # type: ignore[misc]
        _raises(InvalidIdError, lambda id=id: store.delete(id), promise)  # type: ignore[misc]
    _hold(list(store.list()) == [], "a refused id must leave nothing")


def _searches(store: ChainStore) -> None:
    store.save(_chain("a", "Use SQLite", "x", task="Big Task", model="m"))
    other = Chain("straße", id="b")
    other.add(Event(id="1", type="synthesis", source="self_report", alternatives=("DuckDB",)))
    other.add(Event(id="2", type="decision_made", source="self_report", reasoning="Ask İlker"))
    other.add(Event(id="3", type="decision_made", source="self_report", code="hidden"))
    store.save(other)
    infos = {info.id: info for info in store.list()}
    _hold(infos["a"].n_events == 2, "an info must count the events")
    _hold(infos["b"].types == ("decision_made", "synthesis"), "an info must name the types, sorted")
    _hold(infos["a"].metadata == {"model": "m"}, "an info must hold the metadata")
    late = infos["b"].saved_s
    expected: list[tuple[list[str], dict[str, object]]] = [
        (["a", "b"], {}),
        (["a"], {"text": "sqlite"}),
        (["b"], {"text": "DUCKDB"}),
        (["b"], {"text": "ask i"}),
        ([], {"text": "hidden"}),
        ([], {"text": "sqlite\nx"}),
        (["a"], {"task": "big t"}),
        (["b"], {"task": "STRASSE"}),
        (["a", "b"], {"types": ["decision_made"]}),
        (["b"], {"types": ["decision_made", "synthesis"]}),
        (["b"], {"min_events": 3}),
        (["a"], {"max_events": 2}),
        (["a"], {"metadata": {"model": "m"}}),
        ([], {"metadata": {"model": None}}),
        (["a", "b"], {"created_after_s": late - 3600.0, "created_before_s": late + 3600.0}),
        ([], {"created_after_s": late + 3600.0}),
        ([], {"created_before_s": late - 3600.0}),
        (["a"], {"text": "use", "max_events": 2, "task": "task"}),
    ]
    for ids, conditions in expected:
        found = [info.id for info in store.search(**conditions)]  # type: ignore[arg-type]
        _hold(found == ids, f"search({conditions}) must find {ids}, found {found}")


def _reads_search_texts_letter_by_letter(store: ChainStore) -> None:
    store.save(_chain("a", r"50%_ of C:\x", task="100%"))
    store.save(_chain("b", "5012 of C:yx", task="1000"))
    store.save(_chain("c", "NUL \x00 and \ud800"))
    for text in ("50%_", "%", "_", "\\x"):
        found = [info.id for info in store.search(text=text)]
        _hold(found == ["a"], f"search text must be read letter by letter: {text!r} found {found}")
    _hold([i.id for i in store.search(task="0%")] == ["a"], "a task must be read letter by letter")
    for text in ("\x00", "\ud800"):
        found = [info.id for info in store.search(text=text)]
        _hold(found == ["c"], f"search must find any character: {text!r} found {found}")
    _hold([i.id for i in store.search(text="\ufffd")] == [], "no character stands for another")


def _archives(store: ChainStore) -> None:
    chains = [_chain("a", "x", "y"), _chain("b", "\ud800\x00")]
    for chain in chains:
        store.save(chain)
    saved_s = max(info.saved_s for info in store.list())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "old.zip"
        none = store.archive(before_s=saved_s - 3600.0, path=path)
        _hold(none == 0 and not path.exists(), "an archive of nothing must make no file")
        moved = store.archive(before_s=saved_s + 3600.0, path=os.fspath(path))
        _hold(moved == 2, "archive must say how many chains it moved")
        _hold(list(store.list()) == [], "what was archived must be gone from the store")
        back = list(read_archive(path))
        _hold(back == chains, "an archive must hold chains equal to those that were saved")
        for chain in back:
            store.save(chain)
        _hold(store.load("a") == chains[0], "what is restored must be as it was")
