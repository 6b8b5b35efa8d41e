"""Every Python block in README and guides runs, and prints what the page says it prints."""

import re
from pathlib import Path

import pytest
from pages import GUIDES, READMES, WHOLE, blocks, commands, says


def has_python(page: Path) -> bool:
    return any(block.language == "python" and not block.shown_only for block in blocks(page))


@pytest.mark.parametrize(
    "page", [p for p in GUIDES if p not in WHOLE and has_python(p)], ids=lambda page: page.stem
)
def test_the_page_does_what_it_says(page, run_markdown):
    run_markdown(page)


@pytest.mark.parametrize("page", WHOLE, ids=lambda page: page.stem)
def test_the_page_with_its_files_and_commands_does_what_it_says(page, run_page):
    run_page(page)


@pytest.mark.parametrize(
    "page", [*GUIDES, *READMES], ids=lambda page: f"{page.parent.name}-{page.stem}"
)
def test_every_command_that_a_page_names_exists_with_its_options(page):
    import typer.main

    from crucible_harness.cli.app import app

    known = typer.main.get_command(app)
    text = "\n".join(block.text for block in blocks(page) if block.language == "console")
    for command, _ in commands(text) if text.startswith("$ ") else []:
        said = re.search(r"\bcrucible (\w[\w-]*)(.*)", command.partition(" #")[0])
        if said is None or said[1] == "crucible":
            continue
        assert said[1] in known.commands, f"{page.name}: {command}"
        options = {o for p in known.commands[said[1]].params for o in (*p.opts, *p.secondary_opts)}
        for option in re.findall(r"(?<= )--?[a-z][\w-]*", said[2]):
            assert option in options, f"{page.name}: {command}"


def test_output_that_differs_from_the_page_is_found():
    assert says("a ... c", "a b\n c\n")
    assert not says("a ... c", "a b")
    assert says("p = .062", "p = 0.25", numbers_vary=True)
    assert says("+0.1 of 12 items", "−0.25 of 7 items", numbers_vary=True)
    assert not says("12 items", "7 items")
