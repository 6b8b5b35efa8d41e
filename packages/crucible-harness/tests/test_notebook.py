"""The notebook of a report: every hypothesis once more, from the table of results."""

import json
from dataclasses import replace

import pytest
from worlds import Replay, right, simulated, sums

from crucible_ensemble import Completion
from crucible_harness import Condition, Experiment, Hypothesis, Metric, report, run_sync
from crucible_harness.designs import Between, DoseResponse, Factorial
from crucible_harness.options import Budget, ErrorPolicy
from crucible_harness.stopping import AlwaysValid


def test_the_notebook_runs_and_its_assertions_hold(finished):
    import nbclient
    import nbformat

    path = report(finished, formats=("jupyter",))["jupyter"]
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(finished)}}
    )
    client.execute()
    said = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", ()))
    assert "analysis.json follows from the journal" in said
    assert said.count("McNemar") >= 3


def test_the_notebook_notices_a_number_that_was_edited(finished):
    import nbclient
    import nbformat
    from nbclient.exceptions import CellExecutionError

    path = report(finished, formats=("jupyter",))["jupyter"]
    analysis = json.loads((finished / "analysis.json").read_text())
    analysis["hypotheses"][0]["contrast"]["estimate"] += 0.001
    (finished / "analysis.json").write_text(json.dumps(analysis))
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(finished)}}
    )
    with pytest.raises(CellExecutionError, match="not what the journal gives"):
        client.execute()


def carried_out(folder, monkeypatch, capsys) -> str:
    """Execute the cells that compute, in this process; return what they printed."""
    monkeypatch.chdir(folder)
    notebook = json.loads(report(folder, formats=("jupyter",))["jupyter"].read_text())
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        code = "".join(cell["source"])
        if cell["cell_type"] == "code" and "IPython" not in code:
            exec(code, names)
    return capsys.readouterr().out


def short(answered, item) -> float:
    return float(len(answered.text) < 4)


BRIEF = Metric("brief", scorer=short, higher_is_better=True, unit="share")


def claim(id: str, metric: str = "accuracy", **more: object) -> Hypothesis:
    return Hypothesis(
        **{"id": id, "metric": metric, "treatment": "b", "control": "a", "sesoi": 0.05, **more}
    )


class Timed(Replay):
    """Takes and costs something that differs from item to item."""

    async def generate(self, prompt, /, **options):
        answer = await super().generate(prompt, **options)
        n = len(self.name) + int("".join(filter(str.isdigit, prompt[-1]["content"]))) % 97
        return replace(answer, latency_s=0.1 + n / 50, cost_usd=n / 1000)


def timed(name: str, row: str) -> Condition:
    answers = {item.input: outcome for item, outcome in zip(sums(len(row)), row, strict=True)}
    return Condition(name, Timed(name * 3, answers))


A, B = "110100110100110101101001011010", "1111011!1101111011011011111011"


@pytest.mark.parametrize("repeats", [1, 2])
def test_every_kind_of_comparison_is_computed_again(options, monkeypatch, capsys, repeats):
    experiment = Experiment(
        "kinds", dataset=sums(30), seed=3, repeats=repeats,
        conditions=[timed("a", A), timed("b", B)],
        metrics=("accuracy", "latency_s:p95", "latency_s:mean", "cost_usd", "extraction_failed"),
        hypotheses=[
            claim("difference"), claim("same", contrast="equivalence", sesoi=0.4),
            claim("not-worse", contrast="non_inferiority"),
            claim("slower", "latency_s:p95", contrast="difference"),
            claim("longer", "latency_s"), claim("dearer", "cost_usd", contrast="ratio"),
            claim("unread", "extraction_failed"),
        ],
    )  # fmt: skip
    lenient = replace(options, errors=ErrorPolicy(max_failure_rate=1.0))
    said = carried_out(run_sync(experiment, options=lenient).path, monkeypatch, capsys)
    assert "the same difference" in said
    for kind in ("equivalence", "non_inferiority", "ratio"):
        assert f"the same {kind}" in said
    if repeats == 1:  # with repeats, an item counts by those that did not fail
        assert "slower - not computed: no interval: the value lies among failed items" in said


def test_percentiles_are_computed_again_in_their_blocks(options, monkeypatch, capsys):
    experiment = Experiment(
        "tail", dataset=sums(30), seed=3, conditions=[timed("a", A), timed("b", A)],
        metrics=("latency_s:p95", "latency_s:median"),
        hypotheses=[claim("p95", "latency_s:p95"), claim("p50", "latency_s:median")],
    )  # fmt: skip
    said = carried_out(run_sync(experiment, options=options).path, monkeypatch, capsys)
    assert said.count("the same quantile") == 2


def test_conditions_that_share_no_items_are_computed_again(options, monkeypatch, capsys):
    experiment = Experiment(
        "between", dataset=sums(40), seed=3, design=Between(),
        conditions=[Condition(n, simulated(n, accuracy=p)) for n, p in (("a", 0.3), ("b", 0.9))],
        hypotheses=[claim("h1")],
    )  # fmt: skip
    said = carried_out(run_sync(experiment, options=options).path, monkeypatch, capsys)
    assert "h1 - computed again by crucible_bench: the same difference" in said


@pytest.mark.parametrize("within", [True, False])
def test_contrasts_over_factors_are_computed_again(options, monkeypatch, capsys, within):
    levels = {"size": ["s", "m"], "hint": ["no", "yes"]}
    experiment = Experiment(
        "factors", dataset=sums(48), seed=3, design=Factorial(levels, within=within),
        conditions=[
            Condition(s + h, simulated(s + h, accuracy=p), factors={"size": s, "hint": h})
            for (s, h), p in zip(
                (("s", "no"), ("s", "yes"), ("m", "no"), ("m", "yes")), (0.3, 0.5, 0.6, 0.9),
                strict=True,
            )
        ],
    )  # fmt: skip
    said = carried_out(run_sync(experiment, options=options).path, monkeypatch, capsys)
    assert said.count("the same main_effect") == 2
    assert said.count("the same interaction") == 1


def test_a_slope_is_computed_again(options, monkeypatch, capsys):
    experiment = Experiment(
        "doses", dataset=sums(20), seed=3, design=DoseResponse("n", [1, 3, 5]),
        conditions=[
            Condition(f"n{n}", simulated(f"n{n}", accuracy=0.3 + n / 10), factors={"n": n})
            for n in (1, 3, 5)
        ],
    )  # fmt: skip
    said = carried_out(run_sync(experiment, options=options).path, monkeypatch, capsys)
    assert "the same trend" in said


def test_what_counts_of_a_run_that_stopped_early_is_computed_again(options, monkeypatch, capsys):
    experiment = Experiment(
        "stopped", dataset=sums(40), seed=3,
        conditions=[Condition("a", simulated("a", accuracy=0.0)),
                    Condition("b", simulated("b", accuracy=1.0))],
        hypotheses=[claim("h1")], stopping=AlwaysValid(hypothesis="h1", look_every=1),
    )  # fmt: skip
    result = run_sync(experiment, options=options)
    assert result.status == "stopped_early"
    assert "the same difference" in carried_out(result.path, monkeypatch, capsys)


def test_what_counts_of_a_run_that_ran_out_of_money_is_computed_again(options, monkeypatch, capsys):
    class Dear:
        def __init__(self, name: str, text: str | None) -> None:
            self.name, self._text = name, text

        def fingerprint(self) -> dict[str, object]:
            return {"model": self.name}

        async def generate(self, prompt, /, **options):
            said = self._text or right(prompt[-1]["content"])
            return Completion(text=said, model=self.name, cost_usd=0.01, latency_s=0.1)

    experiment = Experiment(
        "poor", dataset=sums(30), seed=3, metrics=("accuracy",),
        conditions=[Condition("a", Dear("dear/a", "-1")), Condition("b", Dear("dear/b", None))],
        hypotheses=[claim("h1")],
    )  # fmt: skip
    budget = Budget(total_usd=0.25, assume_price={"dear": 0.01})
    result = run_sync(experiment, options=replace(options, budget=budget, concurrency=1))
    assert (result.status, result.finished) == ("budget", 25)
    assert result.analysis.items_analysed == 12
    assert "the same difference" in carried_out(result.path, monkeypatch, capsys)


def test_a_metric_of_the_answer_has_a_column_of_its_own(options):
    experiment = Experiment(
        "columns", dataset=sums(6), seed=3, conditions=[Condition("a", simulated())],
        metrics=("accuracy", "extraction_failed", BRIEF),
    )  # fmt: skip
    path = run_sync(experiment, options=options).path
    head = (path / "results.csv").read_text().splitlines()[0].split(",")
    assert {"accuracy", "extraction_failed", "brief"} <= set(head)
