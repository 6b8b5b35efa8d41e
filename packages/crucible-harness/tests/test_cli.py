"""The command, as a process: what it prints, where, and how it exits."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

CASSETTE = """
name = "taped"
seed = 1
metrics = ["accuracy", "latency_s:p95", "cost_usd"]
dataset = { name = "demo-arithmetic", sample_size = 6 }
[models.taped]
model = "openai-compatible/taped"
cassette = "tape.jsonl"
cassette_mode = "replay"
[[conditions]]
name = "single"
model = "taped"
temperature = 0.7
[[conditions]]
name = "vote-3"
ensemble = { models = ["taped"], samples = 3, normalise = "numeric" }
temperature = 0.7
[[hypotheses]]
id = "h1"
metric = "accuracy"
treatment = "vote-3"
control = "single"
sesoi = 0.05
"""


def crucible(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from crucible_harness.cli import main; main()", *map(str, words)],
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100", **environment},
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def taped(tmp_path_factory) -> Path:
    """Return an experiment whose model is a cassette, recorded from a simulated model."""
    import anyio
    from worlds import simulated

    from crucible_ensemble import CassetteModel
    from crucible_ensemble.seeds import derive, sample_seed
    from crucible_harness import load_experiment

    folder = tmp_path_factory.mktemp("taped")
    file = folder / "exp.toml"
    file.write_text(CASSETTE)
    (folder / "tape.jsonl").write_text('{"schema": "crucible-ensemble/cassette/1", "model": "x"}\n')
    experiment, _ = load_experiment(file)
    (folder / "tape.jsonl").unlink()
    tape = CassetteModel(simulated(latency_s=0.001), folder / "tape.jsonl", mode="record")

    async def record() -> None:
        for item in experiment.dataset:
            for sample in range(3):
                seed = sample_seed(derive(1, item.id, 0), sample)
                await tape.generate(
                    [{"role": "user", "content": item.input}], temperature=0.7, seed=seed
                )

    from worlds import right, wrong

    tape._model._answer_of = lambda text: right(text) if "+" in text else "1"
    tape._model._wrong_of = wrong
    anyio.run(record)
    return file


def test_a_run_ends_with_a_verdict_and_five_reports(taped, tmp_path):
    done = crucible("run", taped, "--directory", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "h1: " in done.stdout
    assert "vote-3 against single" in done.stdout
    assert "12 of 12 cells finished; 18 calls sent now" in done.stdout
    (folder,) = tmp_path.iterdir()
    written = {path.name for path in folder.iterdir()}
    assert written >= {
        "manifest.json", "design.toml", "design.json", "schedule.csv", "items.jsonl", "journal.sqlite",
        "results.csv", "analysis.json", "dead_letters.jsonl", "telemetry.sqlite", "trace.html",
        "trace.json", "report.md", "report.tex", "report.html", "report.ipynb", "report.json",
    }  # fmt: skip
    assert "Traceback" not in done.stderr


def test_resume_and_report_read_the_folder(taped, tmp_path):
    first = json.loads(crucible("run", taped, "--directory", tmp_path, "--json").stdout)
    assert (first["status"], first["calls_sent"]) == ("complete", 18)
    assert set(first["reports"]) == {"markdown", "latex", "html", "jupyter", "json"}
    again = crucible("resume", first["path"], "--json", "--format", "md")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["calls_sent"] == 0
    out = tmp_path / "elsewhere"
    files = json.loads(
        crucible("report", first["path"], "--format", "md,json", "--output", out, "--json").stdout
    )
    assert Path(files["markdown"]).read_bytes() == (Path(first["path"]) / "report.md").read_bytes()


def test_without_a_terminal_progress_is_lines_on_standard_error(taped, tmp_path):
    done = crucible("run", taped, "--directory", tmp_path, "--format", "json")
    assert "12 of 12 cells (100%)" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "missing.toml"], "missing.toml"),
        (["run", "{taped}", "--format", "pdf"], "pdf"),
        (["resume", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["run", "{unknown-provider}"], "openia"),
        (["run", "{unknown-key}"], "did you mean `seed`?"),
        (["run", "{not-json}"], "mine.jsonl, line 2"),
        (["run", "{no-file}"], "gone.jsonl"),
        (["run", "{no-tape}"], "tape-that-is-not-there"),
        (["quickstart", "--items", "1"], "--items"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_input_is_a_message_and_exit_code_two(taped, tmp_path, words, says):
    (tmp_path / "mine.jsonl").write_text('{"input": "1+1?", "expected": "2"}\nnot JSON\n')
    demo = '{ name = "demo-arithmetic", sample_size = 6 }'
    texts = {
        "unknown-provider": CASSETTE.replace('model = "openai-compatible/taped"', 'model = "openia/x"')
        .replace('cassette = "tape.jsonl"', "").replace('cassette_mode = "replay"', ""),
        "unknown-key": CASSETTE.replace("seed", "sead"),
        "not-json": CASSETTE.replace(demo, '{ name = "mine", path = "mine.jsonl" }'),
        "no-file": CASSETTE.replace(demo, '{ name = "mine", path = "gone.jsonl" }'),
        "no-tape": CASSETTE.replace("tape.jsonl", "tape-that-is-not-there.jsonl"),
    }  # fmt: skip
    places = {"taped": str(taped)}
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
        places[name] = str(tmp_path / f"{name}.toml")
    filled = [places.get(word.strip("{}"), word) if "{" in word else word for word in words]
    done = crucible(*filled)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_server_is_named_and_the_exit_code_is_one(tmp_path):
    file = tmp_path / "exp.toml"
    file.write_text(
        CASSETTE.replace('cassette = "tape.jsonl"', 'base_url = "http://127.0.0.1:9/v1"').replace(
            'cassette_mode = "replay"', ""
        )
    )
    done = crucible("run", file, "--directory", tmp_path / "runs")
    assert done.returncode == 1, done.stderr
    assert "http://127.0.0.1:9/v1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_key_is_named_and_the_exit_code_is_six(tmp_path):
    file = tmp_path / "exp.toml"
    text = CASSETTE.replace("openai-compatible/taped", "openai/gpt-4o-mini")
    file.write_text(
        text.replace('cassette = "tape.jsonl"', "").replace('cassette_mode = "replay"', "")
    )
    done = crucible("run", file, "--directory", tmp_path / "runs", OPENAI_API_KEY="")
    assert done.returncode == 6, done.stderr
    assert "OPENAI_API_KEY" in done.stderr


def test_a_full_disk_ends_with_a_message_and_nothing_that_was_answered_is_lost(taped, tmp_path):
    # A limit on file size is what a full disk looks like to SQLite; the reserve is smaller.
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({200000}, {resource.RLIM_INFINITY}))\n"
        "import crucible_harness.journal_sqlite as journal\n"
        "journal._RESERVE_BYTES = 10_000\n"
        "from crucible_harness.cli import main; main()\n"
    )
    words = [
        "run",
        str(taped),
        "--directory",
        str(tmp_path),
        "--concurrency",
        "1",
        "--format",
        "json",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True, text=True, timeout=120, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "journal.sqlite" in done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    again = crucible("resume", folder, "--json")
    assert again.returncode == 0, again.stderr
    resumed = json.loads(again.stdout)
    assert resumed["status"] == "complete"
    assert resumed["calls_sent"] < 18
    assert resumed["possibly_billed"] == []


def test_help_names_every_command():
    done = crucible("--help")
    assert done.returncode == 0
    for command in ("quickstart", "run", "resume", "report", "doctor"):
        assert command in done.stdout


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, crucible_harness\n"
        "heavy = {'scipy', 'pandas', 'pyarrow', 'altair', 'torch', 'transformers', 'datasets', 'ray', 'typer'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
