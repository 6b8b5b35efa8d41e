"""Functions as conditions, grids, prompts, worked examples, scorers and judges."""

import json
import re
from dataclasses import replace

import anyio
import pytest
from virtual import virtually
from worlds import Replay, right, simulated, sums

from crucible_datasets import Item
from crucible_ensemble import Completion, Ensemble
from crucible_harness import Condition, Experiment, Metric, analyse, report, run_sync
from crucible_harness.conditions import Output
from crucible_harness.errors import ContaminationError, FingerprintError
from crucible_harness.judging import JudgeScorer
from crucible_harness.prompts import FewShot, Prompt

CALLS = []


def pipeline(item):
    CALLS.append(item.id)
    return Output(text=right(item.input), cost_usd=0.002, latency_s=0.25, metrics={"steps": 3.0})


async def later(item):
    return {"text": "-1" if item.id == "sum/0" else right(item.input), "latency_s": 0.5}


def test_any_function_of_an_item_is_a_condition_and_its_calls_are_never_repeated(options):
    def experiment():
        return Experiment(
            "functions",
            dataset=sums(6),
            conditions=[Condition("sync", call=pipeline), Condition("async", call=later)],
            metrics=["accuracy", "cost_usd", Metric("steps", unit="steps", higher_is_better=False)],
            seed=1,
        )

    CALLS.clear()
    result = run_sync(experiment(), options=replace(options, telemetry=False))
    assert sorted(CALLS) == sorted(sums(6).ids)
    summary = result.analysis.conditions
    assert summary["sync"].metrics["accuracy"].value == 1.0
    assert summary["async"].metrics["accuracy"].value == pytest.approx(5 / 6)
    assert summary["sync"].metrics["steps"].value == 3.0
    assert summary["async"].metrics["steps"].value is None  # not measured is not 0
    assert summary["async"].cost_usd is None
    assert run_sync(experiment(), options=options).calls_sent == 0


async def slow(item):
    await anyio.sleep(2.0)
    return "1"


def test_a_function_takes_as_long_as_the_clock_of_its_event_loop_says(options):
    made = Experiment("slow", dataset=sums(2), conditions=[Condition("slow", call=slow)], seed=1)
    result, _ = virtually(made, options)
    assert result.analysis.conditions["slow"].latency["p50"].value == 2.0


def test_a_function_is_known_by_its_source():
    def same(item):
        return "1"

    def closing(limit):
        def inner(item):
            return str(limit)

        return inner

    def identity(call, **more):
        return Condition("c", call=call, **more).identity()

    assert identity(same) == identity(same)
    assert identity(closing(3)) != identity(closing(4))
    for refused, said in (
        (lambda item: "1", "lambda"),
        (closing([1]), "closes over 'limit'"),
        (print, "no plain function"),
    ):
        with pytest.raises(FingerprintError, match=said):
            identity(refused)
    assert identity(print, fingerprint="v1") == {"fingerprint": "v1"}


def test_a_condition_is_a_model_or_a_function():
    with pytest.raises(ValueError, match="`model` or `call`"):
        Condition("c")
    with pytest.raises(ValueError, match="`model` or `call`"):
        Condition("c", simulated(), call=pipeline)
    with pytest.raises(ValueError, match="`temperature`"):
        Condition("c", simulated(), temperature=-1.0)
    with pytest.raises(ValueError, match="`max_tokens`"):
        Condition("c", simulated(), max_tokens=0)


def test_a_grid_makes_one_condition_for_each_combination():
    model = simulated()
    made = Condition.grid(
        "vote-{n}-{tie}",
        lambda at: Ensemble([model], samples=at["n"], tie=at["tie"]),
        levels={"n": [1, 3], "tie": ["seeded", "abstain"]},
        temperature=0.7,
    )
    assert [c.name for c in made] == [
        "vote-1-seeded", "vote-1-abstain", "vote-3-seeded", "vote-3-abstain",
    ]  # fmt: skip
    assert made[3].factors == {"n": 3, "tie": "abstain"}
    with pytest.raises(ValueError, match="hold each factor"):
        Condition.grid("vote", lambda at: model, levels={"n": [1, 3]})


ITEM = Item(id="q/1", input="Is {metadata.answer} {0}?", expected=1, metadata={"answer": "no"})


def test_the_text_of_an_item_is_never_interpreted():
    prompt = Prompt('Q ({metadata.answer}): {input} {{input}} {"a": 1}')
    (message,) = prompt.messages(ITEM)
    assert message["content"] == 'Q (no): Is {metadata.answer} {0}? {input} {"a": 1}'


@pytest.mark.parametrize(
    "template", ["{input.__class__}", "{input} {inputs}", "{input} {metadata.a.b}"]
)
def test_a_placeholder_that_is_none_is_refused(template):
    with pytest.raises(ValueError, match="`template` may hold"):
        Prompt(template)


def test_a_prompt_that_an_item_cannot_fill_is_refused_before_the_first_call():
    for template, said in (("{input} {metadata.x}", "lacks it"), ("{input} {choices}", "has none")):
        with pytest.raises(ValueError, match=said):
            Experiment("p", dataset=sums(2), conditions=[Condition("a", simulated())], seed=1,
                       prompt=Prompt(template))  # fmt: skip


def test_worked_examples_stand_in_front_and_never_overlap():
    pool = [Item(id=f"e/{i}", input=f"What is {i} + 100?", expected=str(i + 100),
                 metadata={"kind": "odd" if i % 2 else "even", "rationale": f"{i} and 100"})
            for i in range(10)]  # fmt: skip
    shots = FewShot(4, pool, seed=3, stratify_by="kind")
    kinds = [e.metadata["kind"] for e in shots.examples()]
    assert sorted(kinds) == ["even", "even", "odd", "odd"]
    assert shots.examples() == FewShot(4, pool[::-1], seed=3, stratify_by="kind").examples()
    prompt = Prompt(few_shot=shots, chain_of_thought=True, system="Be brief.")
    turns = prompt.messages(sums(1)[0])
    assert [t["role"] for t in turns] == ["system", *["user", "assistant"] * 4, "user"]
    assert turns[2]["content"].endswith(f"#### {shots.examples()[0].expected}")
    assert turns[-1]["content"].endswith("Let's think step by step.")
    folded = Item(id="x", input="WHAT is 0  + 0?", expected="0")
    with pytest.raises(ContaminationError) as caught:
        Experiment("f", dataset=sums(3), conditions=[Condition("a", simulated())], seed=1,
                   prompt=Prompt(few_shot=FewShot(1, [folded], seed=1)))  # fmt: skip
    assert caught.value.ids == ("sum/0",)
    with pytest.raises(ValueError, match="`n` must be in"):
        FewShot(11, pool, seed=3)


def test_a_condition_may_have_a_prompt_of_its_own(options):
    class Echo(Replay):
        async def generate(self, prompt, /, **more):
            return Completion(text=prompt[-1]["content"], model=self.name)

    experiment = Experiment(
        "prompts",
        dataset=sums(2),
        conditions=[
            Condition("plain", Echo("e", {})),
            Condition("polite", Echo("e", {}), prompt=Prompt("Please: {input}")),
        ],
        seed=1,
    )
    result = run_sync(experiment, options=options)
    from crucible_harness.recorded import load_run

    said = {c.condition: c.output for c in load_run(result.path).cells if c.item == "sum/0"}
    assert said == {"plain": "What is 0 + 0?", "polite": "Please: What is 0 + 0?"}


def brevity(answered, item):
    if item.id == "sum/1":
        raise RuntimeError("a bug in a scorer")
    return float(len(answered.text) <= 2)


BRIEF = Metric("brief", scorer=brevity, higher_is_better=True, unit="share", bounds=(0.0, 1.0))


def test_a_scorer_that_fails_leaves_one_score_out_and_keeps_what_was_paid(options):
    experiment = Experiment(
        "scorers",
        dataset=sums(4),
        conditions=[Condition("a", simulated(accuracy=1.0))],
        metrics=["accuracy", BRIEF],
        seed=1,
    )
    result = run_sync(experiment, options=options)
    assert result.failed == 0
    summary = result.analysis.conditions["a"]
    assert summary.metrics["accuracy"].value == 1.0
    assert summary.metrics["brief"].n == 3
    assert result.analysis.missing.rows[0].scorer_errors == 1
    page = report(result.path)["markdown"].read_text()
    assert "| scorer error |" in page
    assert analyse(result.path) == result.analysis


class Judge(Replay):
    """Says "good" of an answer that is right, and both labels of one that is not a number."""

    async def generate(self, prompt, /, **more):
        question, answer = prompt[-1]["content"].split(" -> ")
        self.asked += 1
        if not re.fullmatch(r"\d+", answer):
            return Completion(text="good or bad, I cannot say", model=self.name, cost_usd=0.001)
        said = "good" if right(question) == answer else "bad"
        return Completion(text=f"The answer is {said}.", model=self.name, cost_usd=0.001)


def test_a_judge_scores_by_labels_and_its_calls_are_journaled(options):
    judge = Judge("judge", {})
    scorer = JudgeScorer(judge, rubric="{input} -> {answer}", labels={"good": 1.0, "bad": 0.0})
    experiment = Experiment(
        "judged",
        dataset=sums(30),
        conditions=[Condition("a", simulated(accuracy=0.6), temperature=0.7)],
        metrics=[
            "accuracy",
            Metric("judged", scorer=scorer, higher_is_better=True, unit="share", bounds=(0.0, 1.0)),
        ],
        seed=2,
    )
    result = run_sync(experiment, options=options)
    asked = judge.asked
    assert asked
    from crucible_harness.recorded import load_run

    for cell in load_run(result.path).cells:
        if re.fullmatch(r"\d+", cell.output):
            assert cell.scores["judged"] == cell.scores["accuracy"]
        else:
            assert cell.scores["judged"] is None
    run_sync(experiment, options=options)
    assert judge.asked == asked
    with pytest.raises(ValueError, match="`rubric`"):
        JudgeScorer(judge, rubric="no place", labels={"a": 1.0, "b": 0.0})
    with pytest.raises(ValueError, match="`labels`"):
        JudgeScorer(judge, rubric="{answer}", labels={"a": 1.0})


def test_equal_calls_are_asked_anew_when_responses_are_not_shared(options):
    def sent(share):
        model = simulated()
        experiment = Experiment(
            f"share-{share}",
            dataset=sums(5),
            conditions=[Condition("a", model), Condition("b", model)],
            seed=1,
            share_responses=share,
        )
        return run_sync(experiment, options=options).calls_sent

    assert (sent(True), sent(False)) == (5, 10)


def test_an_item_without_an_answer_is_named_when_accuracy_is_asked():
    items = [Item(id="a", input="?", expected="1"), Item(id="b", input="?", expected=None)]
    with pytest.raises(ValueError, match="b"):
        Experiment("n", dataset=items, conditions=[Condition("c", simulated())], seed=1)
    made = Experiment("n", dataset=items, conditions=[Condition("c", simulated())], seed=1,
                      metrics=["cost_usd"])  # fmt: skip
    assert json.dumps(made.frozen)
