"""Sequential stopping, acceptance 8 of the specification; time is virtual."""

import json
from dataclasses import replace
from random import Random

import pytest
from virtual import Clocked, virtually
from worlds import right, sums

from crucible_harness import Condition, Experiment, Hypothesis, analyse, status
from crucible_harness.designs import Between
from crucible_harness.metrics import metric
from crucible_harness.schedule import schedule
from crucible_harness.stopping import AlwaysValid, FixedN, Monitored, SequentialWatch

H1 = Hypothesis(id="h1", metric="accuracy", treatment="t", control="c", sesoi=0.05)


def sequential(n: int = 100, *, stopping: object = None, **models: Clocked) -> Experiment:
    models = models or {
        "c": Clocked("clocked/c", takes_s=1.0, answer=lambda text: "-1"),
        "t": Clocked("clocked/t", takes_s=1.3, answer=right),
    }
    return Experiment(
        "sequential", dataset=sums(n), seed=5, metrics=("accuracy",), hypotheses=[H1],
        conditions=[Condition(name=name, model=model) for name, model in models.items()],
        stopping=stopping or AlwaysValid(hypothesis="h1", look_every=1),
    )  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 20])
def test_the_stopping_item_does_not_depend_on_concurrency(options, concurrency):
    experiment = sequential()
    result, _ = virtually(experiment, replace(options, concurrency=concurrency))
    seen = result.analysis.sequential
    assert result.status == "stopped_early"
    # E = 2^n B(n + 1/2, 1/2) / pi: 14.4375 after 6 pairs, 26.8125 after 7, and 1 / .05 = 20
    evidence = {look.items: look.e_value for look in seen.looks}
    assert evidence[6] == pytest.approx(14.4375)
    assert evidence[7] == pytest.approx(26.8125)
    assert (seen.stopped_at, seen.decision, seen.items) == (7, "superior", 7)
    assert result.analysis.items_analysed == 7
    assert sum(row.finished for row in result.analysis.missing.rows) == 14
    assert result.surplus == status(result.path).surplus == result.finished - 14
    assert result.surplus <= concurrency
    assert sum(len(c.model.sent) for c in experiment.conditions) <= 14 + concurrency
    assert result.analysis.deviations == ()  # to stop was planned


def test_the_verdict_is_that_of_the_always_valid_interval(options):
    result, _ = virtually(sequential(), options)
    (h1,) = result.analysis.hypotheses
    assert "always-valid" in h1.contrast.method
    assert h1.contrast.p_value == pytest.approx(1 / 26.8125)
    from crucible_bench.sequential import confidence_sequence

    low, high = confidence_sequence([1.0] * 7, bounds=(-1, 1))[-1]
    assert h1.contrast.interval == (low, high)
    assert h1.contrast.comparison is None
    # seven pairs that all speak for treatment cannot exclude an effect as small as 0.05
    assert low < 0.05
    assert h1.outcome == "inconclusive"


def test_the_analysis_of_the_folder_is_that_of_the_run(options):
    result, _ = virtually(sequential(), options)
    stored = json.loads((result.path / "analysis.json").read_text())
    assert stored == json.loads(json.dumps(analyse(result.path).to_dict()))
    assert stored["sequential"]["stopped_at"] == 7
    again, _ = virtually(sequential(), options)
    assert (again.calls_sent, again.status) == (0, "stopped_early")


def test_it_looks_every_so_often_after_so_many_items_and_up_to_so_many(options):
    rule = AlwaysValid(hypothesis="h1", look_every=5, min_items=12)
    result, _ = virtually(sequential(stopping=rule), options)
    assert result.analysis.sequential.stopped_at == 15
    same = {"c": Clocked("clocked/c", answer=right), "t": Clocked("clocked/t", answer=right)}
    rule = AlwaysValid(hypothesis="h1", look_every=4, max_items=10)
    result, _ = virtually(sequential(stopping=rule, **same), replace(options, concurrency=1))
    seen = result.analysis.sequential
    assert [look.items for look in seen.looks] == [4, 8, 10]
    assert (seen.stopped_at, seen.decision) == (10, None)


def test_without_a_decision_every_planned_cell_is_run(options):
    same = {"c": Clocked("clocked/c", answer=right), "t": Clocked("clocked/t", answer=right)}
    result, _ = virtually(sequential(n=12, **same), options)
    assert (result.status, result.finished, result.surplus) == ("complete", 24, 0)
    assert result.analysis.sequential.stopped_at is None
    assert result.analysis.sequential.interval[0] < 0 < result.analysis.sequential.interval[1]


def test_an_item_counts_once_it_and_all_before_it_are_finished():
    monitored = Monitored(
        rule=AlwaysValid(hypothesis="h1", look_every=1), treatment="t", control="c",
        metric=metric("accuracy"), alpha=0.05, repeats=1,
    )  # fmt: skip
    plan = schedule([str(n) for n in range(9)], ["c", "t"], repeats=1, seed=1)
    order = list(dict.fromkeys(cell.item for cell in plan))
    watch = SequentialWatch(monitored, plan)
    for item in reversed(order[1:]):
        for condition, value in (("t", 1.0), ("c", 0.0)):
            assert not watch.add(condition=condition, item=item, value=value)
    assert watch.looks == []
    assert not watch.add(condition="t", item=order[0], value=1.0)
    assert watch.add(condition="c", item=order[0], value=0.0)
    assert watch.stopped_at == 7


def test_of_400_runs_without_a_difference_at_most_5_percent_stop_for_one():
    # Ville's inequality; looks at every item, accuracies .7 and .7, up to 60 items
    random = Random(20)
    stopped = 0
    for _ in range(400):
        monitored = Monitored(
            rule=AlwaysValid(hypothesis="h1", look_every=1), treatment="t", control="c",
            metric=metric("accuracy"), alpha=0.05, repeats=1,
        )  # fmt: skip
        items = [str(n) for n in range(60)]
        watch = SequentialWatch(monitored, schedule(items, ["c", "t"], repeats=1, seed=1))
        for item in watch._order:
            for condition in ("c", "t"):
                watch.add(condition=condition, item=item, value=float(random.random() < 0.7))
            if watch.decided:
                break
        stopped += watch.decided
    assert stopped <= 0.05 * 400


def test_a_failure_is_the_worse_end_of_the_metric(options):
    from crucible_ensemble.errors import ServerError
    from crucible_harness.options import ErrorPolicy

    models = {
        "c": Clocked("clocked/c", fails=lambda n: ServerError("down")),
        "t": Clocked("clocked/t", answer=right),
    }
    lenient = replace(options, errors=ErrorPolicy(max_failure_rate=1.0))
    result, _ = virtually(sequential(**models), lenient)
    assert result.analysis.sequential.stopped_at == 7


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"stopping": AlwaysValid(hypothesis="h2")}, "`stopping` must name a hypothesis"),
        ({"metrics": ("latency_s",), "hypotheses": [replace(H1, metric="latency_s")]}, "bounds"),
        ({"design": Between()}, "`stopping` must be FixedN"),
        ({"hypotheses": [replace(H1, contrast="ratio")]}, "difference"),
    ],
)
def test_a_rule_that_does_not_fit_the_design_is_refused(change, rule):
    made = {
        "dataset": sums(4), "seed": 1, "metrics": ("accuracy",), "hypotheses": [H1],
        "conditions": [Condition(name=c, model=Clocked(f"clocked/{c}")) for c in "ct"],
        "stopping": AlwaysValid(hypothesis="h1"),
    }  # fmt: skip
    with pytest.raises(ValueError, match=rule):
        Experiment("x", **{**made, **change})


def test_the_rule_is_part_of_the_design():
    fixed, valid = sequential(stopping=FixedN()), sequential()
    assert fixed.digest != valid.digest
    with pytest.raises(ValueError, match="`look_every`"):
        AlwaysValid(hypothesis="h1", look_every=0)
    with pytest.raises(ValueError, match="`max_items`"):
        AlwaysValid(hypothesis="h1", min_items=9, max_items=3)
