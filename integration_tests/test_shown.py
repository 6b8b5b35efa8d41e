"""Python and files that a page shows: they call what exists, and are what they claim to be."""

import ast
import builtins
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml
from pages import DOCS, PAGES, ROOT, Block, blocks, key, lines


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
