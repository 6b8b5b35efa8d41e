import gc
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def swept():
    """Collect what the Tinker SDK leaves open here, where the filter below holds."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_the_readme_does_what_it_says(run_markdown):
    run_markdown(Path(__file__).parent.parent / "README.md")
