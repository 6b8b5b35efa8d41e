import csv
import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from virtual import virtually
from worlds import Replay, simulated, sums

from crucible_harness import Condition, Experiment, analyse, resume, resume_sync, run, run_sync
from crucible_harness.errors import (
    DesignMismatchError,
    JournalLockedError,
    MetricUnavailableError,
    NotARunError,
    ProviderRefusedError,
    UnreachableModelError,
)
from crucible_harness.folder import folder_of
from crucible_harness.journal import Journal
from crucible_harness.options import ErrorPolicy

FILES = ("results.csv", "results.parquet", "analysis.json", "dead_letters.jsonl", "schedule.csv")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.anyio
async def test_equal_calls_are_paid_once_and_shared_between_conditions(vote, options):
    result = await run(vote(n=10), options=options)
    assert result.status == "complete"
    assert (result.planned, result.finished, result.failed) == (20, 20, 0)
    assert result.calls_sent == 50  # a vote of five; the single sample is the first of them


@pytest.mark.anyio
async def test_a_finished_run_is_taken_up_without_a_call(vote, options):
    first = await run(vote(), options=options)
    again = await run(vote(), options=options)
    assert again.path == first.path
    assert again.calls_sent == 0
    assert again.finished == again.planned


def test_results_do_not_depend_on_concurrency_or_the_event_loop(vote, options, tmp_path):
    def outcome(name: str, concurrency: int, backend: str) -> dict[str, bytes]:
        at = replace(options, directory=tmp_path / name, concurrency=concurrency)

        async def main() -> Path:
            return (await run(vote(failure_rate=0.05), options=at)).path

        return bytes_of(anyio.run(main, backend=backend))

    one = outcome("one", 1, "asyncio")
    assert outcome("many", 32, "asyncio") == one
    assert outcome("trio", 8, "trio") == one


def test_failed_cells_are_missing_outcomes_and_tried_again_on_resume(replayed, options):
    experiment = replayed({"a": "1101!", "b": "11011"})
    options = replace(options, errors=ErrorPolicy(max_failure_rate=1.0))
    result = run_sync(experiment, options=options)
    assert (result.failed, result.finished) == (1, 10)
    lines = (result.path / "dead_letters.jsonl").read_text().splitlines()
    letters = [json.loads(line) for line in lines]
    assert [(x["condition"], x["item"], x["error_class"]) for x in letters] == [
        ("a", "sum/4", "ModelTimeoutError")
    ]
    again = resume_sync(result.path, experiment=experiment, options=options)
    assert again.calls_sent == 1
    left = replace(options, retry_failed=False)
    assert resume_sync(result.path, experiment=experiment, options=left).calls_sent == 0


def test_too_many_failures_end_the_run_and_the_rest_is_not_asked(replayed, options):
    experiment = replayed({"a": "!" * 40, "b": "1" * 40})
    result = run_sync(experiment, options=replace(options, concurrency=1))
    assert result.status == "failure_rate"
    assert result.finished == 20  # the policy's minimum
    assert result.analysis is not None
    assert "failure_rate" in result.analysis.deviations[0]
    assert result.analysis.items_analysed == 10  # items that both conditions finished


class Refusing(Replay):
    async def generate(self, prompt, /, **options):
        from crucible_ensemble.errors import AuthenticationError

        raise AuthenticationError("no API key: set OPENAI_API_KEY", model=self.name)


def test_a_provider_that_refuses_ends_the_run_at_once(options):
    experiment = Experiment(
        "refused",
        dataset=sums(5),
        conditions=[Condition(name="a", model=Refusing("a", {}))],
        seed=1,
    )
    with pytest.raises(ProviderRefusedError, match="OPENAI_API_KEY"):
        run_sync(experiment, options=options)


def test_an_unreachable_server_ends_the_run_at_once_and_is_named(options):
    from crucible_ensemble import OpenAIModel
    from crucible_ensemble.retry import Retries

    model = OpenAIModel("x", base_url="http://127.0.0.1:9/v1", retries=Retries(attempts=1))
    experiment = Experiment(
        "nowhere", dataset=sums(5), conditions=[Condition(name="a", model=model)], seed=1
    )
    with pytest.raises(UnreachableModelError, match=r"127\.0\.0\.1:9"):
        run_sync(experiment, options=options)


def test_an_exception_of_any_class_is_a_failed_cell(options):
    class Broken(Replay):
        async def generate(self, prompt, /, **options):
            raise KeyError("a bug in someone's model")

    experiment = Experiment(
        "broken", dataset=sums(4), conditions=[Condition(name="a", model=Broken("a", {}))], seed=1
    )
    result = run_sync(experiment, options=options)
    assert result.failed == 4
    with (result.path / "results.csv").open() as file:
        assert {row["error_class"] for row in csv.DictReader(file)} == {"KeyError"}


def test_a_metric_that_no_cell_has_is_refused_after_five_cells(options):
    asked: list[int] = []

    class Counting(Replay):
        async def generate(self, prompt, /, **options):
            from crucible_ensemble import Completion

            asked.append(1)
            return Completion(text="1", model=self.name)  # no cost, no latency

    experiment = Experiment(
        "free", dataset=sums(50), conditions=[Condition(name="a", model=Counting("a", {}))],
        metrics=("accuracy", "cost_usd"), seed=1,
    )  # fmt: skip
    with pytest.raises(MetricUnavailableError, match="cost_usd"):
        run_sync(experiment, options=replace(options, concurrency=1))
    assert len(asked) == 5


def test_resume_needs_the_experiment_that_was_begun(vote, options):
    result = run_sync(vote(n=3), options=options)
    with pytest.raises(NotARunError, match="built in Python"):
        resume_sync(result.path)
    with pytest.raises(DesignMismatchError) as caught:
        resume_sync(result.path, experiment=vote(n=4), options=options)
    assert "dataset" in caught.value.fields


@pytest.mark.anyio
async def test_a_run_that_another_process_holds_is_refused(vote, options):
    experiment = vote(n=3)
    await run(experiment, options=options)
    journal = Journal(folder_of(experiment, options.directory).journal, design=experiment.frozen)
    journal.lock()
    try:
        with pytest.raises(JournalLockedError):
            await resume(journal.path.parent, experiment=experiment, options=options)
    finally:
        journal.close()


def test_analysis_reads_the_folder_and_nothing_else(vote, options):
    result = run_sync(vote(), options=options)
    assert json.loads((result.path / "analysis.json").read_text()) == json.loads(
        json.dumps(analyse(result.path).to_dict())
    )


def test_every_span_below_a_cell_says_which_cell_it_belongs_to(vote, options):
    from crucible_telemetry import SQLiteStore
    from crucible_telemetry.query import events, experiments

    options = replace(options, telemetry=True)
    for _ in "ab":  # a second run in the process, and nothing twice
        result = run_sync(vote(n=3, seed=len(list(options.directory.glob("*")))), options=options)
    store = SQLiteStore(result.path / "telemetry.sqlite")
    (recorded,) = experiments(store)
    spans = {e.to_dict()["span_id"]: e.to_dict() for e in events(store, recorded.id)}
    store.close()

    def cell_of(span):
        while span is not None and span["name"] != "crucible.harness.cell":
            span = spans.get(span["parent_span_id"])
        return span

    below = [span for span in spans.values() if cell_of(span) not in (None, span)]
    assert {span["name"] for span in below} >= {"crucible.ensemble.generate"}
    for span in below:
        cell = cell_of(span)
        assert (span["item_id"], span["repeat"]) == (cell["item_id"], cell["repeat"])
        assert span["attributes"]["crucible.condition"] == cell["attributes"]["crucible.condition"]
    for span in spans.values():
        assert ("crucible.condition" in span["attributes"]) == (cell_of(span) is not None)


def test_other_votes_are_evaluated_on_the_responses_of_a_run(vote, options):
    matrix = run_sync(vote(n=4), options=options).matrix()
    assert len(matrix.items) == 4
    assert len(matrix.models) == 1
    assert sum(1 for _ in matrix) == 20


def test_no_key_is_written_anywhere(options, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-4711")
    experiment = Experiment(
        "keys", dataset=sums(3), conditions=[Condition(name="a", model=simulated())], seed=1
    )
    result = run_sync(experiment, options=replace(options, telemetry=True))
    assert json.loads((result.path / "manifest.json").read_text())["keys_set"] == ["OPENAI_API_KEY"]
    for file in result.path.rglob("*"):
        assert file.is_dir() or b"sk-secret" not in file.read_bytes(), file


PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from worlds import simulated, sums
from crucible_ensemble import Ensemble
from crucible_harness import Condition, Experiment, RunOptions, run_sync

class Counted:
    # Writes a line for each call it is asked, and dies where it is told to.
    def __init__(self, model, log):
        self._model, self._log, self.name = model, log, model.name
    def fingerprint(self):
        return self._model.fingerprint()
    async def generate(self, prompt, /, **options):
        with open(self._log, "a") as log:
            print(prompt[-1]["content"], options["seed"], file=log)
        answer = await self._model.generate(prompt, **options)
        if sum(1 for _ in open(self._log)) >= int(os.environ.get("DIE_AT", 1_000_000)):
            del os.environ["DIE_AT"]
            os.kill(os.getpid(), 9)
        return answer

asked = Counted(simulated(latency_s=0.01), sys.argv[3])
experiment = Experiment(
    "killed", dataset=sums(20), seed=3, metrics=("accuracy", "latency_s:p95", "cost_usd"),
    conditions=[
        Condition(name="single", model=asked, temperature=0.7),
        Condition(name="vote-5", temperature=0.7,
                  model=Ensemble([asked], samples=5, normalise="numeric", name="vote-5")),
    ],
)
options = RunOptions(directory=sys.argv[2], concurrency=6, progress="none")
result = run_sync(experiment, options=options)
print(result.path)
print(result.calls_sent, len(result.possibly_billed), result.status)
"""


def start(program: Path, directory: Path, log: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(program), str(Path(__file__).parent), str(directory), str(log)],
        env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_an_interrupt_sends_no_new_call_waits_for_those_in_flight_and_the_run_can_be_resumed(
    tmp_path,
):
    program, log = tmp_path / "program.py", tmp_path / "log"
    program.write_text(PROGRAM.replace("os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 2)"))
    out, error = start(program, tmp_path / "runs", log, DIE_AT="20").communicate()
    sent, billed, status = out.splitlines()[1].split()
    assert (billed, status) == ("0", "interrupted"), error
    assert int(sent) < 100
    out, error = start(program, tmp_path / "runs", log).communicate()
    assert "complete" in out, error
    assert len(log.read_text().splitlines()) == 100


TWICE = """
import os, sys
sys.path.insert(0, sys.argv[1])
import anyio
from worlds import right, sums
from crucible_ensemble import Completion
from crucible_harness import Condition, Experiment, RunOptions, run_sync
from crucible_harness.hooks import Hooks

class Stuck:
    # Answers two questions, then none; asks itself to stop, as Ctrl-C does.
    name, asked = "stuck/m", 0
    def fingerprint(self):
        return {"model": self.name}
    async def generate(self, prompt, /, **options):
        Stuck.asked += 1
        if Stuck.asked > 2 and "STUCK" in os.environ:
            os.kill(os.getpid(), 2)
            await anyio.sleep_forever()
        return Completion(text=right(prompt[-1]["content"]), model=self.name, cost_usd=0.0)

def again(kind, detail):
    if kind == "interrupted":  # the first was heard
        os.kill(os.getpid(), 2)

experiment = Experiment("twice", dataset=sums(6), seed=3, conditions=[Condition("a", Stuck())])
result = run_sync(experiment, options=RunOptions(
    directory=sys.argv[2], concurrency=1, timeout_s=None, telemetry=False, progress="none",
    hooks=Hooks(on_event=again),
))
print(result.status, result.finished, result.calls_sent, len(result.possibly_billed))
"""


def test_a_second_interrupt_cancels_what_is_in_flight_and_the_run_can_be_resumed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(TWICE)
    out, error = start(program, tmp_path / "runs", tmp_path / "log", STUCK="1").communicate(
        timeout=120
    )
    # The third call was cut off, and is on record as cancelled: it is no call without an end.
    assert out.split() == ["interrupted", "2", "3", "0"], error
    out, error = start(program, tmp_path / "runs", tmp_path / "log").communicate(timeout=120)
    assert out.split() == ["complete", "6", "4", "0"], error


class Noon:
    def time_ns(self) -> int:
        return 1_772_366_400_000_000_000  # date -u -d 2026-03-01T12:00:00Z +%s


def test_with_a_clock_of_its_own_a_run_is_written_down_to_the_byte_again(replayed, options):
    # In virtual time, and without the moment of a machine, equal runs have equal journals.
    def rows(name: str) -> list[tuple[object, ...]]:
        at = replace(options, directory=options.directory / name, clock=Noon(), concurrency=1)
        result, _ = virtually(replayed({"a": "1101", "b": "1011"}), at)
        manifest = json.loads((result.path / "manifest.json").read_text())
        assert manifest["started"] == manifest["ended"] == "2026-03-01T12:00:00+00:00"
        with sqlite3.connect(result.path / "journal.sqlite") as db:
            return [row for t in ("calls", "events") for row in db.execute(f"SELECT * FROM {t}")]

    assert rows("one") == rows("two")


def test_the_manifest_tells_uncommitted_code_apart(tmp_path, options, vote, monkeypatch):
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *words],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip

    def hashed(n: int) -> str | None:
        path = run_sync(vote(n=n), options=options).path
        return json.loads((path / "manifest.json").read_text())["git_diff_sha256"]

    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text("1")
    git("init")
    git("add", "code.py")
    git("commit", "-m", "code")
    clean = hashed(2)
    (tmp_path / "code.py").write_text("2")
    second = hashed(3)
    (tmp_path / "code.py").write_text("3")
    third = hashed(4)
    assert clean is None
    assert len({second, third, None}) == 3
    with pytest.raises(ValueError, match="`allow_dirty`"):
        run_sync(vote(n=5), options=replace(options, allow_dirty=False))
