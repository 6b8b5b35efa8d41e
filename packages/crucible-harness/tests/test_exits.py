"""How the command ends when a run does not: too many failures, an interrupt; what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner
from worlds import simulated, sums

from crucible_harness import Condition, Experiment, Hypothesis
from crucible_harness.cli.app import app

FILE = """
name = "piped"
seed = 1
dataset = { name = "demo-arithmetic", limit = 40 }
[[conditions]]
name = "pipe"
call = "pipe:answer"
[options]
concurrency = 1
trace = false
"""
FAILING = """
def answer(item):
    raise RuntimeError("the pipeline is down")
"""
# Presses Ctrl-C in the middle of its twelfth answer: at 30 % of forty.
INTERRUPTED = """
import os, signal
from pathlib import Path

LOG = Path(__file__).with_name("log")

def answer(item):
    with LOG.open("a") as log:
        print(item.id, file=log)
    if len(LOG.read_text().splitlines()) == 12:
        os.kill(os.getpid(), signal.SIGINT)
    return "1"
"""


@pytest.fixture
def piped(tmp_path) -> Path:
    (tmp_path / "exp.toml").write_text(FILE)
    return tmp_path


def test_a_log_that_cannot_be_read_is_bad_input(tmp_path):
    (tmp_path / "cut.eval").write_bytes(b"PK")
    done = CliRunner().invoke(app, ["import", str(tmp_path / "cut.eval")])
    assert done.exit_code == 2
    assert "truncated or no Inspect log" in done.stderr


def test_too_many_failures_exit_with_four_and_can_be_resumed(piped, monkeypatch):
    monkeypatch.chdir(piped)
    (piped / "pipe.py").write_text(FAILING)
    done = CliRunner().invoke(app, ["run", "exp.toml", "--yes", "--format", "json"])
    assert done.exit_code == 4, done.stderr
    assert "too many calls failed" in done.stdout
    (folder,) = (piped / "runs").iterdir()
    assert f"crucible resume {Path('runs') / folder.name}" in done.stdout.replace("\n", "")
    letters = (folder / "dead_letters.jsonl").read_text().splitlines()
    assert 20 <= len(letters) < 40  # at least twenty cells, and not the whole run
    assert json.loads(letters[0])["error_class"] == "RuntimeError"


def test_an_interrupt_at_a_third_exits_with_130_and_resume_finishes(piped):
    (piped / "pipe.py").write_text(INTERRUPTED)

    def crucible(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from crucible_harness.cli import main; main()", *words],
            cwd=piped, env={**os.environ, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    done = crucible("run", "exp.toml", "--yes", "--json", "--format", "json")
    assert done.returncode == 130, done.stderr
    stopped = json.loads(done.stdout)
    # The answer in work is kept; the next may have been sent before the signal was seen.
    assert (stopped["status"], stopped["finished"] in (12, 13)) == ("interrupted", True)
    done = crucible("resume", stopped["path"], "--json", "--format", "json")
    assert done.returncode == 0, done.stderr
    finished = json.loads(done.stdout)
    assert (finished["status"], finished["calls_sent"]) == ("complete", 40 - stopped["finished"])
    assert finished["possibly_billed"] == []
    asked = (piped / "log").read_text().splitlines()
    assert len(asked) == len(set(asked)) == 40


H1 = {"id": "h1", "metric": "accuracy", "treatment": "a", "control": "b", "sesoi": 0.1}


@pytest.mark.parametrize(
    ("design", "says"),
    [
        ({"name": ""}, "`name` must not be empty"),
        ({"conditions": []}, "`conditions` must not be empty"),
        ({"conditions": [Condition("a", simulated()), Condition("a", simulated())]},
         r"`conditions` must have unique names, got \['a', 'a'\]"),
        ({"metrics": []}, "`metrics` must not be empty"),
        ({"metrics": ["acuracy"]}, "`metrics` must be among .*, got 'acuracy'"),
        ({"metrics": ["accuracy:p101"]}, "`reducer` must be one of .* got 'p101'"),
        ({"repeats": 0}, "`repeats` must be >= 1, got 0"),
        ({"baseline": "z"}, r"`baseline` must be a condition \(a, b\), got 'z'"),
        ({"dataset": []}, "at least one|must hold|empty"),
        ({"dataset": [*sums(2), *sums(2)]}, "sum/0"),
        ({"hypotheses": [Hypothesis(**{**H1, "treatment": "z"})]},
         "hypothesis 'h1': `treatment` must be one of a, b, got 'z'"),
        ({"hypotheses": [Hypothesis(**{**H1, "metric": "cost_usd"})]},
         "`metric` must be one of accuracy, got 'cost_usd'"),
        ({"hypotheses": [Hypothesis(**H1), Hypothesis(**H1)]}, "unique ids"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_an_experiment_that_makes_no_sense_is_refused_with_the_rule_and_the_value(design, says):
    sound = {
        "name": "sound", "dataset": sums(4), "seed": 1, "metrics": ["accuracy"],
        "conditions": [Condition("a", simulated("a")), Condition("b", simulated("b"))],
    }  # fmt: skip
    Experiment(**sound)
    with pytest.raises(ValueError, match=says):
        Experiment(**{**sound, **design})


@pytest.mark.parametrize("sesoi", [0, -0.1])
def test_a_smallest_effect_must_be_one(sesoi):
    with pytest.raises(ValueError, match="`sesoi` must be > 0, got"):
        Hypothesis(**{**H1, "sesoi": sesoi})


def test_a_seed_is_asked_for():
    with pytest.raises(TypeError, match="seed"):
        Experiment("x", dataset=sums(2), conditions=[Condition("a", simulated())])
