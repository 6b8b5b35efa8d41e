"""Run quickstart and the tracing guide, and photograph their pages in both themes.

    uv run --group test python scripts/draw_pages.py [--only report|trace] [--folder FOLDER]

What quickstart prints goes into the README as well. A real model answers: two minutes and a half.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
THEMES = ("light", "dark")
README = "<!-- quickstart -->.*<!-- /quickstart -->"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", choices=sorted(PICTURES), help="one of the pictures")
    options.add_argument("--folder", type=Path, default=ROOT / "docs" / "images")
    asked = options.parse_args()
    for name, (made, size, shown) in PICTURES.items():
        if asked.only in (None, name):
            with made() as page:
                photograph(page, asked.folder / name, size=size, shown=shown)


@contextmanager
def report() -> Iterator[Path]:
    """Run quickstart, put what it printed into the README, and lend the report."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [Path(sys.executable).with_name("crucible"), "quickstart", "--directory", "runs"],
            cwd=folder,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        print(done.stdout)
        block = f"<!-- quickstart -->\n```text\n{done.stdout.rstrip()}\n```\n<!-- /quickstart -->"
        readme = ROOT / "README.md"
        text = readme.read_text(encoding="utf-8")
        readme.write_text(re.sub(README, lambda _: block, text, flags=re.DOTALL), encoding="utf-8")
        (page,) = Path(folder).glob("runs/*/report.html")
        yield page


@contextmanager
def trace() -> Iterator[Path]:
    """Do what docs/tracing.md does until it opens the viewer, and lend that page."""
    guide = (ROOT / "docs" / "tracing.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for code in re.findall(r"^```python\n(.*?)^```", guide, re.M | re.S):
        exec(code, names)
        if "open_visualization(" in code:
            break
    page = names["page"]
    assert isinstance(page, Path)
    yield page
    page.unlink()


def the_verdicts(page: Page) -> None:
    page.locator(".chart svg").first.wait_for()


def a_decision(page: Page) -> None:
    page.get_by_text("decision made").first.click()


def photograph(
    file: Path, picture: Path, *, size: tuple[int, int], shown: Callable[[Page], None]
) -> None:
    """Write `picture`-light.png and `picture`-dark.png."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for theme in THEMES:
            page = browser.new_page(
                viewport={"width": size[0], "height": size[1]},
                color_scheme=theme,  # type: ignore[arg-type]  # one of its literals
                reduced_motion="reduce",
            )
            page.goto(file.as_uri())
            shown(page)
            path = picture.with_name(f"{picture.name}-{theme}.png")
            page.screenshot(path=path)
            print(path)
        browser.close()


PICTURES = {
    "report": (report, (1160, 1280), the_verdicts),
    "trace": (trace, (1200, 760), a_decision),
}

if __name__ == "__main__":
    main()
