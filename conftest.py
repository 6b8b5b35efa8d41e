"""One fixture for the whole workspace: Markdown files whose code is executed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_examples import EvalExample, find_examples

ROOT = Path(__file__).parent


@pytest.fixture
def run_markdown(
    eval_example: EvalExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], None]:
    """Run the Python blocks of a Markdown file, top to bottom, in one namespace.

    Blocks run in an empty working directory. Where a block shows its output as `#> ...` lines,
    the output must be equal. A block fenced as ```python test="no-run"``` is shown only; the text
    beside it says why.
    """
    monkeypatch.chdir(tmp_path)
    eval_example.set_config(line_length=120)  # a longer line of output is shown as a string

    def run(path: Path) -> None:
        blocks = [b for b in find_examples(path) if b.prefix_settings().get("test") != "no-run"]
        assert blocks, f"no executable Python block in {path}"
        names: dict[str, object] = {}
        for block in blocks:
            runner = eval_example.run_print_check if "#>" in block.source else eval_example.run
            names |= runner(block, module_globals=names)

    return run


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """Return the folder with real benchmark files; its absence is a failure in CI, else a skip."""
    folder = Path(os.environ.get("CRUCIBLE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        reason = f"real benchmark files not found in {folder}; set CRUCIBLE_TEST_DATA"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
