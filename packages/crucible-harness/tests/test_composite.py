"""Models made of models, an adapter among them, killed and taken up again: acceptance 15."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from worlds import sums

from crucible_harness import Condition, Experiment, load_experiment, run_sync
from crucible_harness.errors import ConfigError
from crucible_harness.folder import Folder

# A cascade of a vote and a strong model; the voters are hedged, and one is a LoRA adapter.
PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from worlds import simulated, sums
from crucible_ensemble import Ensemble, hedged
from crucible_ensemble.executions.cascade import Cascade
from crucible_harness import Condition, Experiment, RunOptions, run_sync
from crucible_hedging import Hedger
from crucible_lora import LoraExperiment

class Counted:
    # Writes a line for each call it is asked, and dies where it is told to.
    def __init__(self, model, log):
        self._model, self._log, self.name = model, log, model.name
    def fingerprint(self):
        return self._model.fingerprint()
    async def generate(self, prompt, /, **options):
        with open(self._log, "a") as log:
            print(self.name, prompt[-1]["content"], options["seed"], file=log)
        answer = await self._model.generate(prompt, **options)
        if sum(1 for _ in open(self._log)) == int(os.environ.get("DIE_AT", 0)):
            os.kill(os.getpid(), 9)
        return answer

adapter = LoraExperiment.open(sys.argv[2]).sampler("latest")
models = [adapter, simulated("m1", seed=1), simulated("m2", seed=2)]
strong = Counted(simulated("strong", accuracy=0.95, price=(100.0, 200.0)), sys.argv[4])
vote = Ensemble(
    [hedged(Counted(model, sys.argv[4]), hedger=Hedger(60.0)) for model in models],
    normalise="numeric", name="cheap",
)
cascade = Ensemble(
    [vote, strong], execution=Cascade(order="given"), normalise="numeric", name="cascade"
)
experiment = Experiment(
    "composite", dataset=sums(12), seed=3, metrics=("accuracy",),
    conditions=[
        Condition("cascade", cascade, temperature=0.7, max_tokens=8),
        Condition("strong", strong, temperature=0.7, max_tokens=8),
    ],
)
options = RunOptions(directory=sys.argv[3], telemetry=False, progress="none")
result = run_sync(experiment, options=options)
print(result.path)
print(result.status, result.failed, result.calls_sent, len(result.possibly_billed),
      result.cost.known_usd, result.cost.unknown_calls)
"""


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    """Return the folder of an adapter of the in-process backend, trained for two steps."""
    from crucible_lora import create_experiment, train_sync
    from crucible_lora.demo import demo_findings

    trained = create_experiment(
        "votes", {"base_model": "reference", "rank": 4, "learning_rate": 1e-2},
        directory=tmp_path_factory.mktemp("adapters"),
    )  # fmt: skip
    train_sync(trained, demo_findings(16, seed=0), epochs=1, batch_size=8, progress=False)
    return trained.directory


def carried_out(folder: Path, adapter: Path, **environment: str) -> tuple[int, list[str]]:
    """Run the program; return its exit status and what it printed."""
    (folder / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, folder / "program.py", Path(__file__).parent, adapter, folder / "runs",
         folder / "log"],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -9), done.stderr
    return done.returncode, done.stdout.splitlines()


def test_each_leaf_call_is_paid_once_also_when_the_run_was_killed(tmp_path, adapter):
    assert carried_out(tmp_path, adapter, DIE_AT="20") == (-9, [])
    asked = Counter((tmp_path / "log").read_text().splitlines())
    (killed,) = (tmp_path / "runs").iterdir()
    journal = Folder(killed).open_journal()
    written = sum(1 for _ in journal.calls())
    journal.close()
    assert 0 < written < 20
    _, (path, summary) = carried_out(tmp_path, adapter)
    status, failed, sent, billed, known_usd, unknown = summary.split()
    assert (status, failed) == ("complete", "0")
    journal = Folder(Path(path)).open_journal()
    rows = list(journal.calls())
    journal.close()
    # Three of each item by the vote; the strong model's is one call, whoever needs it.
    assert len({row["leaf_key"] for row in rows}) == len(rows) == 12 * 3 + 12
    assert int(sent) == 48 - written
    # What was asked twice was in flight when the process died, and is said so.
    again = Counter((tmp_path / "log").read_text().splitlines()) - Counter(dict.fromkeys(asked, 1))
    assert len(asked | again) == 48
    assert sum(
        (
            Counter((tmp_path / "log").read_text().splitlines())
            - Counter(dict.fromkeys(asked | again, 1))
        ).values()
    ) <= int(billed)
    # The price of an adapter's answers is not known, and is not taken for nothing.
    assert (int(unknown), sum("lora" in row["request"] for row in rows)) == (12, 12)
    assert float(known_usd) == pytest.approx(
        sum(row["cost_usd"] for row in rows if row["cost_usd"] is not None)
    )
    assert carried_out(tmp_path, adapter)[1][1].split()[2] == "0"


FILE = """
name = "adapted"
seed = 1
dataset = { name = "demo-arithmetic", limit = 3 }
[[conditions]]
name = "tuned"
adapter = "PLACE:latest"
max_tokens = 8
[[conditions]]
name = "vote"
adapter = "PLACE:latest"
samples = 3
temperature = 0.7
max_tokens = 8
"""


def test_an_adapter_is_a_condition_of_a_file(tmp_path, adapter, options):
    file = tmp_path / "exp.toml"
    file.write_text(FILE.replace("PLACE", os.path.relpath(adapter, tmp_path)))
    experiment, _ = load_experiment(file)
    result = run_sync(experiment, options=options)
    assert (result.status, result.calls_sent, result.failed) == ("complete", 3 + 9, 0)
    asked = result.analysis.conditions["vote"]
    assert (asked.calls, asked.cost_usd) == (9, None)
    from crucible_harness import verify

    assert verify(result.path).ok  # replayed without the adapter


@pytest.mark.parametrize(
    ("place", "says"),
    [("nowhere", "`adapter` must be the folder of an adapter, got 'nowhere'"),
     ("{adapter}:step-000999", "step-000999")],
)  # fmt: skip
def test_an_adapter_that_is_not_there_is_named(tmp_path, adapter, place, says):
    file = tmp_path / "exp.toml"
    file.write_text(FILE.replace("PLACE:latest", place.format(adapter=adapter)))
    with pytest.raises(ConfigError, match=says):
        load_experiment(file)


def test_a_sampler_is_a_condition_in_python(adapter, options):
    from crucible_lora import LoraExperiment

    sampler = LoraExperiment.open(adapter).sampler("latest")
    result = run_sync(
        Experiment(
            "sampled", dataset=sums(3), conditions=[Condition("tuned", sampler, max_tokens=8)],
            seed=1,
        ),
        options=options,
    )  # fmt: skip
    assert (result.failed, result.cost.unknown_calls) == (0, 3)
