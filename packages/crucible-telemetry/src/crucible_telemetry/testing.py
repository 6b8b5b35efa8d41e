"""For those who write a store or a redactor of their own: what it must do, executed."""

import copy
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from crucible_telemetry.errors import RowRejectedError
from crucible_telemetry.filters import F
from crucible_telemetry.lines import line_of
from crucible_telemetry.redaction import Redactor
from crucible_telemetry.schema import COLUMNS, INDEX, Row
from crucible_telemetry.stores.port import Columnar, Erasing, Query, Store

__all__ = ["check_redactor", "check_store", "example_row"]


def example_row(
    *,
    experiment_id: str = "exp_a",
    writer_id: str = "00000000000000aa",
    seq: int = 1,
    name: str = "call",
    start_ns: int = 1_000,
    outcome: str = "ok",
    attributes: str = "{}",
) -> Row:
    """Return a row in schema order with every column that can be empty left empty."""
    given: dict[str, object] = {
        "experiment_id": experiment_id,
        "writer_id": writer_id,
        "seq": seq,
        "name": name,
        "kind": "event",
        "start_ns": start_ns,
        "outcome": outcome,
        "pid": 1,
        "thread_id": 2,
        "sample_rate": 1.0,
        "attributes": attributes,
    }
    return tuple(given.get(column.name) for column in COLUMNS)


def check_store(make_store: Callable[[], Store]) -> None:
    """Check that a store keeps the promises of the `Store` port.

    Parameters
    ----------
    make_store : callable
        Returns a new, empty store each time.

    Raises
    ------
    AssertionError
        With the promise that is not kept.
    """
    for check in (
        _returns_rows_unchanged,
        _orders_by_start_writer_and_number,
        _answers_queries,
        _appends_all_or_nothing,
        _keeps_documents,
        _serves_threads,
        _erases_one_experiment,
    ):
        store = make_store()
        try:
            check(store)
        finally:
            store.close()


def check_redactor(make: Callable[[], Redactor]) -> None:
    """Check that a redactor can be trusted with whatever attributes come.

    Parameters
    ----------
    make : callable
        Returns a new redactor each time.

    Raises
    ------
    AssertionError
        With the promise that is not kept.
    """
    samples: list[dict[str, Any]] = [
        {},
        {"text": "ü🙂", "number": 1, "real": 2.5, "truth": True, "nothing": None},
        {"user": "user@example.com", "secret.key": "x", "list": [1, "a", {"user": [None]}]},
        {"crucible.span_events": [{"name": "e", "time_ns": 1, "attributes": {"user": "u"}}]},
    ]
    one, other = make(), make()
    for sample in samples:
        try:
            found = [r.redact(copy.deepcopy(sample)) for r in (one, one, other)]
        except Exception as error:
            raise AssertionError(f"not kept: it raises for no attributes; {error!r}") from error
        _expect(all(isinstance(f, dict) for f in found), "it returns a dict", found)
        try:
            texts = {json.dumps(f, sort_keys=True, allow_nan=False) for f in found}
        except (TypeError, ValueError) as error:
            raise AssertionError(f"not kept: values are JSON-safe; {error}") from error
        _expect(len(texts) == 1, "equal attributes give equal ones, always", texts)


def _returns_rows_unchanged(store: Store) -> None:
    full = list(example_row(seq=2, name="␀ � 🙂 'quoted' \"twice\"\n"))
    full[INDEX["start_mono_ns"]] = 2**63 - 1
    full[INDEX["duration_s"]] = 0.1 + 0.2
    full[INDEX["cost_usd"]] = 5e-324
    full[INDEX["input_tokens"]] = 0
    full[INDEX["repeat"]] = -(2**63)
    full[INDEX["item_id"]] = ""
    full[INDEX["trace_id"]] = "00ff" * 8
    full[INDEX["span_id"]] = "0" * 15 + "1"
    full[INDEX["altered"]] = '["a.b"]'
    full[INDEX["attributes"]] = '{"a.b":"NaN","c":[1,2.5,{"d":null}],"ü":true}'
    rows = [example_row(), tuple(full)]
    store.append(rows)
    store.append([])
    found = list(store.scan(Query(experiments=("exp_a",))))
    _expect(found == rows, "rows come back as they were appended", found)
    lines = [line_of(row) for row in found]
    _expect(lines == [line_of(row) for row in rows], "and give the same JSON lines", lines)


def _orders_by_start_writer_and_number(store: Store) -> None:
    wanted = [
        example_row(start_ns=-5, seq=9),
        example_row(start_ns=1, seq=1),
        example_row(start_ns=1, seq=10),
        example_row(start_ns=1, writer_id="00000000000000bb", seq=1),
        example_row(start_ns=2, seq=2),
    ]
    store.append(wanted[3:])
    store.append([wanted[2], wanted[0], wanted[1]])
    found = list(store.scan(Query(experiments=("exp_a",))))
    _expect(found == wanted, "rows are ordered by (start_ns, writer_id, seq)", found)


def _answers_queries(store: Store) -> None:
    rows = [
        example_row(seq=n, start_ns=n, name="even" if n % 2 == 0 else "odd") for n in range(1, 7)
    ]
    other = example_row(experiment_id="exp_b", start_ns=3, outcome="timeout")
    store.append([*rows, other])

    def ask(promise: str, query: Query, wanted: Sequence[Row]) -> None:
        found = list(store.scan(query))
        _expect(found == list(wanted), promise, found)

    one = ("exp_a",)
    ask("only the experiments asked for", Query(experiments=one), rows)
    ask("none asked for, none found", Query(experiments=()), [])
    ask("an unknown experiment has no rows", Query(experiments=("exp_c",)), [])
    both = Query(experiments=("exp_a", "exp_b"), since_ns=3, until_ns=4)
    ask("several experiments", both, [other, rows[2]])
    ask("by name", Query(experiments=one, names=("odd",)), rows[::2])
    ask("no name, no row", Query(experiments=one, names=()), [])
    ask("by outcome", Query(experiments=("exp_a", "exp_b"), outcomes=("timeout",)), [other])
    ask("since is inclusive", Query(experiments=one, since_ns=4), rows[3:])
    ask("until is exclusive", Query(experiments=one, until_ns=4), rows[:3])
    hinted = store.scan(Query(experiments=one, columns=frozenset({"name"})))
    found = [row[INDEX["name"]] for row in hinted]
    _expect(found == ["odd", "even"] * 3, "the columns that are asked for are there", found)
    if isinstance(store, Columnar):
        wanted = ("writer_id", "seq", "trace_id", "name")
        for query in (Query(experiments=one), Query(experiments=one, columns=frozenset(wanted))):
            parts = list(store.columns(query))
            read = [row for part in parts for row in zip(*(part[n] for n in wanted), strict=True)]
            asked = [tuple(row[INDEX[name]] for name in wanted) for row in store.scan(query)]
            _expect(read == asked, "columns hold what rows hold", read)
    ask("by condition", Query(experiments=one, where=F("name") == "odd"), rows[::2])
    ask("by its negation", Query(experiments=one, where=~(F("seq") > 2)), rows[:2])
    above = F.attr("n") > 0
    ask("a missing attribute is above nothing", Query(experiments=one, where=above), [])
    last = Query(experiments=one, where=F("seq") < 6, last_n=2)
    ask("the last of those that fulfil it", last, rows[3:5])
    ask("the last n, in order", Query(experiments=one, last_n=2), rows[4:])
    ask("more than there are", Query(experiments=one, last_n=99), rows)
    ask("a limit takes the first", Query(experiments=one, limit=2), rows[:2])
    ask("of the last n", Query(experiments=one, last_n=4, limit=1), rows[2:3])
    ask(
        "everything together",
        Query(experiments=one, names=("even",), outcomes=("ok",), since_ns=3, last_n=1),
        rows[5:],
    )


def _appends_all_or_nothing(store: Store) -> None:
    good = [example_row(seq=n) for n in range(1, 1_200)]  # more than one statement takes
    bad = list(example_row(seq=1_200))
    bad[INDEX["name"]] = None
    try:
        store.append([*good, tuple(bad)])
    except RowRejectedError:
        found = list(store.scan(Query(experiments=("exp_a",))))
        _expect(found == [], "a rejected batch leaves nothing behind", found)
    # A store without constraints of its own may take the row; it must then have both.
    else:
        found = list(store.scan(Query(experiments=("exp_a",))))
        _expect(len(found) == 1_200, "an accepted batch is stored whole", found)


def _keeps_documents(store: Store) -> None:
    document = {"name": "ü🙂", "numbers": [1, 2.5, None], "inner": {"a.b": True}}
    store.put("experiment", "b", {"v": 1})
    store.put("experiment", "b", document)
    store.put("experiment", "a", {})
    store.put("writer", "b", {"v": 2})
    _expect(store.get("experiment", "b") == document, "a document comes back as the last put")
    _expect(store.get("experiment", "c") is None, "an unknown document is None")
    _expect(store.get("cursor", "b") is None, "kinds are apart")
    listed = list(store.list("experiment"))
    _expect(listed == [("a", {}), ("b", document)], "documents are listed by key", listed)
    store.close()
    _expect(list(store.list("cursor")) == [], "a closed store can be asked again")


def _serves_threads(store: Store) -> None:
    threads, batches, size = 4, 5, 20

    def write(thread: int) -> None:
        for batch in range(batches):
            store.append(
                [
                    example_row(writer_id=f"{thread:016x}", seq=batch * size + n + 1)
                    for n in range(size)
                ]
            )
            store.put("cursor", str(thread), {"batch": batch})

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(threads)))
    found = list(store.scan(Query(experiments=("exp_a",))))
    keys = [(row[INDEX["writer_id"]], row[INDEX["seq"]]) for row in found]
    wanted = [(f"{t:016x}", n + 1) for t in range(threads) for n in range(batches * size)]
    _expect(keys == wanted, "threads do not lose or double rows", len(keys))


def _erases_one_experiment(store: Store) -> None:
    if not isinstance(store, Erasing):
        return
    mine = [example_row(seq=n) for n in range(1, 4)]
    other = example_row(experiment_id="exp_b")
    store.append([*mine, other])
    erased = store.erase("exp_a")
    _expect(erased == 3, "erasing tells how many events there were", erased)
    found = list(store.scan(Query(experiments=("exp_a", "exp_b"))))
    _expect(found == [other], "it erases one experiment and no other", found)
    _expect(store.erase("exp_a") == 0, "there is nothing to erase twice")
    store.append(mine)
    found = list(store.scan(Query(experiments=("exp_a",))))
    _expect(found == mine, "what was erased can come back", found)


def _expect(kept: bool, promise: str, found: object = None) -> None:
    if not kept:
        raise AssertionError(f"not kept: {promise}; got {found!r}")
