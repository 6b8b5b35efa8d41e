"""Every fenced block of every page is executed, read as what it claims to be, or listed.

`test_docs.py` executes the Python of guides, and the commands of the pages in `WHOLE`; each
package's `test_readme.py` its README; the harness's `test_console.py` every `crucible ...` line of a
guide; `test_shown.py` reads files and Python that is shown only; `test_published.py` installs,
clones and rehearses a release. What is left is in `listed.py`, or fails the first test here.
"""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from listed import ELSEWHERE, LISTED, LISTED_COMMANDS
from pages import (
    DOCS,
    GUIDES,
    PAGES,
    READMES,
    ROOT,
    WHOLE,
    Block,
    blocks,
    console_lines,
    key,
    lines,
)


@cache
def executed() -> frozenset[str]:
    """Return the commands that the pages in WHOLE execute, and those of guides with `crucible`."""
    found = set()
    for page in [*WHOLE, *GUIDES, ROOT / "packages" / "crucible-harness" / "README.md"]:
        for block in blocks(page):
            if block.language == "console" and not block.shown_only:
                for line in lines(block.text):
                    in_a_guide = page != ROOT / "README.md" and line.startswith("crucible ")
                    if page in WHOLE or (in_a_guide and not line.startswith("crucible study ")):
                        found.add(line)
    return frozenset(found - set(LISTED_COMMANDS))


def bare(line: str) -> str:
    """Return a command without `uv run`, without what makes it quiet or a check, and redirection."""
    line = re.sub(r"^uv run (--group \w+ |--no-sync )*(?=\S)", "", line.strip())
    line = re.sub(r" (-q|--quiet|--no-sync|--keep-going|--check|--durations=\d+)(?= |$)", "", line)
    line = re.sub(r"crucible-(\$1|bench)\b", "crucible-NAME", line.replace('"', ""))
    return line.partition(" $@")[0].partition(" >")[0]


@cache
def ci() -> frozenset[str]:
    return frozenset(map(bare, (ROOT / ".ci" / "run").read_text("utf-8").splitlines()))


def care(page: Path, block: Block) -> str | None:
    """Return what takes care of a block, or None."""
    if key(page, block) in LISTED:
        return "listed"
    if key(page, block) in ELSEWHERE:
        return ELSEWHERE[key(page, block)]
    if block.language == "{toctree}":
        return "the site is built from it"
    if block.language == "python" and not block.shown_only:
        return "executed" if page in {*GUIDES, *WHOLE, *READMES} else None
    if "file" in block.settings:
        return "written and used" if page in WHOLE else None
    if block.language == "console":
        if page in WHOLE and not block.shown_only:
            return "executed"
        return None if [line for line in lines(block.text) if not cared(line)] else "executed"
    if block.language == "toml":
        return "loaded as an experiment"
    if block.language == "yaml":
        return "read as a workflow"
    if key(page, block) == ("docs/design/README.md", "packages/"):
        return "compared with the folders"
    return None


def cared(line: str) -> bool:
    """Return whether a command is executed by a test, by CI, or listed."""
    here = ("uv pip install ", "git clone $REPOSITORY crucible", "cd crucible")
    return (
        line in executed()
        or line in LISTED_COMMANDS
        or line.startswith(here)
        or line == "python scripts/release.py crucible-bench"
        or bare(line) in ci()
        # CI's first command is this one with another folder for runs.
        or (line == "crucible quickstart" and f"{line} --directory $runs" in ci())
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_block_of_a_page_is_taken_care_of(page):
    left = [f"{page.name}:{b.line} ({b.language})" for b in blocks(page) if care(page, b) is None]
    assert left == [], "executed by no test, and not listed"


def test_no_markdown_page_of_the_repository_is_left_out():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(listed.stdout.split()) == {page.relative_to(ROOT).as_posix() for page in PAGES}


def test_the_list_names_no_block_and_no_command_that_is_gone():
    there = {key(page, block) for page in PAGES for block in blocks(page)}
    assert {*LISTED, *ELSEWHERE} - there == set()
    assert set(LISTED_COMMANDS) - console_lines() == set()


def test_a_block_that_nothing_takes_care_of_is_found(tmp_path):
    page = tmp_path / "new.md"
    page.write_text("```console\n$ make coffee\n```\n```json\n{}\n```\n```python\n1\n```\n")
    new = blocks(page)
    new_page = DOCS / "design" / "new.md"
    assert [care(new_page, block) for block in new] == [None, None, None]
    assert not cared("uv run pytest --nonsense")
