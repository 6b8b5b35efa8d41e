"""A folder that was changed is found out, and the change is named."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from worlds import simulated, sums

from crucible_ensemble import Ensemble
from crucible_harness import (
    Condition,
    Experiment,
    HarnessError,
    Hypothesis,
    RunOptions,
    load_experiment,
    report,
    run_sync,
    verify,
)
from crucible_harness.errors import NotARunError
from crucible_harness.offline import no_sockets
from crucible_harness.options import ErrorPolicy
from crucible_harness.report import FORMATS


def experiment_of(n: int) -> Experiment:
    asked = simulated(failure_rate=0.1)
    return Experiment(
        "vote",
        dataset=sums(n),
        conditions=[
            Condition(name="single", model=asked, temperature=0.7),
            Condition(
                name="vote-3",
                model=Ensemble([asked], samples=3, normalise="numeric", name="vote-3"),
                temperature=0.7,
            ),
        ],
        seed=7,
        hypotheses=[
            Hypothesis(id="h1", metric="accuracy", treatment="vote-3", control="single", sesoi=0.05)
        ],
    )


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return experiment_of(6)


@pytest.fixture(scope="module")
def pristine(experiment, tmp_path_factory):
    options = RunOptions(
        directory=tmp_path_factory.mktemp("runs"),
        errors=ErrorPolicy(max_failure_rate=1.0),
        telemetry=False,
        progress="none",
    )
    path = run_sync(experiment, options=options).path
    report(path, formats=FORMATS)
    return path


@pytest.fixture
def folder(pristine, tmp_path):
    """Return a copy of a finished run, to be tampered with."""
    return Path(shutil.copytree(pristine, tmp_path / pristine.name))


def found(folder, experiment=None) -> dict[str, str]:
    """Return what was found wrong, by the name of the check; replayed with `experiment`."""
    result = verify(folder, replay=experiment is not None, experiment=experiment)
    wrong = {check.name: check.detail for check in result.checks if check.ok is False}
    assert result.ok == (not wrong)
    assert set(result.failed) == set(wrong)
    return wrong


def edit(folder, *statements: str) -> None:
    """Change the journal behind the triggers that keep it append-only."""
    with sqlite3.connect(folder / "journal.sqlite") as db:
        for table in ("calls", "cells", "intents"):
            for verb in ("update", "delete"):
                db.execute(f"DROP TRIGGER IF EXISTS no_{verb}_{table}")
        for statement in statements:
            db.execute(statement)


def test_an_untouched_run_is_verified_in_every_part(folder, experiment):
    result = verify(folder, experiment=experiment)
    assert result.ok, result.failed
    checks = {check.name: check for check in result.checks}
    assert set(checks) == {
        "journal", "design", "items", "schedule", "scores", "results", "results.parquet",
        "dead letters", "analysis", "report.md", "report.tex", "report.html", "report.ipynb",
        "report.json", "replay",
    }  # fmt: skip
    assert all(check.ok for check in checks.values())
    assert "12 cells executed again" in checks["replay"].detail
    assert json.loads(json.dumps(result.to_dict()))["ok"] is True


def test_a_changed_byte_of_an_answer_is_named(folder):
    edit(folder, "UPDATE calls SET response = replace(response, 'text', 'texu') WHERE n = 3")
    assert "calls row 3" in found(folder)["journal"]


def test_a_removed_row_is_named(folder):
    edit(folder, "DELETE FROM calls WHERE n = 4")
    assert "calls row 4" in found(folder)["journal"]


def test_a_removed_last_row_is_found_by_what_no_longer_follows(folder):
    edit(folder, "DELETE FROM cells WHERE n = (SELECT max(n) FROM cells)")
    wrong = found(folder)
    assert "journal" not in wrong  # a chain cannot know how long it was
    assert {"results", "analysis", "report.json"} <= set(wrong)


def test_a_removed_last_call_leaves_an_intent_without_an_end(folder):
    edit(folder, "DELETE FROM calls WHERE n = (SELECT max(n) FROM calls)")
    assert "1 calls have no end" in found(folder)["journal"]


def test_a_call_that_is_gone_with_its_intent_is_found_by_the_replay(folder, experiment):
    edit(
        folder,
        "DELETE FROM calls WHERE n = (SELECT max(n) FROM calls WHERE status = 'ok')",
        "DELETE FROM intents WHERE leaf_key NOT IN (SELECT leaf_key FROM calls)",
    )
    assert "say something else" in found(folder, experiment)["replay"]


def test_two_rows_that_changed_places_are_named(folder):
    edit(
        folder,
        "UPDATE cells SET n = 1000 WHERE n = 2",
        "UPDATE cells SET n = 2 WHERE n = 3",
        "UPDATE cells SET n = 3 WHERE n = 1000",
    )
    assert "cells row 2" in found(folder)["journal"]


def test_an_edited_analysis_is_named(folder):
    file = folder / "analysis.json"
    file.write_text(file.read_text().replace("0.", "1.", 1))
    assert set(found(folder)) == {"analysis"}


def test_an_analysis_of_an_older_version_is_compared_by_what_both_versions_have(folder):
    file = folder / "analysis.json"
    older = json.loads(file.read_text())
    older["schema"] = "crucible-harness/analysis/1"
    older["panel"] = older.pop("ensembles")
    for result in older["hypotheses"]:
        del result["interval"], result["simultaneous_interval"]
    file.write_text(json.dumps(older))
    (check,) = (c for c in verify(folder, replay=False).checks if c.name == "analysis")
    assert check.ok
    assert "as far as crucible-harness/analysis/1 and crucible-harness/analysis/2" in check.detail
    older["hypotheses"][0]["contrast"]["estimate"] += 0.01
    file.write_text(json.dumps(older))
    assert "hypotheses[0].contrast.estimate" in found(folder)["analysis"]
    del older["schema"]
    file.write_text(json.dumps(older))
    assert "is not what the journal gives" in found(folder)["analysis"]


def test_an_edited_number_in_a_report_is_named(folder):
    file = folder / "report.tex"
    file.write_text(file.read_text().replace("0.", "1.", 1))
    assert set(found(folder)) == {"report.tex"}


def test_an_edited_design_is_named_with_the_field(folder):
    file = folder / "design.json"
    file.write_text(file.read_text().replace('"sesoi": 0.05', '"sesoi": 0.01'))
    assert "hypotheses" in found(folder)["design"]


def test_a_design_edited_inside_the_journal_is_named(folder):
    edit(folder, """UPDATE meta SET value = replace(value, '"sesoi":0.05', '"sesoi":0.01')""")
    assert "digest" in found(folder)["design"]


def test_edited_items_are_named_and_the_rest_is_said_to_be_unchecked(folder):
    file = folder / "items.jsonl"
    file.write_text(file.read_text().replace("What is 1 ", "What is 9 "))
    result = verify(folder)
    assert result.failed == ("items",)
    assert {c.name for c in result.checks if c.ok is None} >= {"analysis", "replay"}


def test_an_edited_schedule_is_named(folder):
    file = folder / "schedule.csv"
    lines = file.read_text().splitlines()
    lines[1], lines[2] = "0" + lines[2][1:], "1" + lines[1][1:]
    file.write_text("\n".join(lines) + "\n")
    assert set(found(folder)) == {"schedule"}


def test_a_score_that_does_not_follow_from_its_answer_is_named(folder, experiment):
    # The whole chain written anew, as someone would who knows the format.
    from crucible_harness.tables import TABLES, chained

    edit(
        folder, """UPDATE cells SET scores = replace(scores, '"accuracy":0.0', '"accuracy":1.0')"""
    )
    with sqlite3.connect(folder / "journal.sqlite") as db:
        last = ""
        columns = ", ".join(TABLES["cells"])
        for n, *values in db.execute(f"SELECT n, {columns} FROM cells ORDER BY n").fetchall():
            last = chained(last, tuple(values))
            db.execute("UPDATE cells SET row_hash = ? WHERE n = ?", (last, n))
    wrong = found(folder, experiment)
    assert "journal" not in wrong
    assert {"scores", "replay"} <= set(wrong)


def test_reports_of_other_versions_are_compared_by_value_and_it_says_so(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["versions"]["crucible-harness"] = "0.0.9"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    file = folder / "report.html"
    file.write_text(file.read_text().replace("Reproduction", "To do it again"))
    checks = {check.name: check for check in verify(folder, replay=False).checks}
    assert checks["report.html"].ok
    assert "0.0.9 then" in checks["report.html"].detail


def test_an_experiment_built_in_python_is_not_replayed_without_it(folder):
    result = verify(folder)
    assert result.ok
    (check,) = [check for check in result.checks if check.name == "replay"]
    assert check.ok is None
    assert "`experiment`" in check.detail
    assert "replay" not in [check.name for check in verify(folder, replay=False).checks]


def test_another_experiment_cannot_stand_in_for_the_one_that_was_run(folder):
    assert "digest" in found(folder, experiment_of(7))["replay"]


FILE = """
name = "nested"
seed = 3
dataset = { name = "demo-arithmetic", sample_size = 4 }
[models.a]
model = "openai-compatible/a"
cassette = "a.jsonl"
cassette_mode = "replay"
[models.b]
model = "openai-compatible/b"
cassette = "b.jsonl"
cassette_mode = "replay"
[[conditions]]
name = "one"
model = "b"
[[conditions]]
name = "raced"
ensemble = { models = ["a", "b"], normalise = "numeric" }
hedge = { delay = 5.0, budget = 0.5 }
"""


def test_a_run_from_a_file_is_replayed_without_its_models_and_data(tmp_path, options):
    import anyio

    from crucible_ensemble import CassetteModel
    from crucible_ensemble.seeds import derive, sample_seed

    file = tmp_path / "exp.toml"
    file.write_text(FILE)
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(
            '{"schema": "crucible-ensemble/cassette/1", "model": "x"}\n'
        )
    experiment, _ = load_experiment(file)
    items = list(experiment.dataset)

    async def record() -> None:
        for name in "ab":
            (tmp_path / f"{name}.jsonl").unlink()
            model = simulated(f"openai-compatible/{name}", accuracy=1.0)
            model._answer_of, model._wrong_of = lambda text: "1", lambda text: ["2"]
            tape = CassetteModel(model, tmp_path / f"{name}.jsonl", mode="record")
            for item in items:
                seed = derive(experiment.seed, item.id, 0)
                for each in (seed, *(sample_seed(seed, k) for k in range(3))):
                    await tape.generate([{"role": "user", "content": item.input}], seed=each)

    anyio.run(record)
    experiment, _ = load_experiment(file)
    path = run_sync(experiment, options=options).path
    for name in "ab":
        (tmp_path / f"{name}.jsonl").unlink()
    checks = {check.name: check for check in verify(path).checks}
    assert checks["replay"].ok, checks["replay"].detail
    assert "8 cells executed again" in checks["replay"].detail
    text = (path / "design.toml").read_text()
    (path / "design.toml").write_text(text.replace("delay = 5.0", "delay = 6.0"))
    wrong = {check.name: check.detail for check in verify(path).checks if check.ok is False}
    assert "conditions" in wrong["replay"]


def test_a_folder_that_holds_no_run_is_an_error_and_no_finding(tmp_path):
    with pytest.raises(NotARunError):
        verify(tmp_path)


def test_no_socket_is_opened_offline_and_others_are_left_alone():
    import socket

    with no_sockets(), pytest.raises(ConnectionRefusedError, match="no connection may be made"):
        socket.create_connection(("127.0.0.1", 9), timeout=0.1)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        socket.create_connection(listening.getsockname(), timeout=5).close()


def test_the_replay_never_asks_the_model(options):
    asked = []

    class Counted:
        name = "counted"

        def fingerprint(self):
            return {"model": self.name}

        async def generate(self, prompt, /, **options):
            from crucible_ensemble import Completion

            asked.append(prompt)
            return Completion(text="4", model=self.name)

    experiment = Experiment(
        "counted", dataset=sums(3), conditions=[Condition(name="a", model=Counted())], seed=1
    )
    path = run_sync(experiment, options=options).path
    assert len(asked) == 3
    assert verify(path, experiment=experiment).ok
    assert len(asked) == 3


def test_functions_and_judges_are_replayed_without_being_asked(options):
    from crucible_ensemble import Completion
    from crucible_harness import Metric
    from crucible_harness.judging import JudgeScorer

    asked = []

    def pipeline(item):
        asked.append(item.id)
        return item.expected if item.id != "sum/1" else "no"

    class Judge:
        name = "judge"

        def fingerprint(self):
            return {"model": self.name}

        async def generate(self, prompt, /, **options):
            asked.append("judge")
            good = "no" not in prompt[0]["content"]
            return Completion(text="GOOD" if good else "BAD", model=self.name)

    judge = JudgeScorer(Judge(), rubric="Is {answer} good?", labels={"GOOD": 1.0, "BAD": 0.0})
    experiment = Experiment(
        "called",
        dataset=sums(3),
        conditions=[Condition("mine", call=pipeline, fingerprint="pipeline 1")],
        metrics=[Metric("judged", scorer=judge, higher_is_better=True, unit="share")],
        seed=1,
    )
    path = run_sync(experiment, options=options).path
    before = len(asked)
    checks = {check.name: check for check in verify(path, experiment=experiment).checks}
    assert checks["replay"].ok, checks["replay"].detail
    assert len(asked) == before


def test_errors_are_picklable():
    import pickle

    from crucible_harness.errors import PreregistrationError

    error = PreregistrationError("plan.json", ("hypotheses.h1.sesoi",))
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, HarnessError)
    assert (again.fields, str(again)) == (error.fields, str(error))
