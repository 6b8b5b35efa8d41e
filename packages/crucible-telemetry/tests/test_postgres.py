import json
import signal
import subprocess
import sys
import threading

import psutil
import psycopg
import pytest
import sqlalchemy as sa

from crucible_telemetry import PostgresStore, open_store, query, start_experiment
from crucible_telemetry.errors import (
    MissingExtraError,
    RowRejectedError,
    StoreUnavailableError,
    StoreVersionError,
)
from crucible_telemetry.schema import INDEX
from crucible_telemetry.stores.port import Query
from crucible_telemetry.stores.postgres_tables import Tables, binary_safe
from crucible_telemetry.testing import check_store, example_row

QUICK = {"capture_spans": False, "flush_interval_s": 0.01}


def test_it_keeps_the_promises_of_the_port(new_database):
    check_store(lambda: PostgresStore(new_database()))


def test_an_address_opens_it_and_several_schemas_stay_apart(new_database):
    url = new_database()
    with open_store(url) as one, PostgresStore(url, schema="other") as other:
        assert isinstance(one, PostgresStore)
        one.append([example_row()])
        assert list(other.scan(Query(experiments=("exp_a",)))) == []


FOUR = """
import sys
from crucible_telemetry import start_experiment
with start_experiment(name="one of four", store=sys.argv[1], capture_spans=False) as experiment:
    for n in range(20_000):
        experiment.record("event", n=n)
assert experiment.stop().stats.stored == 20_000
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_four_processes_write_80_000_events_into_one_new_store(request, kind, tmp_path):
    # None of them finds the tables: all four create them at once.
    postgres = kind == "postgres"
    url = request.getfixturevalue("new_database")() if postgres else tmp_path / "four.sqlite"
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", FOUR, str(url)], stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    with open_store(url) as store:
        records = query.experiments(store)
        assert len(records) == 4
        for record in records:
            found = query.rows(store, Query(experiments=(record.id,)))
            assert sorted(row[INDEX["seq"]] for row in found) == list(range(1, 20_001))


def test_a_server_that_crashes_and_comes_back_loses_and_doubles_nothing(mortal_server):
    experiment = start_experiment(
        name="crash", store=mortal_server.get_uri(), max_block_s=60, **QUICK
    )
    half = threading.Event()
    on = threading.Event()

    def produce():
        for n in range(20_000):
            if n == 5_000:
                half.set()
            if n == 10_000:
                assert on.wait(60)
            experiment.record("event", n=n)

    thread = threading.Thread(target=produce)
    thread.start()
    assert half.wait(60)
    postmaster = psutil.Process(mortal_server.get_pid())
    postmaster.send_signal(signal.SIGQUIT)  # "immediate": no transaction is finished
    postmaster.wait(30)
    on.set()
    mortal_server.ensure_postgres_running()
    thread.join()
    experiment.flush(60)
    numbers = [event.attributes["n"] for event in experiment.events()]
    assert sorted(numbers) == list(range(20_000))
    assert experiment.stop().stats.stored == 20_000
    experiment.store.close()


def test_a_lost_acknowledgement_does_not_store_twice(new_database, monkeypatch):
    with PostgresStore(new_database()) as store:
        copy = PostgresStore._copy

        def committed_but_unheard(self, cursor, table, rows):
            copy(self, cursor, table, rows)
            cursor.connection.execute("COMMIT")
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        rows = [example_row(seq=n) for n in range(1, 101)]
        monkeypatch.setattr(PostgresStore, "_copy", committed_but_unheard)
        with pytest.raises(StoreUnavailableError, match="closed the connection"):
            store.append(rows)
        monkeypatch.setattr(PostgresStore, "_copy", copy)
        store.append([*rows, example_row(seq=101)])
        store.append([example_row(seq=102)])
        found = list(store.scan(Query(experiments=("exp_a",))))
        assert [row[INDEX["seq"]] for row in found] == list(range(1, 103))
        with pytest.raises(RowRejectedError, match="UniqueViolation"):
            store.append([example_row(seq=102)])  # a number used twice is an error as ever


def test_who_cannot_be_reached_is_named_at_start_without_the_password():
    for address in (
        "postgresql://user:s3cret%21@127.0.0.1:1/db",
        "postgresql://user@127.0.0.1:1/db?password=s3cret!",
    ):
        with pytest.raises(StoreUnavailableError) as caught:
            start_experiment(name="x", store=address, capture_spans=False)
        shown = f"{caught.value} {caught.value!r} {caught.value.__cause__}"
        assert "127.0.0.1:1/db" in shown
        assert "s3cret" not in shown


def test_wrong_credentials_and_databases_are_refused_at_start(postgres_server):
    for wrong in ("nobody", None):
        url = postgres_server.get_uri()
        url = (
            url.replace("postgres:", "nobody:s3cret", 1)
            if wrong
            else url.replace("/postgres?", "/none?")
        )
        with pytest.raises(StoreUnavailableError, match="does not exist") as caught:
            PostgresStore(url)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "match"),
    [
        ("mysql://host/db", {}, "`url` must be like postgresql://"),
        ("postgresql://user:s3cret@host:port/db", {}, "`url` must be like postgresql://"),
        ("postgresql://host/db", {"schema": 'a"b'}, "`schema` must match"),
        ("postgresql://host/db", {"connect_timeout_s": 1}, "`connect_timeout_s` must be"),
    ],
)
def test_bad_arguments(url, options, match):
    with pytest.raises(ValueError, match=match) as caught:
        PostgresStore(url, **options)
    assert "s3cret" not in str(caught.value)


def test_a_newer_schema_is_refused(new_database):
    url = new_database()
    PostgresStore(url).close()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE crucible_schema SET version = 9")
    with pytest.raises(StoreVersionError, match="has schema version 9"):
        PostgresStore(url)


def test_an_older_schema_is_brought_to_this_version(new_database, monkeypatch):
    url = new_database()
    with PostgresStore(url) as store:
        store.append([example_row()])

    class NextTables(Tables):
        def __init__(self, schema):
            super().__init__(schema)
            added = sa.text(f"CREATE TABLE {schema}.added (x integer)")
            self.upgrades = (*self.upgrades, lambda connection: connection.execute(added))

    monkeypatch.setattr("crucible_telemetry.stores.postgres_tables.Tables", NextTables)
    monkeypatch.setattr("crucible_telemetry.stores.postgres.VERSION", 2)
    for _ in range(2):  # and only once
        with PostgresStore(url) as store:
            assert list(store.scan(Query(experiments=("exp_a",)))) == [example_row()]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT version FROM crucible_schema").fetchall() == [(2,)]


def test_without_the_extra_it_says_which_one(monkeypatch):
    monkeypatch.setattr("crucible_telemetry.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "crucible-telemetry\[postgres\]"'):
        open_store("postgresql://host/db")


def test_what_is_no_row_is_rejected_and_costs_nothing(new_database):
    with PostgresStore(new_database()) as store:
        for column, value in (("seq", "one"), ("name", None), ("pid", 2**64), ("name", "\ud800"),
                              ("name", "a\0b"), ("duration_s", "x"), ("name", object())):  # fmt: skip
            bad = list(example_row(seq=2))
            bad[INDEX[column]] = value
            with pytest.raises(RowRejectedError):
                store.append([example_row(seq=3), tuple(bad)])
        with pytest.raises(RowRejectedError):
            store.append([example_row()[:-1]])
        store.append([example_row(seq=1)])
        assert len(list(store.scan(Query(experiments=("exp_a",))))) == 1


def test_a_forked_child_leaves_the_connections_of_its_parent_alone(run_script, new_database):
    run_script(
        """
        import os, sys, warnings
        from crucible_telemetry import PostgresStore, query, start_experiment
        store = PostgresStore(sys.argv[1])
        experiment = start_experiment(name="forks", store=store, capture_spans=False)
        experiment.record("parent")
        experiment.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
            pid = os.fork()
        if pid == 0:
            experiment.record("child")
            experiment.flush()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        experiment.record("parent")
        experiment.stop()
        names = [event.name for event in query.events(store, experiment.id)]
        assert sorted(names) == ["child", "parent", "parent"], names
        store.close()
        """,
        new_database(),
    )


@pytest.mark.parametrize("number", [1e16, -1.5e300, 1e22, 5e-324, 0.1, 1.0, -7, 2**53 + 1, 1e-7])
def test_a_number_in_an_attribute_comes_back_as_it_was(new_database, number):
    with PostgresStore(new_database()) as store:
        text = json.dumps({"a e+1": "3e+5", "n": [number, {"m": number}]}, separators=(",", ":"))
        store.append([example_row(attributes=text)])
        (found,) = store.scan(Query(experiments=("exp_a",)))
        assert found[INDEX["attributes"]] == text


def test_only_numbers_are_spelled_out():
    text = '{"x":1e+16,"y":"2e+16","z":"\\\\\\"3e+16"}'
    assert binary_safe(text) == '{"x":10000000000000000.0,"y":"2e+16","z":"\\\\\\"3e+16"}'
