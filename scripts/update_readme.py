"""Run quickstart and put what it printed, and a picture of its report, into the README.

uv run --group test python scripts/update_readme.py
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [Path(sys.executable).with_name("crucible"), "quickstart", "--directory", "runs"],
            cwd=folder,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        readme = ROOT / "README.md"
        block = f"<!-- quickstart -->\n```text\n{done.stdout.rstrip()}\n```\n<!-- /quickstart -->"
        text = readme.read_text(encoding="utf-8")
        pattern = re.compile("<!-- quickstart -->.*<!-- /quickstart -->", re.DOTALL)
        readme.write_text(pattern.sub(lambda _: block, text), encoding="utf-8")
        print(done.stdout)
        (report,) = Path(folder).glob("runs/*/report.html")
        picture(report, ROOT / "docs" / "images" / "report.png")


def picture(report: Path, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1160, "height": 1280})
        page.goto(report.as_uri())
        page.locator(".chart svg").first.wait_for()
        page.screenshot(path=path)
        browser.close()


if __name__ == "__main__":
    main()
