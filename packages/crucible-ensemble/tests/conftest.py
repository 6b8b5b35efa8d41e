import sys
from pathlib import Path

import pytest
import trio.testing
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("crucible", deadline=None)  # how long an example takes is no result
settings.load_profile("crucible")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def virtual_time():
    """Options of a back end whose clock jumps to the next thing that is due."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def in_virtual_time():
    """Run an async function to its end in virtual time."""
    import anyio

    def run(main, *args):
        clock = trio.testing.MockClock(autojump_threshold=0)
        return anyio.run(main, *args, backend="trio", backend_options={"clock": clock})

    return run


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("OPENAI", "ANTHROPIC", "GEMINI", "GOOGLE", "AZURE_OPENAI"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
