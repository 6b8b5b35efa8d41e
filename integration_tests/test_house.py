"""The plan of the house: who may import whom, and what an import may cost."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOOR_1 = ("bench", "causaltrace", "datasets", "ensemble", "hedging", "lora", "telemetry")
ALL = (*FLOOR_1, "harness")
HEAVY = ("torch", "transformers", "pandas", "pyarrow", "datasets", "ray")


def imported(file: Path) -> set[str]:
    """Return the first part of every module that a file imports, at any depth of it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("name", FLOOR_1)
def test_the_ground_floor_does_not_import_its_neighbours(name):
    package = ROOT / "packages" / f"crucible-{name}"
    for file in [*package.glob("src/**/*.py"), *package.glob("tests/*.py")]:
        siblings = {m for m in imported(file) if m.startswith("crucible_")} - {f"crucible_{name}"}
        assert not siblings, f"{file.relative_to(ROOT)} imports {siblings}"


@pytest.mark.parametrize("name", ALL)
def test_importing_a_package_loads_nothing_heavy(name):
    code = f"import sys, crucible_{name}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ALL)
def test_a_package_is_complete(name):
    package = ROOT / "packages" / f"crucible-{name}"
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["version"] == "0.1.0"
    for key in (
        "description",
        "readme",
        "requires-python",
        "license",
        "authors",
        "classifiers",
        "keywords",
    ):
        assert project.get(key), key
    for file in ("README.md", "CHANGELOG.md", "LICENSE", f"src/crucible_{name}/py.typed"):
        assert (package / file).is_file(), file
    siblings = [d for d in project["dependencies"] if d.startswith("crucible-")]
    if name == "harness":
        assert sorted(siblings) == [f"crucible-{n}>=0.1,<0.2" for n in FLOOR_1]
    else:
        assert siblings == []


@pytest.mark.parametrize("name", ALL)
def test_public_names_are_few_sorted_and_there(name):
    module = __import__(f"crucible_{name}")
    assert module.__doc__
    assert list(module.__all__) == sorted(module.__all__)
    assert 5 <= len(module.__all__) <= 20, len(module.__all__)
    for public in module.__all__:
        assert getattr(module, public).__doc__ is not None, public


def test_nobody_imports_asyncio_where_a_library_should_not():
    # The harness asks whether a loop runs, and only if an application has imported it.
    for name in ALL:
        for file in (ROOT / "packages" / f"crucible-{name}" / "src").rglob("*.py"):
            assert "asyncio" not in imported(file), file.relative_to(ROOT)


def test_links_in_the_documentation_lead_somewhere():
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("packages/*/README.md"),
    ]:
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
