"""Experiments written as files: the same design again, or a word on what a file cannot say."""

import json
import tomllib
import warnings

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import simulated, sums, told

from crucible_ensemble import Ensemble, OpenAIModel, hedged, open_model
from crucible_ensemble.member import Member
from crucible_harness import (
    Condition,
    Experiment,
    Hypothesis,
    Metric,
    RunOptions,
    load_experiment,
)
from crucible_harness.claims import Criterion
from crucible_harness.dataset_ref import DatasetRef
from crucible_harness.designs import DoseResponse, Factorial
from crucible_harness.errors import RedundantRepeatsWarning
from crucible_harness.hooks import Hooks
from crucible_harness.prompts import Prompt
from crucible_harness.stopping import AlwaysValid
from crucible_hedging import Hedger

DEMO = DatasetRef(name="demo-arithmetic", sample_size=6, seed=3)


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")


def a_scorer(answered, item) -> float:
    return 1.0


OWN = Metric("accuracy", scorer=a_scorer, higher_is_better=True, unit="share", bounds=(0.0, 1.0))
POINTS = Metric("accuracy", higher_is_better=True, unit="points")


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


def test_a_run_folder_holds_the_file_where_a_file_can_say_it(tmp_path):
    from crucible_harness.folder import folder_of

    made = asking()
    folder = folder_of(made, tmp_path)
    folder.prepare(made)
    assert (folder.path / "design.toml").read_text() == made.to_toml()
    other = asking(dataset=sums(3))
    folder_of(other, tmp_path).prepare(other)
    assert not (folder_of(other, tmp_path).path / "design.toml").exists()


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
        ({"metrics": [OWN]},
         "a file cannot say all of: metrics"),
        ({"conditions": [Condition("e", Ensemble([open_model("local/smollm2")], name="other"))]},
         "has the condition's name"),
        ({"metrics": [POINTS]}, "a file cannot say all of: metrics"),
        ({"conditions": [Condition("t", "local/smollm2", temperature=None)]}, "`temperature` None"),
        ({"conditions": [Condition("c", call=a_scorer, fingerprint="1")]}, "should match pattern"),
    ],
)  # fmt: skip
def test_what_a_file_cannot_say_is_named(design, says):
    with pytest.raises(ValueError, match=says):
        asking(**design).to_toml()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hooks": Hooks(strict=True)}, "cannot say `hooks`: it is said where the run is started"),
        ({"journal": "postgresql://h/d"}, "cannot say `journal`"),
        ({"retry_failed": False}, "cannot say `retry_failed`"),
        ({"timeout_s": None}, "cannot say `timeout_s` None"),
    ],
)
def test_what_a_file_cannot_say_of_a_run_is_named(options, says):
    with pytest.raises(ValueError, match=says):
        asking().to_toml(options=RunOptions(**options))


# What a file may hold, beside what every file must: parts that fit each other.
VOTES = (
    {}, {"samples": 3}, {"vote": {"name": "majority", "threshold": "absolute"}},
    {"vote": {"name": "weighted", "by": "accuracy", "classes": 4.0}, "accuracies": [0.9, 0.6]},
    {"vote": {"name": "best_confidence", "calibration": "assume"}, "confidence": "reported"},
    {"vote": "weighted_majority", "weights": [2.0, 1.0], "tie": "priority"},
    {"execution": "quorum", "quorum": 2, "timeout_s": 30.0, "deadline_s": 60.0},
    {"execution": {"name": "sequential", "order": "cheapest", "stop": "sprt"},
     "accuracies": [0.9, 0.6], "price_ranks": [2.0, 1.0]},
    {"execution": {"name": "cascade", "threshold": [0.95], "calibration": "assume"}},
    {"execution": {"name": "hedged", "delay_s": 0.2, "max_backups": 1}},
)  # fmt: skip
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)


def some(**parts: st.SearchStrategy) -> st.SearchStrategy[dict[str, object]]:
    """Draw a table that has some of these keys."""
    return st.fixed_dictionaries({}, optional=parts)


def prompts(pool: str) -> st.SearchStrategy[dict[str, object]]:
    shots = st.fixed_dictionaries(
        {"n": st.integers(1, 3), "dataset": st.just({"name": "pool", "path": pool})},
        optional={"seed": st.integers(0, 9), "stratify_by": st.just("kind")},
    )
    return some(
        template=st.sampled_from(["Q: {input}\nA:", "{metadata.kind}: {input} {{input}}"]),
        system=WORDS, few_shot=shots, chain_of_thought=st.booleans(), answer_hint=WORDS,
    )  # fmt: skip


MODELS = st.sampled_from(["openai/gpt-4o-mini", "openai/gpt-4o"])
HEDGES = some(
    delay=st.sampled_from(["p95", "p99.9", "adaptive", "off", "workload_aware", 0.25, 2.0]),
    budget=st.sampled_from([0.05, 0.5]),
)


@st.composite
def conditions(draw, name: str, pool: str) -> dict[str, object]:
    made = draw(some(max_tokens=st.integers(1, 99), stop=st.lists(WORDS, max_size=2),
                     prompt=prompts(pool), temperature=st.sampled_from([0.5, 1.0])))  # fmt: skip
    made["name"] = name
    vote = draw(st.none() | st.sampled_from(VOTES))
    if vote is None:
        return {**made, "model": draw(MODELS), **draw(some(hedge=HEDGES))}
    ensemble = {"models": ["openai/gpt-4o-mini", "openai/gpt-4o"], **vote}
    if "samples" in vote:
        made["temperature"] = 0.7
    raced = "execution" in vote and dict(vote)["execution"] != "quorum"
    return {**made, "ensemble": ensemble, **({} if raced else draw(some(hedge=HEDGES)))}


RATES = st.floats(0.001, 1.0, allow_nan=False)
PRICES = st.dictionaries(WORDS, RATES | st.tuples(RATES, RATES).map(list), max_size=2)
HOW = some(
    options=some(
        concurrency=st.integers(1, 50), timeout_s=RATES, deadline_s=RATES, trace=st.booleans(),
        durability=st.sampled_from(["process", "power"]),
        retries=some(attempts=st.integers(1, 5), initial_s=RATES),
        errors=some(max_failure_rate=RATES, window=st.integers(20, 99),
                    fatal=st.lists(WORDS, max_size=2)),
    ),
    budget=st.fixed_dictionaries(
        {"total_usd": RATES},
        optional={"per_condition_usd": RATES, "per_item_usd": RATES, "warn_at": RATES,
                  "on_exceed": st.sampled_from(["stop", "raise"]), "assume_price": PRICES},
    ),
    limits=st.dictionaries(
        WORDS, some(concurrency=st.integers(1, 9), requests_per_minute=RATES), max_size=2
    ),
    slo=st.just([{"percentile": 95.0, "threshold_s": 1.5, "condition": "a"}]),
)  # fmt: skip
H1 = {"id": "h1", "metric": "accuracy", "treatment": "b", "control": "a", "sesoi": 0.05}
HYPOTHESES = some(
    direction=st.sampled_from(["greater", "less"]), text=WORDS, family=WORDS, alpha=RATES.map(
        lambda x: x / 2), contrast=st.sampled_from(["difference", "ratio", "non_inferiority"]),
    kind=st.sampled_from(["confirmatory", "exploratory"]),
    criteria=st.just([{"metric": "accuracy", "condition": "b", "at_least": 0.5}]),
).map(lambda said: [{**H1, **said}])  # fmt: skip


@st.composite
def files(draw, items: str, pool: str) -> dict[str, object]:
    made = draw(
        some(
            description=WORDS, repeats=st.integers(1, 3), baseline=st.just("a"),
            share_responses=st.booleans(), authors=st.lists(WORDS, max_size=2),
            tags=st.lists(WORDS, max_size=2), prompt=prompts(pool),
            design=st.sampled_from([{"kind": "between", "block_by": "kind"},
                                    {"kind": "within", "counterbalance": "random"}]),
            metrics=st.sampled_from([["accuracy", "latency_s:p95"], ["cost_usd:sum", "accuracy"]]),
            hypotheses=HYPOTHESES,
        )
    )  # fmt: skip
    dataset = draw(some(sample_size=st.integers(2, 6), seed=st.integers(0, 9)))
    stopped = made.get("hypotheses") == [H1] and made.get("design", {}).get("kind") != "between"
    if stopped and draw(st.booleans()):
        made["stopping"] = {"hypothesis": "h1", "look_every": 2}
    return {
        "name": draw(WORDS), "seed": draw(st.integers(0, 99)),
        "dataset": {"name": "own", "path": items, **dataset}, **made,
        "conditions": [draw(conditions("a", pool)), draw(conditions("b", pool))], **draw(HOW),
    }  # fmt: skip


@pytest.fixture(scope="module")
def own_items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    for name, first in (("items", 0), ("pool", 100)):
        lines = [
            json.dumps({"input": f"{n} + 1?", "expected": str(n + 1), "kind": "ab"[n % 2]})
            for n in range(first, first + 6)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


def read_text(text: str, folder) -> tuple[Experiment, RunOptions]:
    file = folder / "exp.toml"
    file.write_text(text, encoding="utf-8")
    return load_experiment(file)


@settings(max_examples=60)
@given(st.data())
def test_what_a_file_says_is_written_and_read_back_as_it_was(own_items, data):
    fields = {"metadata": ["kind"]}
    table = data.draw(files(str(own_items / "items.jsonl"), str(own_items / "pool.jsonl")))
    table["dataset"]["fields"] = fields
    for prompt in (table.get("prompt"), *(c.get("prompt") for c in table["conditions"])):
        if prompt and "few_shot" in prompt:
            prompt["few_shot"]["dataset"]["fields"] = fields
    text = tomli_w.dumps(table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RedundantRepeatsWarning)
        read, options = read_text(text, own_items)
        built = Experiment(
            read.name, dataset=read.dataset_ref,
            **{name: getattr(read, name) for name in (
                "conditions", "metrics", "seed", "hypotheses", "baseline", "prompt", "repeats",
                "design", "stopping", "share_responses", "description", "authors", "tags",
            )},
        )  # fmt: skip
        for experiment in (built, read):  # as if from Python, and as it came from its file
            again, options_again = read_text(experiment.to_toml(options=options), own_items)
            assert again.digest == read.digest
            assert options_again == options


def test_a_file_with_words_of_the_command_is_written_as_it_was_run(tmp_path):
    file = tmp_path / "exp.toml"
    file.write_text(everything().to_toml())
    read, _ = load_experiment(file, items=3)
    (tmp_path / "other.toml").write_text(read.to_toml())
    again, _ = load_experiment(tmp_path / "other.toml")
    assert len(again.dataset) == 3
    assert again.digest == read.digest


def test_members_with_names_of_their_own_are_not_written_without_them():
    vote = Ensemble([Member(open_model("openai/gpt-4o-mini"), name="mine")], name="vote")
    with pytest.raises(ValueError, match="cannot say names, families and ranks"):
        asking(conditions=[Condition("vote", vote)]).to_toml()


def test_a_reference_is_loaded_and_checked():
    assert len(asking().dataset) == 6
    with pytest.raises(ValueError, match="must not both be given"):
        DatasetRef(name="demo-arithmetic", limit=1, sample_size=1)
    with pytest.raises(ValueError, match="`limit` must be >= 1, got 0"):
        DatasetRef(name="demo-arithmetic", limit=0)
    with pytest.raises(ValueError, match=r"`limit` must be in \[1, 162\], got 1000"):
        DatasetRef(name="demo-arithmetic", limit=1000).load()
