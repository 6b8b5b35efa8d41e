"""The command on a tape of three providers, every line that the pages show, every `--json`."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from worlds import simulated

from crucible_ensemble import CassetteModel
from crucible_harness import run_sync
from crucible_harness.cli.app import app
from crucible_harness.config import read_experiment
from crucible_harness.options import RunOptions

HERE = Path(__file__).parent
# These are executed as a whole, output and all, by integration_tests/test_docs.py.
WHOLE = ("start", "experiment-file")
PAGES = [
    HERE.parent / "README.md",
    *(page for page in sorted((HERE.parents[2] / "docs").glob("*.md")) if page.stem not in WHOLE),
]

# The specification's example. Its tapes are recorded from simulated models: no provider was asked.
FILE = """
name = "ensemble_vs_single"
seed = 42
repeats = 1
dataset = { name = "demo-arithmetic", sample_size = 12 }
metrics = ["accuracy", "latency_s:p95", "cost_usd"]
[prompt]
template = "Problem: {input}\\n\\nSolution:"
[models.gpt]
model = "openai/gpt-4o-mini"
cassette = "gpt.jsonl"
cassette_mode = "replay"
[models.claude]
model = "anthropic/claude-haiku-4-5"
cassette = "claude.jsonl"
cassette_mode = "replay"
[models.gemini]
model = "gemini/gemini-2.5-flash"
cassette = "gemini.jsonl"
cassette_mode = "replay"
[[conditions]]
name = "single"
model = "gpt"
[[conditions]]
name = "vote-3"
ensemble = { models = ["gpt", "claude", "gemini"], vote = "majority", execution = "parallel", normalise = "numeric" }
hedge = { delay = "p95", budget = 0.05 }
[[hypotheses]]
id = "h1"
metric = "accuracy"
treatment = "vote-3"
control = "single"
direction = "greater"
sesoi = 0.03
[budget]
total_usd = 5.0
[limits.openai]
requests_per_minute = 500
"""
TAPED = {"gpt": "openai/gpt-4o-mini", "claude": "anthropic/claude-haiku-4-5",
         "gemini": "gemini/gemini-2.5-flash"}  # fmt: skip


def solved(text: str) -> str:
    a, sign, b = re.search(r"(\d+) ([+-]) (\d+)", text).groups()
    return str(int(a) + int(b) if sign == "+" else int(a) - int(b))


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """Return a folder with the experiment, its tapes, and logs to import."""
    folder = tmp_path_factory.mktemp("desk")
    overrides = {"items": None, "data": None}
    origin = {"toml": FILE, "directory": str(folder), "overrides": overrides}

    def recorder(name: str) -> CassetteModel:
        model = simulated(name, accuracy=0.7, seed=sorted(TAPED).index(name))
        model._answer_of, model._wrong_of = solved, lambda text: ["1", "2", "3"]
        return CassetteModel(model, folder / f"{name}.jsonl", mode="record", name=TAPED[name])

    experiment, _ = read_experiment(FILE, origin=origin, name="exp.toml", open_model=recorder)
    recording = RunOptions(directory=folder / "recording", telemetry=False, progress="none")
    assert run_sync(experiment, options=recording).failed == 0
    (folder / "exp.toml").write_text(FILE)
    shutil.copytree(HERE / "logs" / "inspect", folder / "logs")
    (folder / "results").mkdir()
    for name, log in (("model-a", "plain"), ("model-b", "hinted")):
        shutil.copytree(HERE / "logs" / "lm_eval" / log, folder / "results" / name)
    rows = [f"q{i},{c},{float(i % 10 < n)}" for c, n in (("old", 6), ("new", 7)) for i in range(50)]
    (folder / "scores.csv").write_text("item,condition,score\n" + "\n".join(rows) + "\n")
    return folder


@pytest.fixture
def at_desk(desk, monkeypatch) -> Path:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    return desk


def crucible(*words: object, code: int = 0) -> str:
    """Run the command in this process; return its standard output."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, (words, done.stderr, done.stdout, done.exception)
    return done.stdout


@pytest.fixture(scope="module")
def runs(desk) -> tuple[Path, Path]:
    """Return two finished runs of the same question."""
    (desk / "twice.toml").write_text(FILE.replace("ensemble_vs_single", "twice"))
    return tuple(
        Path(json.loads(crucible("run", desk / file, "--yes", "--directory", desk / "runs",
                                 "--json", "--format", "json"))["path"])
        for file in ("exp.toml", "twice.toml")
    )  # fmt: skip


def test_a_vote_of_three_providers_is_run_from_its_tapes(at_desk):
    shown = crucible("run", "exp.toml", "--yes", "--directory", "three", "--format", "md")
    (folder,) = (at_desk / "three").iterdir()
    assert "h1: " in shown
    assert "24 of 24 cells finished" in shown
    manifest = json.loads((folder / "manifest.json").read_text())
    asked = {m["model"] for c in manifest["models"].values() for m in leaves(c)}
    assert asked == set(TAPED.values())
    rows = (folder / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + 24
    page = (folder / "report.md").read_text()
    assert "Simulated" in page  # what was on the tapes is said


def leaves(identity: dict[str, Any]) -> list[dict[str, Any]]:
    members = identity.get("members")
    return [identity] if not members else [leaf for m in members for leaf in leaves(m)]


PLACES = {"vote-or-not-1234abcd": 0, "one-1234abcd": 0, "two-5678cdef": 1}
# The real model: integration_tests/test_real_model.py runs these, test_study_command.py studies.
REAL = ("quickstart", "run examples/gsm8k.toml", "run examples/openai_compatible.toml", "study ")


def shown_lines() -> list[str]:
    """Return every line with the command in a console block of the pages."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), flags=re.DOTALL):
            for line in block.splitlines():
                said = re.match(r"\$ (?:uv run )?crucible (.*?)(?: {2,}#.*)?$", line)
                if said:
                    found.append(said[1].strip())
    return list(dict.fromkeys(found))


def test_the_pages_show_the_command():
    lines = shown_lines()
    assert len(lines) >= 12
    assert {line.split()[0] for line in lines} >= {
        "run", "estimate", "plan", "preregister", "status", "verify", "report", "compare", "cite",
        "import", "quickstart",
    }  # fmt: skip


def test_every_line_that_the_pages_show_works(at_desk, runs):
    (at_desk / "preregistration.json").unlink(missing_ok=True)
    for line in shown_lines():
        if line.startswith(REAL):
            continue
        words = [
            str(runs[PLACES[word.removeprefix("runs/")]]) if word.startswith("runs/") else word
            for word in shlex.split(line)
        ]
        if words[0] == "run":  # the run of the fixture was begun before the plan was registered
            words += ["--directory", "kept"]
        if words[0] in ("run", "import"):  # the other formats have tests of their own
            words += ["--format", "md"]
        assert crucible(*words), line


# What a person sees, 72 columns wide. Numbers are digits of 0 here: what they are is tested elsewhere.
SCREENS = (
    "estimate exp.toml --no-pilot", "plan exp.toml --hypothesis h1 --pilot RUN", "status RUN",
    "verify RUN", "compare RUN OTHER --hypothesis h1", "cite RUN --style apa",
    "resume RUN --format md", "import scores.csv --format md", "doctor --help",
)  # fmt: skip


def test_what_a_person_sees_is_what_was_drawn(at_desk, runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setenv("TERMINAL_WIDTH", "72")  # of typer's help
    places = {"RUN": str(runs[0]), "OTHER": str(runs[1])}
    seen = []
    for line in SCREENS:
        shown = crucible(*[places.get(word, word) for word in shlex.split(line)])
        seen.append(f"$ crucible {line}\n{drawn(shown, at_desk)}")
    assert "\n".join(seen) == (HERE / "screens.txt").read_text(encoding="utf-8")


def drawn(shown: str, folder: Path) -> str:
    """Return what was shown without places, digests and numbers."""
    shown = re.sub(rf"(?:{re.escape(str(folder))}|runs)/\S+", "PLACE", shown)
    shown = re.sub(r"\b(?=\w*\d)[0-9a-f]{8,64}\b", "DIGEST", shown)
    lines = re.sub(r"\d+", "0", shown).splitlines()
    # Whether a second lay between two runs, and which reports other tests wrote, is not asked here.
    lines = [line for line in lines if not re.match(r"begun: |ok +report\.", line)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


# Keys that scripts may rely on.
SCHEMAS: dict[str, tuple[str, ...]] = {
    "estimate exp.toml --no-pilot": ("calls", "cost_high", "cost_low", "per_condition", "schema"),
    "estimate exp.toml --pilot 2 --yes --directory pilot": ("basis", "pilot_items", "wall_s"),
    "plan exp.toml --hypothesis h1 --treatment-only .06 --control-only .01": (
        "n", "power", "detectable_effect", "sentence", "schema",
    ),
    "preregister exp.toml --output plan.json": ("path", "digest", "design_digest", "schema"),
    "run exp.toml --yes --format json": (
        "status", "path", "planned", "finished", "failed", "not_run", "surplus", "calls_sent",
        "possibly_billed", "cost", "wall_s", "warnings", "reports", "schema",
    ),
    "resume RUN --format json": ("status", "calls_sent", "schema"),
    "status RUN": ("status", "planned", "finished", "per_condition", "rate_per_s", "eta_s",
                   "in_flight", "last_error", "schema"),
    "report RUN --format json": ("json",),
    "verify RUN": ("ok", "checks", "schema"),
    "compare RUN OTHER --hypothesis h1": ("pooled", "studies", "reports", "schema"),
    "cite RUN": ("style", "citation"),
    "models": ("aliases", "prices", "prices_as_of", "keys"),
    "import scores.csv --format json": ("path", "conditions", "items", "hypotheses", "reports"),
}  # fmt: skip
LISTS = {"datasets": ("name", "task", "items", "license", "available"),
         "doctor": ("name", "state", "detail"),
         "studies": ("id", "title", "question", "needs", "shows")}  # fmt: skip


def test_json_of_every_command_has_its_keys(at_desk, runs):
    places = {"RUN": str(runs[0]), "OTHER": str(runs[1])}
    asked = set()
    for line, keys in SCHEMAS.items():
        words = [places.get(word, word) for word in shlex.split(line)]
        asked.add(words[0])
        (text,) = crucible(*words, "--json").splitlines()
        found = json.loads(text)
        assert set(keys) <= set(found), (line, set(keys) - set(found))
        if "schema" in found:
            assert re.fullmatch(r"crucible-harness/[a-z-]+/1", found["schema"]), line
    for command, keys in LISTS.items():
        asked.add(command)
        (text,) = crucible(command, "--json").splitlines()
        assert all(set(keys) <= set(one) for one in json.loads(text))
    # `quickstart` prints what `run` prints; the real model is asked in integration_tests.
    commands = {c.name or c.callback.__name__ for c in app.registered_commands}
    assert asked | {"quickstart"} >= commands - {"study"}
