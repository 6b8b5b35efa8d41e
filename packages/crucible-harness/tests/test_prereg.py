"""What was registered is what is asked; everything else is refused or printed."""

import json
from dataclasses import replace

import pytest
from worlds import simulated, sums

from crucible_ensemble import Ensemble
from crucible_harness import (
    Condition,
    Experiment,
    Hypothesis,
    preregister,
    report,
    run_sync,
    verify,
)
from crucible_harness.claims import Criterion
from crucible_harness.errors import PreregistrationError
from crucible_harness.prereg import read_preregistration
from crucible_harness.prompts import Prompt
from crucible_harness.stopping import AlwaysValid
from crucible_harness.testing import check_clock

H1 = Hypothesis(id="h1", metric="accuracy", treatment="vote-3", control="single", sesoi=0.05)


def experiment(n: int = 8, **change: object) -> Experiment:
    asked = simulated(accuracy=change.pop("accuracy", 0.7))
    design = {
        "dataset": sums(n),
        "conditions": [
            Condition(name="single", model=asked, temperature=0.7),
            Condition(
                name="vote-3",
                model=Ensemble([asked], samples=3, normalise="numeric", name="vote-3"),
                temperature=0.7,
            ),
        ],
        "metrics": ("accuracy", "cost_usd"),
        "seed": 7,
        "hypotheses": [H1],
        **change,
    }
    return Experiment("registered", **design)


@pytest.fixture
def plan(tmp_path):
    file = tmp_path / "plan.json"
    preregister(experiment(), file)
    return file


def with_h1(**change: object) -> dict[str, object]:
    return {"hypotheses": [replace(H1, **change)]}


def test_a_plan_names_question_items_rule_and_time(plan):
    written = read_preregistration(plan)
    assert written.design_digest == experiment().digest
    (question,) = written.questions
    assert (question.metric, question.sesoi, question.n_planned) == ("accuracy", 0.05, 8)
    assert question.digest in {q.digest for q in written.questions}
    assert written.n_planned == 8
    assert written.stopping_rule.startswith("fixed n")
    assert "intention to treat" in written.analysis_plan
    assert written.registered.endswith("+00:00")
    assert json.loads(plan.read_text())["digest"] == written.digest


class Noon:
    def time_ns(self) -> int:
        return 1_772_366_400_000_000_000  # date -u -d 2026-03-01T12:00:00Z +%s


def test_the_time_of_a_plan_is_that_of_the_clock_it_is_given(tmp_path):
    check_clock(Noon())
    one, two = (preregister(experiment(), tmp_path / name, clock=Noon()) for name in "ab")
    assert one.registered == "2026-03-01T12:00:00+00:00"
    assert one.digest == two.digest


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (with_h1(sesoi=0.01), "hypotheses.h1.sesoi"),
        (with_h1(metric="cost_usd"), "hypotheses.h1.metric"),
        (with_h1(alpha=0.1), "hypotheses.h1.alpha"),
        (
            with_h1(criteria=(Criterion(metric="accuracy", condition="single", at_least=0.5),)),
            "hypotheses.h1.criteria",
        ),
        ({"hypotheses": []}, "hypotheses.h1"),
        ({"hypotheses": [H1, replace(H1, id="h2")]}, "hypotheses.h2"),
        ({"metrics": ("accuracy",)}, "metrics.cost_usd:mean"),
        ({"n": 9}, "dataset.fingerprint"),
        ({"prompt": Prompt(template="Q: {input}")}, "prompt.template"),
        ({"accuracy": 0.8}, "conditions.single.model.accuracy"),
        ({"repeats": 2}, "repeats"),
        ({"stopping": AlwaysValid(hypothesis="h1")}, "stopping.kind"),
        ({"seed": 8}, "seed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_question_is_refused_before_the_first_call(plan, options, change, field):
    other = experiment(**change)
    with pytest.raises(PreregistrationError) as caught:
        run_sync(other, options=replace(options, prereg=plan))
    assert field in caught.value.fields
    assert field in str(caught.value)
    assert not (options.directory).exists()  # nothing was begun


def test_what_is_not_part_of_the_question_may_change(plan, options):
    changed = replace(options, prereg=plan, concurrency=3)
    result = run_sync(experiment(description="in other words"), options=changed)
    assert result.analysis.deviations == ()
    text = report(result.path)["markdown"].read_text()
    assert "Preregistered" in text
    assert "None found" in text
    checks = {c.name: c for c in verify(result.path, replay=False).checks}
    assert checks["preregistration"].ok


def test_without_a_plan_the_banner_says_so(options):
    path = run_sync(experiment(), options=options).path
    assert "Not preregistered" in report(path)["markdown"].read_text()


def test_what_was_added_is_let_through_and_printed(plan, options):
    more = experiment(
        metrics=("accuracy", "cost_usd", "output_tokens"),
        hypotheses=[H1, replace(H1, id="e1", metric="output_tokens", kind="exploratory")],
    )
    result = run_sync(more, options=replace(options, prereg=plan))
    said = "\n".join(result.analysis.deviations)
    assert "`metrics.output_tokens:mean` was added" in said
    assert "`hypotheses.e1` was added" in said
    assert "tokens:mean" in report(result.path)["markdown"].read_text()


def test_fewer_items_than_planned_are_a_deviation(plan, options):
    path = run_sync(experiment(), options=replace(options, prereg=plan)).path
    import sqlite3

    from crucible_harness import analyse

    with sqlite3.connect(path / "journal.sqlite") as db:  # as after an interrupt
        db.execute("DROP TRIGGER no_delete_cells")
        db.execute("DELETE FROM cells WHERE n > 12")
    said = "\n".join(analyse(path).deviations)
    assert "were not run" in said
    assert "`n_planned` was planned as 8, and is " in said


def test_cells_from_before_the_plan_are_a_deviation(plan, options):
    run_sync(experiment(), options=options)
    result = run_sync(experiment(), options=replace(options, prereg=plan))
    assert result.calls_sent == 0
    assert any("16 cells were finished before" in text for text in result.analysis.deviations)


def test_a_plan_cannot_be_exchanged_during_a_run(plan, options, tmp_path):
    run_sync(experiment(), options=replace(options, prereg=plan))
    other = tmp_path / "other.json"
    preregister(experiment(description="the same question, registered again"), other)
    with pytest.raises(PreregistrationError, match="started with another plan"):
        run_sync(experiment(), options=replace(options, prereg=other))
    data = json.loads(plan.read_text())
    plan.write_text(json.dumps({**data, "registered": "2020-01-01T00:00:00+00:00"}))
    with pytest.raises(PreregistrationError, match="changed after it was written") as caught:
        run_sync(experiment(), options=replace(options, prereg=plan))
    assert caught.value.fields == ("digest",)


def test_a_plan_that_was_edited_in_the_run_folder_is_found(plan, options):
    path = run_sync(experiment(), options=replace(options, prereg=plan)).path
    file = path / "preregistration.json"
    file.write_text(file.read_text().replace('"n_planned": 8', '"n_planned": 6'))
    assert "preregistration" in verify(path, replay=False).failed
    from crucible_harness import analyse

    assert any("changed since" in text for text in analyse(path).deviations)
    assert "Not preregistered" in report(path)["markdown"].read_text()


def test_a_model_that_was_not_planned_is_a_deviation(tmp_path, options):
    from crucible_ensemble import Completion

    class Served:
        name = "openai/gpt-4o-mini"

        def fingerprint(self):
            return {"model": self.name}

        async def generate(self, prompt, /, **options):
            return Completion(text="4", model=self.name, served_by=served)

    def asked() -> Experiment:
        return Experiment(
            "served",
            dataset=sums(3),
            conditions=[Condition(name=n, model=Served()) for n in ("a", "b")],
            seed=1,
            hypotheses=[replace(H1, treatment="a", control="b")],
        )

    preregister(asked(), tmp_path / "p.json")
    for served, strange in (("gpt-4o-mini-2024-07-18", False), ("gpt-5-nano", True)):
        at = replace(options, prereg=tmp_path / "p.json", directory=tmp_path / served)
        said = run_sync(asked(), options=at).analysis.deviations
        assert any("no version of a planned model" in text for text in said) == strange


def test_a_plan_is_not_written_over_and_needs_a_question(plan):
    with pytest.raises(ValueError, match="must not exist"):
        preregister(experiment(), plan)
    with pytest.raises(ValueError, match="confirmatory hypothesis"):
        preregister(experiment(hypotheses=[]), plan.with_name("other.json"))
