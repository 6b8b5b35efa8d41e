"""Real weights, a real server, real benchmark items: SmolLM2-135M in llama.cpp on this machine."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"
FILES = ("results.csv", "results.parquet", "analysis.json", "report.md", "report.json", "report.ipynb",
         "report.tex", "report.html")  # fmt: skip


def crucible(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shutil.which("crucible", path=str(Path(sys.executable).parent)), *map(str, words)],
        env={**os.environ, "NO_COLOR": "1", **environment}, capture_output=True, text=True, timeout=540,
    )  # fmt: skip


def test_quickstart_is_a_real_experiment(tmp_path):
    done = crucible("quickstart", "--items", "4", "--directory", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["status"], result["calls_sent"], result["failed"]) == ("complete", 24, 0)
    folder = Path(result["path"])
    for name in (
        *FILES,
        "manifest.json",
        "journal.sqlite",
        "telemetry.sqlite",
        "trace.html",
        "trace.json",
    ):
        assert (folder / name).stat().st_size > 0, name
    analysis = json.loads((folder / "analysis.json").read_text())
    assert {c: s["calls"] for c, s in analysis["conditions"].items()} == {
        "greedy": 4, "single": 4, "vote-5": 20,
    }  # fmt: skip
    assert [h["hypothesis"]["id"] for h in analysis["hypotheses"]] == ["h1", "h2"]
    assert all(s["cost_usd"] == 0.0 for s in analysis["conditions"].values())
    events = json.loads((folder / "trace.json").read_text())["events"]
    kinds = [event["type"] for event in events]
    assert kinds.count("system:cell") == 12
    assert kinds.count("decision_made") == 4  # the votes
    # The single answer and the first of the five are one call.
    assert kinds.count("system:model_call") == 24
    again = crucible("quickstart", "--items", "4", "--directory", tmp_path, "--json")
    assert json.loads(again.stdout)["calls_sent"] == 0
    verified = crucible("verify", folder, "--json")
    assert verified.returncode == 0, verified.stdout
    checked = {check["name"]: check["ok"] for check in json.loads(verified.stdout)["checks"]}
    assert {"journal", "analysis", "replay", "report.html", "report.ipynb"} <= set(checked)
    assert all(checked.values())  # nothing was left unchecked


@contextmanager
def served():
    """Serve the model on a free port, as the example says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "serve_smollm2.py"), "--port", str(port)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert "serving" in server.stdout.readline()
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        server.stdout.close()


def test_hedged_members_over_http(tmp_path):
    with served() as port:
        text = (EXAMPLES / "openai_compatible.toml").read_text().replace("8765", str(port))
        file = tmp_path / "exp.toml"
        file.write_text(text)
        done = crucible("run", file, "--items", "4", "--directory", tmp_path / "runs", "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert (result["status"], result["failed"]) == ("complete", 0)
        events = json.loads((Path(result["path"]) / "trace.json").read_text())["events"]
        assert sum(event["type"] == "system:hedge" for event in events) == 12


GSM8K = """
name = "gsm8k-hedged"
seed = 1
metrics = ["accuracy", "latency_s:p95", "calls"]
dataset = {{ name = "gsm8k", split = "test", path = "{data}", limit = 20 }}
share_responses = false
[prompt]
template = "Problem: {{input}}\\n\\nThe answer, a number and nothing else:"
[models.server]
model = "openai-compatible/smollm2"
base_url = "http://127.0.0.1:{port}/v1"
timeout_s = 60.0
[[conditions]]
name = "plain"
model = "server"
max_tokens = 8
[[conditions]]
name = "hedged"
model = "server"
hedge = {{ delay = 0.05, budget = 0.5 }}
max_tokens = 8
[[hypotheses]]
id = "h1"
metric = "latency_s:p95"
treatment = "hedged"
control = "plain"
direction = "less"
sesoi = 0.1
[limits.openai-compatible]
concurrency = 2
[options]
timeout_s = 60.0
"""


def test_twenty_items_of_gsm8k_on_a_server_with_a_hedged_condition(tmp_path, benchmark_data):
    data = benchmark_data / "gsm8k" / "test.jsonl"
    file = tmp_path / "exp.toml"
    with served() as port:
        file.write_text(GSM8K.format(data=data, port=port))
        done = crucible("run", file, "--directory", tmp_path / "runs", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["status"], result["finished"], result["failed"]) == ("complete", 40, 0)
    folder = Path(result["path"])
    analysis = json.loads((folder / "analysis.json").read_text())
    assert analysis["items_analysed"] == 20
    raced = analysis["hedging"]["hedged"]
    # A prompt alone takes the model longer than the delay; the budget allows 20 / 2 and a burst.
    assert (raced["requests"], raced["elsewhere"]) == (20, 0)
    assert 1 <= raced["backups"] <= 20
    assert result["calls_sent"] == 40 + raced["backups"]
    verified = crucible("verify", folder, "--json")
    assert verified.returncode == 0, verified.stdout


def test_gsm8k_killed_and_resumed_equals_an_uninterrupted_replay_of_the_same_cassette(
    tmp_path, benchmark_data
):
    example = (EXAMPLES / "gsm8k.toml").read_text()
    taped = example.replace(
        'model = "local/smollm2"\nparallel = 2',
        'model = "local/smollm2"\nparallel = 2\ncassette = "tape.jsonl"\ncassette_mode = "auto"',
    ).replace("max_tokens = 160", "max_tokens = 48")
    assert taped.count("cassette") == 2
    file = tmp_path / "gsm8k.toml"
    file.write_text(taped)
    words = ["--items", "4", "--data", str(benchmark_data / "gsm8k" / "test.jsonl")]
    command = [
        shutil.which("crucible", path=str(Path(sys.executable).parent)),
        "run",
        str(file),
        *words,
    ]
    running = subprocess.Popen(
        [*command, "--directory", str(tmp_path / "killed")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in running.stderr:  # it prints a line for each finished cell
        if line.startswith("3 of 8"):
            break
    running.kill()
    running.communicate()
    (folder,) = (tmp_path / "killed").iterdir()
    before = len((tmp_path / "tape.jsonl").read_text().splitlines()) - 1
    assert 0 < before < 12
    resumed = crucible("resume", folder, "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["status"] == "complete"
    tape = (tmp_path / "tape.jsonl").read_text().splitlines()[1:]
    assert len(tape) == len({json.loads(line)["key"] for line in tape}) == 12  # nothing asked twice

    file.write_text(taped.replace('"auto"', '"replay"'))
    whole = crucible("run", file, *words, "--directory", tmp_path / "whole", "--json")
    assert whole.returncode == 0, whole.stderr
    other = Path(json.loads(whole.stdout)["path"])
    assert other.name == folder.name
    for name in FILES:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


def test_doctor_finds_everything_here():
    done = crucible("doctor", "--json")
    assert done.returncode == 0, done.stdout
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["local model"]["state"] == "ok"
    assert "Paris" in checks["local model"]["detail"]
