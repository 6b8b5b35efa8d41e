"""What the pages tell people to type: install, clone, release, call a script."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PAGES, READMES, ROOT, blocks, commands, console_lines


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Return a folder of a git repository with what is in this one, tests left out."""
    folder = tmp_path_factory.mktemp("published") / "repository"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if "/tests/" in name or not (ROOT / name).is_file():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    for words in (["init", "-q"], ["add", "-A"],
                  ["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "all"]):  # fmt: skip
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def bash(script: str, folder: Path, repository: Path) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "VIRTUAL_ENV"))}
    return subprocess.run(
        ["bash", "-euc", script], cwd=folder, capture_output=True, text=True, check=False,
        env={**kept, "REPOSITORY": f"file://{repository}"},
    )  # fmt: skip


def test_every_package_is_installed_by_the_line_that_its_readme_shows(repository, tmp_path):
    shown = {line for line in console_lines() if line.startswith("uv pip install ")}
    assert len(shown) >= len(READMES)
    # Its dependencies are installed by CI, from the wheels.
    where = f"uv pip install --no-deps --target {tmp_path / 'there'} "
    script = "\n".join(
        where + line.removeprefix("uv pip install ").removeprefix("--no-deps ")
        for line in sorted(shown)
    )
    done = bash(script, tmp_path, repository)
    assert done.returncode == 0, done.stderr
    assert "does not have an extra" not in done.stderr
    installed = {path.name for path in (tmp_path / "there").iterdir()}
    for line in shown:
        if subdirectory := line.partition("#subdirectory=packages/")[2].strip('"'):
            assert subdirectory.replace("-", "_") in installed


def test_the_repository_is_cloned_and_a_release_rehearsed_as_the_pages_say(repository, tmp_path):
    first = next(b for b in blocks(ROOT / "README.md") if b.language == "console")
    clone = commands(first.text)[0][0].partition("  #")[0]
    # The interpreter of the tests stands for the environment that `uv run` would make first.
    release = f"{sys.executable} scripts/release.py crucible-bench"
    done = bash(f"{clone}\n{release} --skip-tests", tmp_path, repository)
    assert done.returncode == 0, done.stderr
    assert "dry run: nothing tagged, nothing uploaded (crucible-bench " in done.stdout
    assert re.search(r"built crucible_bench-[\d.]+-py3-none-any.whl", done.stdout)
    refused = bash(
        f"cd crucible\ntouch new.txt\n{release} --publish", tmp_path, repository
    )  # changed, so that it never gets as far as an upload
    assert refused.returncode == 1
    assert "not ready: the working tree has uncommitted changes" in refused.stderr


def test_every_script_that_a_page_names_has_the_options_it_is_called_with():
    asked: dict[str, set[str]] = {}
    for page in PAGES:
        for name, rest in re.findall(
            r"\bscripts/(\w+\.py)((?: --?[\w-]+(?: [a-z]\w*)?)*)", page.read_text(encoding="utf-8")
        ):
            asked.setdefault(name, set()).update(re.findall(r"--[\w-]+", rest))
    assert {"simulate_studies.py", "bench_calibration.py", "release.py"} <= set(asked)
    for name, options in asked.items():
        if not options:
            continue
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / name, "--help"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (name, done.stderr)
        for option in options:
            assert re.search(rf"{option}\b", done.stdout), (name, option)
