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
    done = crucible("run", taped, "--yes", "--directory", tmp_path)
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
    first = json.loads(crucible("run", taped, "--yes", "--directory", tmp_path, "--json").stdout)
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
    done = crucible("run", taped, "--yes", "--directory", tmp_path, "--format", "json")
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
        "--yes",
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
    for command in (
        "quickstart", "estimate", "plan", "preregister", "run", "resume", "status", "report", "verify",
        "compare", "cite", "datasets", "models", "doctor",
    ):  # fmt: skip
        assert f"  {command} " in done.stdout


@pytest.fixture(scope="module")
def taped_run(taped, tmp_path_factory) -> Path:
    """Return the folder of a finished run, for commands that only read."""
    directory = tmp_path_factory.mktemp("runs")
    done = crucible("run", taped, "--yes", "--directory", directory, "--json", "--format", "json")
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["path"])


@pytest.fixture(scope="module")
def unpriced(taped) -> Path:
    """Return the same experiment on a server elsewhere, whose prices nobody knows."""
    file = taped.with_name("unpriced.toml")
    file.write_text(
        CASSETTE.replace('cassette = "tape.jsonl"', 'base_url = "https://models.example/v1"')
        .replace('cassette_mode = "replay"', "")
    )  # fmt: skip
    return file


def test_an_unknown_cost_needs_a_word_where_nobody_can_be_asked(unpriced, tmp_path):
    done = crucible("run", unpriced, "--directory", tmp_path)
    assert done.returncode == 2
    assert "18 calls at an unknown cost" in done.stderr
    assert "--yes or --max-cost must be given" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_budget_in_the_file_does_not_make_an_unknown_cost_known(unpriced, tmp_path):
    file = unpriced.with_name("capped.toml")
    file.write_text(unpriced.read_text() + "\n[budget]\ntotal_usd = 0.5\n")
    done = crucible("run", file, "--directory", tmp_path)
    assert done.returncode == 2
    assert "assume_price" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_most_cost_is_a_budget_and_needs_known_prices(taped, tmp_path):
    done = crucible("run", taped, "--max-cost", "2", "--directory", tmp_path)
    assert done.returncode == 2
    assert "assume_price" in done.stderr
    priced = taped.with_name("priced.toml")
    priced.write_text(
        CASSETTE + '\n[budget]\ntotal_usd = 9.0\nassume_price = { "openai-compatible" = 0.01 }\n'
    )
    # The first call reserves a cent, and half a cent is there.
    done = crucible(
        "run", priced, "--max-cost", "0.005", "--directory", tmp_path, "--json", "--format", "json"
    )
    assert done.returncode == 3, done.stderr
    result = json.loads(done.stdout)
    assert (result["status"], result["cost"]["budget_usd"]) == ("budget", 0.005)
    assert result["calls_sent"] == 0


def test_what_a_run_costs_is_said_before_it(unpriced, taped, tmp_path):
    replayed = crucible("estimate", taped, "--no-pilot", COLUMNS="80")
    assert "cost   $0.00 for the shortest answers, $0.00 for the longest" in replayed.stdout
    done = crucible("estimate", unpriced, "--no-pilot", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "From the price book, for 6 items; nobody was asked:\n"
        "cost   unknown for the shortest answers, unknown for the longest\n"
        "calls  18, equal ones once\n"
        "condition  calls alone  cost alone\n"
        "single               6     unknown\n"
        "vote-3              18     unknown\n"
        "No price is known of openai-compatible/taped.\n"
    )
    done = crucible("estimate", taped, "--pilot", "2", "--yes", "--directory", tmp_path, "--json")
    found = json.loads(done.stdout)
    assert (found["basis"], found["pilot_items"], found["calls"]) == ("pilot", 2, 18)
    (folder,) = tmp_path.iterdir()  # the pilot is part of the run
    assert json.loads(crucible("status", folder, "--json").stdout)["finished"] == 4


def test_a_hypothesis_is_planned_from_shares_or_a_run(taped, taped_run):
    words = ["plan", taped, "--hypothesis", "h1"]
    done = crucible(*words, "--treatment-only", ".06", "--control-only", ".01")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "h1: 199 items tell a true difference of 0.05 in accuracy from zero with 80% power "
        "(two-sided, alpha 0.05). The data set's 6 items reach "
    )
    done = crucible(*words, "--pilot", taped_run, "--json")
    assert json.loads(done.stdout)["inputs"]["pilot_items"] == 6
    done = crucible(*words)
    assert done.returncode == 2
    assert "--pilot" in done.stderr


def test_a_registered_experiment_is_kept_and_another_refused(taped, tmp_path):
    plan = tmp_path / "plan.json"
    done = crucible("preregister", taped, "--output", plan)
    assert done.returncode == 0, done.stderr
    assert f"--prereg {plan}" in done.stdout
    other = taped.with_name("other.toml")
    other.write_text(CASSETTE.replace("sesoi = 0.05", "sesoi = 0.01"))
    words = [
        "--yes",
        "--prereg",
        plan,
        "--directory",
        tmp_path / "runs",
        "--format",
        "md",
        "--json",
    ]
    refused = crucible("run", other, *words)
    assert refused.returncode == 2
    assert "hypotheses.h1.sesoi" in refused.stderr
    kept = crucible("run", taped, *words)
    assert kept.returncode == 0, kept.stderr
    assert "Preregistered" in Path(json.loads(kept.stdout)["reports"]["markdown"]).read_text()


def test_the_status_of_a_run_is_a_line_and_a_table(taped_run):
    done = crucible("status", taped_run, "--watch", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    head, *table = done.stdout.splitlines()
    assert head.startswith("complete: 12 of 12 cells (100%), ")
    assert table == [
        "condition  finished  planned  failed",
        "single            6        6       0",
        "vote-3            6        6       0",
    ]


def test_verification_names_what_is_wrong_and_exits_with_five(taped_run, tmp_path):
    import shutil

    done = crucible("verify", taped_run)
    assert done.returncode == 0, done.stdout
    assert "replay: 12 cells executed again" in done.stdout
    assert done.stdout.splitlines()[-1] == "Nothing is wrong."
    copy = shutil.copytree(taped_run, tmp_path / taped_run.name)
    file = Path(copy) / "analysis.json"
    file.write_text(file.read_text().replace("0.", "1.", 1))
    done = crucible("verify", copy, "--no-replay")
    assert done.returncode == 5
    assert "WRONG   analysis: analysis.json is not what the journal gives" in done.stdout
    done = crucible("verify", copy, "--no-replay", "--json")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (5, False)


def test_runs_are_pooled_and_cited(taped, taped_run, tmp_path):
    other = taped.with_name("again.toml")
    other.write_text(CASSETTE.replace('name = "taped"', 'name = "again"'))
    done = crucible("run", other, "--yes", "--directory", tmp_path, "--json", "--format", "json")
    second = json.loads(done.stdout)["path"]
    done = crucible(
        "compare", taped_run, second, "--hypothesis", "h1", "--output", tmp_path / "pooled",
        "--format", "md", "--json",
    )  # fmt: skip
    if done.returncode == 0:
        assert json.loads(done.stdout)["pooled"]["k"] == 2
    else:
        assert "no variance" in done.stderr  # so few items may all agree
        assert done.returncode == 2
    assert crucible("compare", taped_run, "--hypothesis", "h1").returncode == 2
    cited = crucible("cite", taped_run, "--style", "apa")
    assert cited.stdout.startswith("taped (")
    assert json.loads(crucible("cite", taped_run, "--json").stdout)["style"] == "bibtex"
    assert crucible("cite", taped_run, "--style", "chicago").returncode == 2


def test_the_kit_is_listed_without_values_of_keys():
    listed = json.loads(crucible("models", "--json", OPENAI_API_KEY="sk-secret").stdout)
    assert listed["keys"]["OPENAI_API_KEY"] is True
    assert "sk-secret" not in json.dumps(listed)
    assert listed["aliases"]["smollm2"] == "local/smollm2"
    assert listed["prices_as_of"]
    shown = crucible("models", OPENAI_API_KEY="sk-secret", COLUMNS="60").stdout
    assert "sk-secret" not in shown
    assert max(map(len, shown.splitlines())) <= 60
    names = [card["name"] for card in json.loads(crucible("datasets", "--json").stdout)]
    assert {"demo-arithmetic", "gsm8k"} <= set(names)
    assert "gsm8k" in crucible("datasets").stdout


HEAVY = (
    "scipy",
    "pandas",
    "pyarrow",
    "altair",
    "torch",
    "transformers",
    "datasets",
    "ray",
    "typer",
)


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import crucible_harness", (*HEAVY, "numpy", "pydantic", "crucible_ensemble", "httpx")),
        ("from crucible_harness import Experiment, report, run_sync", (*HEAVY, "numpy", "httpx")),
    ],
)
def test_importing_the_package_loads_nothing_heavy(code, unwanted):
    program = f"import sys\n{code}\nprint(*sorted(set({unwanted!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_a_module_does_not_hide_the_function_of_its_name():
    program = (
        "import crucible_harness as harness\n"
        "import crucible_harness.compare, crucible_harness.plan, crucible_harness.report.html\n"
        "print(*(type(getattr(harness, name)).__name__ for name in harness.__all__))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= {"function", "type"}
