"""Every fenced block of every page is executed, read as what it claims to be, or listed.

`test_docs.py` executes the Python of guides, and the commands of the pages in `WHOLE`; each
package's `test_readme.py` its README; the harness's `test_console.py` every `crucible ...` line of a
guide. The rest is done here. A block that nothing takes care of fails the first test.
"""

import ast
import builtins
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml
from pages import DOCS, GUIDES, PAGES, READMES, ROOT, WHOLE, Block, blocks, commands

# Blocks that no test executes, by page and first line, and why.
LISTED = {
    ("README.md", "condition  accuracy         95 % CI     p50     p95     p99  calls   cost"): (
        "printed by the whole quickstart; scripts/draw_pages.py puts it there"
    ),
    ("docs/lora.md", "the process ended with -9 behind update 5"): (
        "printed by scripts/demo_lora.py, minutes of a core"
    ),
    ("docs/lora.md", "seed-0: 14 of 16 orders right"): (
        "printed by scripts/demo_lora.py, minutes of a core"
    ),
    ("docs/tracing.md", '<event type="decision_made" id="d1" depends_on="d1">'): (
        "what the model wrote on one machine; read again below"
    ),
    ("docs/tracing.md", "plain [(1, 'self_reference')]"): (
        "what was read in it; another machine's model may write something else"
    ),
    ("docs/tracing.md", "similarity 0.924: 0 added, 0 removed, 1 modified, 0 moved, 0 unchanged"): (
        "what was read in it; another machine's model may write something else"
    ),
    ("docs/tracing.md", "Own answer: '256'. 12 samples per arm."): (
        "what was read in it; another machine's model may write something else"
    ),
    ("packages/crucible-hedging/README.md", "delay s   extra    P95 s (95 % interval)"): (
        "printed by scripts/bench_hedging.py --server, times of one machine"
    ),
    # Shown Python; that its names and arguments exist is checked below.
    ("docs/datasets.md", "class DockerSandbox:  # needs a Docker daemon, so this block is shown only"): (
        "needs a Docker daemon"
    ),
    ("docs/ensembles.md", "from crucible_ensemble.models.transformers import TransformersModel"): (
        "fetches weights from a model hub"
    ),
    ("docs/lora.md", "from crucible_lora import Gate, LoraConfig, PeftBackend, create_experiment, evaluate_sync, train_sync"): (
        "minutes of a core; integration_tests/test_lora_smollm2.py does it with a bar"
    ),
    ("packages/crucible-lora/README.md", "from crucible_lora import LoraConfig, PeftBackend, create_experiment"): (
        "reads weights for half a minute"
    ),
    ("packages/crucible-ensemble/README.md", "from crucible_ensemble import predict_sync"): (
        "needs the keys of three providers"
    ),
}  # fmt: skip
# Commands that no test executes as they stand, and why.
LISTED_COMMANDS = {
    "crucible study h1 --models openai/gpt-4o-mini,gemini/gemini-2.5-flash --dataset gsm8k "
    "--data test.jsonl --items 400": "needs the keys of two providers",
    "crucible study h3 --models local/smollm2": (
        "minutes; test_study_command.py runs it with 6 items"
    ),
    "crucible study examples/studies/h3.toml": (
        "minutes; test_studies.py reads the file, test_study_command.py runs one"
    ),
    "crucible study h3 --run runs/h3-ensemble-size-8ab4b849": (
        "the run of the line above; test_study_command.py analyses one again"
    ),
    "crucible run examples/gsm8k.toml": "minutes; test_real_model.py runs it with 4 items",
    ".ci/run": "it runs this test",
    "python scripts/release.py crucible-bench --publish": "uploads; its refusal is executed below",
    "python scripts/draw_concepts.py": "executed by test_site.py",
    "python scripts/draw_pages.py": "minutes; its options are checked below",
    "python scripts/simulate_studies.py --write": "half an hour; its options are checked below",
    "python scripts/bench_calibration.py --write": "minutes; its options are checked below",
    "pytest packages/crucible-bench/tests/test_compare.py": "a part of the test suite",
}
# Shown Python that a test of its own executes.
ELSEWHERE = {
    ("packages/crucible-datasets/README.md", "from crucible_datasets.loaders.tabular import FieldMap"): (
        "packages/crucible-datasets/tests/test_readme.py"
    ),
    ("docs/telemetry.md", 'start_experiment(name="lab", store="postgresql://user:password@host:5432/experiments")'): (
        "on a real server below"
    ),
    ("packages/crucible-telemetry/README.md", 'with start_experiment(name="lab", store="postgresql://user:password@host/experiments") as experiment:'): (
        "on a real server below"
    ),
}  # fmt: skip


def key(page: Path, block: Block) -> tuple[str, str]:
    return page.relative_to(ROOT).as_posix(), block.text.strip().splitlines()[0]


def lines(text: str) -> Iterator[str]:
    """Yield each command of a console block without prompt, comment and `uv run`."""
    for command, _ in commands(text):
        for part in command.partition("  #")[0].split(" && "):
            yield re.sub(r"^uv run (--group \w+ )?(?=\w|\.)", "", part.strip())


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
    shown = {
        line
        for page in PAGES
        for block in blocks(page)
        if block.language == "console"
        for line in lines(block.text)
    }
    assert set(LISTED_COMMANDS) - shown == set()


def test_a_block_that_nothing_takes_care_of_is_found(tmp_path):
    page = tmp_path / "new.md"
    page.write_text("```console\n$ make coffee\n```\n```json\n{}\n```\n```python\n1\n```\n")
    new = blocks(page)
    new_page = DOCS / "design" / "new.md"
    assert [care(new_page, block) for block in new] == [None, None, None]
    assert not cared("uv run pytest --nonsense")


# Python that is shown only


def shown_python() -> list[tuple[Path, Block]]:
    return [(p, b) for p in PAGES for b in blocks(p) if b.language == "python" and b.shown_only]


def names_of(page: Path) -> dict[str, object]:
    """Import what the Python of a page imports."""
    found: dict[str, object] = dict(vars(builtins))
    for block in blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.Import):
                found |= {a.asname or a.name: importlib.import_module(a.name) for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                found |= {a.asname or a.name: getattr(module, a.name) for a in node.names}
    return found


def wrong_calls(source: str, names: dict[str, object]) -> list[str]:
    """Return the calls of a source whose arguments do not fit what they call."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        called = names.get(node.func.id)
        if not callable(called) or called in vars(builtins).values():
            continue
        signature = inspect.signature(called)
        try:
            given = signature.bind(*node.args, **{str(k.arg): k for k in node.keywords})
        except TypeError as error:
            found.append(f"{node.func.id}: {error}")
            continue
        for parameter in signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:  # **options: Unpack[Options]
                (options,) = get_args(parameter.annotation)
                unknown = set(given.arguments.get(parameter.name, {})) - set(
                    get_type_hints(options)
                )
                found += [f"{node.func.id}: no argument {name!r}" for name in sorted(unknown)]
    return found


@pytest.mark.parametrize(
    ("page", "block"), shown_python(), ids=lambda one: getattr(one, "stem", None) or one.line
)
def test_python_that_is_shown_only_calls_what_exists(page, block):
    assert wrong_calls(block.text, names_of(page)) == []


def test_a_call_with_an_argument_that_does_not_exist_is_found():
    from crucible_ensemble import predict_sync

    wrong = wrong_calls('predict_sync("x", modles=["a"])', {"predict_sync": predict_sync})
    assert wrong == ["predict_sync: no argument 'modles'"]
    assert wrong_calls('predict_sync("x", models=["a"])', {"predict_sync": predict_sync}) == []


def test_telemetry_that_needs_a_server_is_executed_on_a_real_one(postgres):
    from crucible_telemetry import PostgresStore, join_experiment, query, start_experiment

    names: dict[str, object] = {
        "start_experiment": start_experiment, "join_experiment": join_experiment, "job": {},
    }  # fmt: skip
    joined = []

    def on_the_server(block: Block) -> list[str]:
        text = re.sub(r'"postgresql://[^"]+"', repr(postgres), block.text)
        return [ast.unparse(statement) for statement in ast.parse(text).body]

    def work(job: dict[str, str]) -> None:  # while the sender goes on
        exec(worker, {**names, "job": job})
        joined.append(job)

    names["send_to_a_worker"] = work
    guide, readme = (b for _, b in shown_python() if "postgresql://" in b.text)
    sender, worker = on_the_server(readme)
    exec(sender, names)
    assert len(joined) == 1
    (start,) = on_the_server(guide)
    eval(start, names).stop()
    with PostgresStore(postgres) as store:
        assert {record.name for record in query.experiments(store)} == {"lab"}


def test_what_a_model_wrote_is_read_as_the_page_says():
    from crucible_causaltrace import parse_llm_output

    found = {key(p, b)[1]: b.text for p in [DOCS / "tracing.md"] for b in blocks(p)}
    said = found['<event type="decision_made" id="d1" depends_on="d1">']
    chain = parse_llm_output(said, "eggs", id="plain")
    issues = [(issue.line, issue.code) for issue in chain.parse_report.issues]
    assert f"plain {issues}" in found["plain [(1, 'self_reference')]"]


# Files


def tables() -> list[tuple[Path, Block]]:
    return [
        (page, block)
        for page in PAGES
        for block in blocks(page)
        if block.language == "toml" and "file" not in block.settings
    ]


@pytest.mark.parametrize(
    ("page", "block"), tables(), ids=lambda one: getattr(one, "stem", None) or one.line
)
def test_a_file_that_a_page_shows_is_an_experiment(page, block, tmp_path, monkeypatch):
    from crucible_ensemble import SimulatedModel, open_model
    from crucible_harness.config import read_experiment

    for name in ("OPENAI", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", "none")  # nobody is asked
    for other in blocks(page):
        if "file" in other.settings:
            (tmp_path / other.settings["file"]).write_text(other.text)
    given = tomllib.loads(block.text)
    head = {"name": 'name = "shown"', "seed": "seed = 1",
            "dataset": 'dataset = { name = "demo-arithmetic", sample_size = 4 }'}  # fmt: skip
    text = "\n".join([*(line for name, line in head.items() if name not in given), block.text])

    def stand_in(name: str) -> object:  # for an adapter that was trained, which no page holds
        trained = name.startswith("adapter ")
        return (
            SimulatedModel(name, accuracy=0.5, answer_of=str, wrong_of=list)
            if trained
            else open_model(name)
        )

    origin = {"toml": text, "directory": str(tmp_path), "overrides": {"items": None, "data": None}}
    experiment, _ = read_experiment(
        text, origin=origin, name=page.name,
        open_model=stand_in if any("adapter" in c for c in given["conditions"]) else None,
    )  # fmt: skip
    assert len(experiment.conditions) >= len(given["conditions"])


def test_the_workflow_is_one_and_runs_what_its_page_runs(tmp_path):
    shown = [(p, b) for p in PAGES for b in blocks(p) if b.language == "yaml"]
    assert shown
    for page, block in shown:
        file = tmp_path / "workflow.yml"
        file.write_text(block.text)
        valid(file, "vendor.github-workflows")
        on_page = {line for b in blocks(page) if b.language == "console" for line in lines(b.text)}
        for job in yaml.safe_load(block.text)["jobs"].values():
            runs = [step["run"] for step in job["steps"] if "run" in step]
            ours = [run.partition("--project crucible ")[2] for run in runs]
            assert {run for run in ours if run} <= on_page


def valid(file: Path, schema: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_citation_file_is_one():
    valid(ROOT / "CITATION.cff", "vendor.citation-file-format")


def test_the_plan_of_the_house_names_its_folders():
    (tree,) = (b for b in blocks(DOCS / "design" / "README.md") if b.text.startswith("packages/"))
    named = re.findall(r"^  (\S+)/ ", tree.text, re.M)
    assert sorted(named) == sorted(path.name for path in (ROOT / "packages").iterdir())


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_path_that_a_page_names_exists(page):
    if page.name == "CHANGELOG.md":  # what was may be gone
        return
    places = (
        r"(?:scripts|examples|integration_tests|docs|packages)/[\w./-]+\.(?:py|toml|md|json|rst)"
    )
    for path in re.findall(rf"(?<![\w/.]){places}", page.read_text(encoding="utf-8")):
        if "NAME" not in path:
            assert (ROOT / path).is_file(), path


# Commands


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
    shown = {
        line
        for page in PAGES
        for block in blocks(page)
        if block.language == "console"
        for line in lines(block.text)
        if line.startswith("uv pip install ")
    }
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
