"""What a page of the documentation holds: its fenced blocks, and the commands in them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GUIDES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
READMES = sorted(ROOT.glob("packages/*/README.md"))
# In these, commands are executed and files are written as well.
WHOLE = [
    DOCS / "start.md",
    DOCS / "experiments.md",
    DOCS / "experiment-file.md",
    *sorted(DOCS.glob("how-to/*.md")),
    *sorted(DOCS.glob("concepts/*.md")),
]
PAGES = [
    *GUIDES,
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.glob("*/*.md")),
    *READMES,
    *sorted(ROOT.glob("packages/*/CHANGELOG.md")),
    *sorted(ROOT.glob("examples/**/*.md")),
]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^ *```$", re.M | re.S)
_SETTING = re.compile(r'([\w-]+)="([^"]*)"')
_NUMBER = re.compile(r"[-+−]?(?<![\w-])\.?\d+(?:[.,]\d+)*")
_END = "---end-of-command---"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its language, its settings such as file="x.toml", its text and its line."""

    language: str
    settings: dict[str, str]
    text: str
    line: int

    @property
    def shown_only(self) -> bool:
        """Whether the page marks it as not executed with the page."""
        return self.settings.get("test") == "no-run"


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a Markdown file in order."""
    source = page.read_text(encoding="utf-8")
    return [
        Block(
            language=found["info"].split(" ")[0],
            settings=dict(_SETTING.findall(found["info"])),
            text=re.sub(rf"^{found['indent']}", "", found["text"], flags=re.M),
            line=source.count("\n", 0, found.start()) + 1,
        )
        for found in _FENCE.finditer(source)
    ]


def commands(text: str) -> list[tuple[str, str]]:
    """Return each command of a console block with the output that the page shows after it."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found and line.startswith("> "):
            found[-1] = (found[-1][0] + "\n" + line[2:], "")
        else:
            assert found, f"a console block must begin with a command, got {line!r}"
            found[-1] = (found[-1][0], found[-1][1] + line + "\n")
    return found


def key(page: Path, block: Block) -> tuple[str, str]:
    """Return what a list knows a block by: its page and its first line."""
    return page.relative_to(ROOT).as_posix(), block.text.strip().splitlines()[0]


def lines(text: str) -> Iterator[str]:
    """Yield each command of a console block without prompt, comment and `uv run`."""
    for command, _ in commands(text):
        for part in command.partition("  #")[0].split(" && "):
            yield re.sub(r"^uv run (--group \w+ )?(?=\w|\.)", "", part.strip())


def console_lines() -> set[str]:
    """Return every command that a page shows."""
    return {
        line
        for page in PAGES
        for block in blocks(page)
        if block.language == "console"
        for line in lines(block.text)
    }


def says(shown: str, printed: str, *, numbers_vary: bool = False) -> bool:
    """Return whether output is what a page shows; `...` stands for anything, spaces are alike."""

    def plain(text: str) -> str:
        if numbers_vary:
            text = _NUMBER.sub("0", text)
        return " ".join(text.split())

    pattern = ".*".join(re.escape(part.strip()) for part in plain(shown).split("..."))
    return re.fullmatch(pattern, plain(printed), re.S) is not None


def run_console(block: Block, *, where: str) -> None:
    """Run the commands of a console block in this folder, and hold their output against the page."""
    asked = commands(block.text)
    script = ""
    for command, _ in asked:
        script += f"{command}\n__status=$?; echo; echo '{_END}' $__status; (exit $__status)\n"
    done = subprocess.run(
        ["bash", "-c", script],
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
            "COLUMNS": "100",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    parts = re.split(rf"\n{_END} (\d+)\n", done.stdout)
    outputs, statuses = parts[0:-1:2], [int(status) for status in parts[1::2]]
    assert len(statuses) == len(asked), f"{where}: {done.stdout}\n{done.stderr}"
    for n, (command, shown) in enumerate(asked):
        asks_status = n + 1 < len(asked) and asked[n + 1][0] == "echo $?"
        if not asks_status:
            assert statuses[n] == 0 or command == "echo $?", f"{where}: {command}\n{done.stderr}"
        if shown:
            vary = block.settings.get("numbers") == "vary"
            assert says(shown, outputs[n], numbers_vary=vary), (
                f"{where}: {command}\nprinted\n{outputs[n]}\nand not\n{shown}\n{done.stderr}"
            )
