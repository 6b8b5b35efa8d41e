import subprocess
import sys
import textwrap

import pytest
from opentelemetry import trace

from crucible_telemetry import MemoryStore, SQLiteStore


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "t.sqlite")
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
