"""Runs that are ended at a given point or killed at any time, and taken up again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ALL = "markdown,json,latex,html,jupyter"
FILES = (
    "results.csv", "results.parquet", "analysis.json", "dead_letters.jsonl", "schedule.csv",
    "report.md", "report.json", "report.tex", "report.html", "report.ipynb",
)  # fmt: skip

# A program that has imported everything and forks a process for each run that it is told of. The
# process runs an experiment and writes its reports. FAULT=<point>:<n> ends it, as os._exit does:
# without a finally or a flush, at the n-th time that it comes to that point.
PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from worlds import simulated, sums
import altair, anyio, pyarrow.parquet, scipy.stats
import crucible_bench.paired, crucible_bench.resampling
from crucible_ensemble import Ensemble
from crucible_harness import Condition, Experiment, Hypothesis, RunOptions, report, run_sync
from crucible_harness.journal import Journal

seen = {}

def point(name):
    fault, _, at = os.environ.get("FAULT", ":0").partition(":")
    seen[name] = seen.get(name, 0) + 1
    if name == fault and seen[name] == int(at):
        os._exit(9)

def around(method, before, after):
    async def wrapped(self, *arguments, **options):
        point(before)
        answer = await method(self, *arguments, **options)
        point(after)
        return answer
    return wrapped

Journal.intend = around(Journal.intend, "before intent", "after intent")
Journal.finish_call = around(Journal.finish_call, "before row", "after row")
Journal.finish_cell = around(Journal.finish_cell, "before cell", "after cell")

reports = sys.modules["crucible_harness.report"]
write = reports.replace_file

def half(path, content):
    point("report")
    write(path, content)

reports.replace_file = half

class Counted:
    def __init__(self, model, log):
        self._model, self._log, self.name = model, log, model.name
    def fingerprint(self):
        return self._model.fingerprint()
    async def generate(self, prompt, /, **options):
        asked = f"{prompt[-1]['content']} {options['seed']}"
        with open(self._log, "a") as log:
            print("asked", asked, file=log)
        await anyio.sleep(float(os.environ.get("TAKES_S", "0")))
        answer = await self._model.generate(prompt, **options)
        with open(self._log, "a") as log:
            print("answered", asked, file=log)
        return answer

def main(runs, log, out):
    asked = Counted(simulated(), log)
    samples = int(os.environ.get("SAMPLES", "3"))
    experiment = Experiment(
        "killed", dataset=sums(int(os.environ.get("ITEMS", "8"))), seed=3,
        metrics=("accuracy", "latency_s:p95", "cost_usd"),
        conditions=[
            Condition(name="single", model=asked, temperature=0.7),
            Condition(name="vote", temperature=0.7,
                      model=Ensemble([asked], samples=samples, normalise="numeric", name="vote")),
        ],
        hypotheses=[
            Hypothesis(id="h1", metric="accuracy", treatment="vote", control="single", sesoi=0.05)
        ],
    )
    options = RunOptions(
        directory=runs, concurrency=int(os.environ.get("CONCURRENCY", "1")), progress="none",
        journal=os.environ.get("JOURNAL"), telemetry=False,
    )
    result = run_sync(experiment, options=options)
    if os.environ.get("REPORT"):
        report(result.path, formats=os.environ["REPORT"].split(","))
    with open(out, "w") as file:
        print(result.status, result.calls_sent, len(result.possibly_billed), file=file)

for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if pid == 0:
        try:
            os.environ.update(order["environment"])
            main(order["runs"], order["log"], order["out"])
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Forks:
    """The program, waiting for orders."""

    def __init__(self, folder: Path) -> None:
        program = folder / "program.py"
        program.write_text(PROGRAM)
        self.errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, str(program), str(Path(__file__).parent)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )  # fmt: skip

    def begin(self, **order: object) -> int:
        """Start a run; return the id of its process."""
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> int:
        """Return the exit status of the run that was started last."""
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)
        self.errors.close()


class Killed:
    """An experiment that is run, ended, and run again."""

    def __init__(self, forks: Forks, folder: Path, **environment: str) -> None:
        folder.mkdir(exist_ok=True)
        self._forks, self._environment = forks, environment
        self.log, self.runs, self.out = folder / "log", folder / "runs", folder / "out"
        self.log.touch()

    def begin(self, **environment: str) -> int:
        return self._forks.begin(
            runs=str(self.runs), log=str(self.log), out=str(self.out),
            environment={**self._environment, "FAULT": ":0", **environment},
        )  # fmt: skip

    def end(self) -> int:
        return self._forks.end()

    def finish(self) -> tuple[str, int, int]:
        """Run to the end; return status, calls sent and calls possibly billed."""
        self.begin()
        assert self.end() == 0, Path(self._forks.errors.name).read_text()[-3000:]
        status, sent, billed = self.out.read_text().split()
        return status, int(sent), int(billed)

    def said(self, what: str = "asked") -> Counter[str]:
        """Return how often the model was asked, or "answered", each thing."""
        lines = (line.partition(" ") for line in self.log.read_text().splitlines())
        return Counter(rest for word, _, rest in lines if word == what)

    def bytes(self) -> dict[str, bytes]:
        (folder,) = self.runs.iterdir()
        return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}

    def manifest(self) -> dict[str, Any]:
        (folder,) = self.runs.iterdir()
        return json.loads((folder / "manifest.json").read_text())


def kill_at_random(run: Killed, dice: random.Random, *, times: int) -> None:
    """Start it and kill it that often, at any time after 1 to 15 more answers."""
    for _ in range(times):
        wanted = run.said("answered").total() + dice.randint(1, 15)
        process = run.begin()
        while run.said("answered").total() < wanted:
            time.sleep(0.001)
        time.sleep(dice.random() * 0.05)  # not with an answer, which is when rows are written
        os.kill(process, signal.SIGKILL)
        assert run.end() == -signal.SIGKILL
