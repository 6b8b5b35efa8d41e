from pathlib import Path

import pytest

from crucible_harness import load_experiment
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
    assert "secret" not in str(experiment.design)
