import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest

from crucible_harness import load_experiment, run_sync
from crucible_harness.errors import ConfigError

GOOD = """
name = "small"
seed = 1
dataset = { name = "demo-arithmetic", sample_size = 5 }
[[conditions]]
name = "a"
model = "local/smollm2"
[[conditions]]
name = "b"
ensemble = { models = ["local/smollm2"], samples = 3, normalise = "numeric" }
hedge = { delay = "p95", budget = 0.05 }
temperature = 0.7
[[hypotheses]]
id = "h1"
metric = "accuracy"
treatment = "b"
control = "a"
sesoi = 0.05
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> Path:
        (tmp_path / "exp.toml").write_text(text)
        return tmp_path / "exp.toml"

    return write


def problems(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    return str(caught.value)


def test_a_file_becomes_an_experiment(written):
    experiment, options = load_experiment(written(GOOD))
    assert [c.name for c in experiment.conditions] == ["a", "b"]
    assert len(experiment.dataset) == 5
    assert experiment.hypotheses[0].sesoi == 0.05
    assert options.concurrency == 10
    # one model, opened once, whatever stands around it
    hedged = experiment.conditions[1].model.members()[0]
    assert hedged.members()[0] is experiment.conditions[0].model


def test_the_same_file_gives_the_same_digest_and_another_seed_another(written):
    one = load_experiment(written(GOOD))[0].digest
    assert load_experiment(written(GOOD))[0].digest == one
    assert load_experiment(written(GOOD.replace("seed = 1", "seed = 2")))[0].digest != one
    assert load_experiment(written(GOOD + "[options]\nconcurrency = 3\n"))[0].digest == one
    assert load_experiment(written(GOOD), items=4)[0].digest != one


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("seed = 1", "sead = 1"), ["line 3: unknown key `sead`; did you mean `seed`?", "`seed` is missing"]),
        (("samples = 3", "sampels = 3"), ["unknown key `conditions.1.ensemble.sampels`", "`samples`"]),
        (("sesoi = 0.05", "sesoi = 0"), ["line 18: `hypotheses.0.sesoi`", "greater than 0", "got 0"]),
        (('treatment = "b"', 'treatment = "c"'), ["treatment", "a, b", "'c'"]),
        (('metric = "accuracy"', 'metric = "acuracy"'), ["metric", "'acuracy'"]),
        (('model = "local/smollm2"', 'modle = "local/smollm2"'), ["line 7: unknown key `conditions.0.modle`", "did you mean `model`?"]),
        (("temperature = 0.7", ""), ["`samples` must be 1 at temperature 0"]),
        (("name = \"small\"", "name = [1]"), ["line 2: `name`"]),
        (("[[hypotheses]]", "[[hypotheses"), ["not TOML", "line 13"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(written, change, says):
    said = problems(written(GOOD.replace(*change)))
    assert "exp.toml" in said
    for part in says:
        assert part in said


def test_a_mistake_has_line_key_rule_and_value(written):
    wrong = GOOD.replace("seed = 1", "sead = 1").replace("sesoi = 0.05", "sesoi = 0")
    with pytest.raises(ConfigError) as caught:
        load_experiment(written(wrong))
    by_key = {problem.key: problem for problem in caught.value.problems}
    assert (by_key["sead"].line, by_key["sead"].rule) == (3, "did you mean `seed`?")
    assert (by_key["seed"].line, by_key["seed"].rule) == (None, "must be given")
    sesoi = by_key["hypotheses.0.sesoi"]
    assert (sesoi.line, sesoi.value) == (18, 0)
    assert sesoi.rule == "Input should be greater than 0"
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.problems, str(again)) == (caught.value.problems, str(caught.value))


def test_all_mistakes_are_in_one_message(written):
    said = problems(
        written(GOOD.replace("seed = 1", "sead = 1").replace("sesoi = 0.05", "sesoi = -1"))
    )
    assert "sead" in said
    assert "sesoi" in said


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "missing.toml" in problems(tmp_path / "missing.toml")


def test_paths_are_relative_to_the_file(written, tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"q": "1+1?", "a": "2"}\n{"q": "2+2?", "a": "4"}\n')
    own = GOOD.replace(
        '{ name = "demo-arithmetic", sample_size = 5 }',
        '{ name = "mine", path = "mine.jsonl", task = "math", fields = { input = "q", expected = "a" } }',
    )
    experiment, _ = load_experiment(written(own))
    assert [item.input for item in experiment.dataset] == ["1+1?", "2+2?"]


def test_a_key_is_read_from_the_variable_that_is_named(written, monkeypatch):
    text = GOOD.replace("[[conditions]]", """[models.mine]
model = "openai-compatible/x"
base_url = "http://127.0.0.1:1/v1"
api_key_env = "MY_KEY"
[[conditions]]""", 1).replace('model = "local/smollm2"', 'model = "mine"', 1)  # fmt: skip
    monkeypatch.delenv("MY_KEY", raising=False)
    assert "MY_KEY is not set" in problems(written(text))
    monkeypatch.setenv("MY_KEY", "secret")
    experiment, _ = load_experiment(written(text))
    assert "secret" not in repr(experiment.conditions[0].model)
    assert "secret" not in str(experiment.frozen)


DESIGNED = """
name = "sizes"
seed = 1
authors = ["A. Researcher"]

[dataset]
name = "demo-arithmetic"
limit = 6

[design]
kind = "dose_response"
factor = "n"
levels = [1, 3]

[prompt]
template = "{input}"
answer_hint = "Number only."

[prompt.few_shot]
n = 2
seed = 3
dataset = { name = "own", path = "examples.jsonl" }

[[conditions]]
name = "vote-{n}"
call = "pipeline:vote_{n}"
grid = { n = [1, 3] }

[[hypotheses]]
id = "h1"
metric = "accuracy"
contrast = "trend"
factors = ["n"]
sesoi = 0.05
"""


def test_designs_grids_functions_and_worked_examples_in_a_file(tmp_path):
    (tmp_path / "examples.jsonl").write_text(
        '{"input": "What is 100 + 1?", "expected": "101"}\n'
        '{"input": "What is 100 + 2?", "expected": "102"}\n'
    )
    (tmp_path / "pipeline.py").write_text(
        "def vote_1(item):\n    return '1'\n\n\ndef vote_3(item):\n    return str(item.expected)\n"
    )
    file = tmp_path / "exp.toml"
    file.write_text(DESIGNED)
    experiment, options = load_experiment(file)
    assert [c.name for c in experiment.conditions] == ["vote-1", "vote-3"]
    assert [c.factors["n"] for c in experiment.conditions] == [1, 3]
    assert len(experiment.prompt.messages(experiment.dataset[0])) == 5
    result = run_sync(
        experiment,
        options=replace(options, directory=tmp_path / "runs", trace=False, telemetry=False),
    )
    (found,) = result.analysis.hypotheses
    assert found.contrast.kind == "trend"
    assert found.contrast.estimate is not None
    assert found.contrast.estimate > 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('factor = "n"', "factors = { n = [1, 3] }", "`factors` is no key of a dose_response"),
        ("levels = [1, 3]", "levels = [3, 1]", "ascending"),
        ('kind = "dose_response"', 'kind = "sideways"', "within"),
        ('call = "pipeline:vote_{n}"', 'call = "pipeline:vote_9"', "no function"),
        ('call = "pipeline:vote_{n}"', 'call = "nowhere:vote"', "cannot be imported"),
        ('call = "pipeline:vote_{n}"', "", "`model`, `ensemble`, `call` or `adapter`"),
        ("grid = { n = [1, 3] }", "grid = { n = [1] }", "every combination"),
        ("grid = { n = [1, 3] }", "gird = { n = [1] }", "did you mean `grid`"),
    ],
)
def test_mistakes_in_a_design_are_named(tmp_path, old, new, said):
    (tmp_path / "examples.jsonl").write_text(
        '{"input": "a?", "expected": "101"}\n{"input": "b?", "expected": "102"}\n'
    )
    (tmp_path / "pipeline.py").write_text(
        "def vote_1(item):\n    return '1'\n\n\ndef vote_3(item):\n    return '3'\n"
    )
    file = tmp_path / "exp.toml"
    assert old in DESIGNED
    file.write_text(DESIGNED.replace(old, new))
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_experiment(file)
