"""Experiments written as files: the same design again, or a word on what a file cannot say."""

import tomllib

import pytest
from worlds import simulated, sums, told

from crucible_ensemble import Ensemble, OpenAIModel, hedged, open_model
from crucible_harness import Condition, Experiment, Hypothesis, Metric, load_experiment
from crucible_harness.claims import Criterion
from crucible_harness.dataset_ref import DatasetRef
from crucible_harness.designs import DoseResponse, Factorial
from crucible_harness.prompts import Prompt
from crucible_harness.stopping import AlwaysValid
from crucible_hedging import Hedger

DEMO = DatasetRef(name="demo-arithmetic", sample_size=6, seed=3)


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")


def a_scorer(answered, item) -> float:
    return 1.0


def asking(**design: object) -> Experiment:
    return Experiment(
        **{
            "name": "asked", "seed": 4, "dataset": DEMO,
            "conditions": [Condition("plain", "openai/gpt-4o-mini")], **design,
        }
    )  # fmt: skip


def everything() -> Experiment:
    mini = open_model("openai/gpt-4o-mini")
    own = OpenAIModel("x", name="openai-compatible/x", base_url="http://127.0.0.1:9/v1")
    hedger = Hedger("p95", budget=0.05)
    return asking(
        description='Quoted "words", a back\\slash,\na line, é 漢 \x7f.', authors=["A. Researcher"],
        tags=["one", "two"], baseline="plain",
        metrics=["accuracy", "latency_s:p95", "cost_usd"],
        prompt=Prompt("Problem: {input}\n", system="Be brief.", answer_hint="A number."),
        conditions=[
            Condition("plain", mini, temperature=0.7),
            Condition(
                "vote", Ensemble([mini, own], samples=3, normalise="numeric", name="vote",
                                 weights=[2.0, 1.0], vote="weighted_majority"),
                temperature=0.7, max_tokens=50, stop=["\n"], prompt=Prompt(chain_of_thought=True),
            ),
            Condition("raced", hedged(own, hedger=hedger)),
            Condition(
                "raced-vote",
                Ensemble([hedged(m, hedger=hedger) for m in (mini, own)], name="raced-vote"),
            ),
            Condition("function", call=told),
        ],
        hypotheses=[
            Hypothesis(
                id="h1", metric="accuracy", treatment="vote", control="plain", sesoi=0.05,
                text="A vote helps.",
                criteria=[Criterion(metric="latency_s:p95", condition="vote", at_most=2.0)],
            ),
            Hypothesis(id="h2", metric="cost_usd", treatment="vote", control="plain", sesoi=0.5,
                       contrast="ratio", direction="less", family="price", alpha=0.01),
        ],
        stopping=AlwaysValid(hypothesis="h1", look_every=5, max_items=6),
    )  # fmt: skip


def test_what_python_says_a_file_says_too(tmp_path):
    made = everything()
    text = made.to_toml()
    table = tomllib.loads(text)
    assert table["dataset"] == {"name": "demo-arithmetic", "sample_size": 6, "seed": 3}
    assert table["conditions"][3]["hedge"] == {"delay": "p95", "budget": 0.05}
    assert table["models"]["openai-compatible/x"]["base_url"] == "http://127.0.0.1:9/v1"
    assert "sk-none" not in text
    (tmp_path / "exp.toml").write_text(text)
    read, _ = load_experiment(tmp_path / "exp.toml")
    assert read.digest == made.digest
    assert read.to_toml() == text  # what came from a file is that file


def test_designs_over_factors_are_written(tmp_path):
    levels = {"size": ["one", "two", "three"], "hint": [False, True]}
    factorial = asking(
        design=Factorial(levels),
        conditions=[
            Condition(f"{a}-{b}", "openai/gpt-4o-mini", factors={"size": a, "hint": b},
                      prompt=Prompt(answer_hint=f"{a} {b}"))
            for a in levels["size"] for b in levels["hint"]
        ],
        hypotheses=[Hypothesis(id="h1", metric="accuracy", contrast="interaction", sesoi=0.1,
                               factors=("size", "hint"), levels=("three", True))],
    )  # fmt: skip
    doses = asking(
        design=DoseResponse("n", [16, 64]),
        conditions=[
            Condition(f"n{n}", "openai/gpt-4o-mini", max_tokens=n, factors={"n": n})
            for n in (16, 64)
        ],
    )
    for number, made in enumerate((factorial, doses)):
        file = tmp_path / f"{number}.toml"
        file.write_text(made.to_toml())
        assert load_experiment(file)[0].digest == made.digest


@pytest.mark.parametrize(
    ("design", "says"),
    [
        ({"dataset": sums(3)}, "`dataset` must be a DatasetRef"),
        ({"conditions": [Condition("s", simulated())]}, "'s': a SimulatedModel cannot be opened"),
        ({"metrics": [Metric("accuracy", a_scorer, unit="share", bounds=(0.0, 1.0))]},
         "a file cannot say all of: metrics"),
        ({"conditions": [Condition("e", Ensemble([open_model("local/smollm2")], name="other"))]},
         "has the condition's name"),
        ({"metrics": [Metric("accuracy", unit="points")]}, "a file cannot say all of: metrics"),
        ({"conditions": [Condition("t", "local/smollm2", temperature=None)]}, "`temperature` None"),
        ({"conditions": [Condition("c", call=a_scorer, fingerprint="1")]}, "should match pattern"),
    ],
)  # fmt: skip
def test_what_a_file_cannot_say_is_named(design, says):
    with pytest.raises(ValueError, match=says):
        asking(**design).to_toml()


def test_a_reference_is_loaded_and_checked():
    assert len(asking().dataset) == 6
    with pytest.raises(ValueError, match="must not both be given"):
        DatasetRef(name="demo-arithmetic", limit=1, sample_size=1)
    with pytest.raises(ValueError, match="`limit` must be >= 1, got 0"):
        DatasetRef(name="demo-arithmetic", limit=0)
    with pytest.raises(ValueError, match=r"`limit` must be in \[1, 162\], got 1000"):
        DatasetRef(name="demo-arithmetic", limit=1000).load()
