import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from crucible_lora import AdapterPool, AdapterRegistry, create_experiment, train_sync
from crucible_lora.demo import demo_findings
from crucible_lora.errors import (
    AdapterExistsError,
    AdapterNotFoundError,
    CheckpointCorruptError,
    CheckpointNotFoundError,
)
from crucible_lora.formats import ChatFormat
from crucible_lora.pool import fit_weights
from crucible_lora.registered import RegisteredAdapter
from crucible_lora.sealed import MetricValue

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    experiment = create_experiment(
        "a", {"base_model": "reference", "rank": 2, "lr": 1e-2},
        directory=tmp_path_factory.mktemp("lora"),
    )  # fmt: skip
    train_sync(
        experiment, demo_findings(8), epochs=3, checkpoint_every=1, format=ChatFormat(system="Go.")
    )
    return experiment


@pytest.fixture
def registry(tmp_path):
    return AdapterRegistry(tmp_path / "adapters.sqlite")


@pytest.fixture
def filled(registry, experiment):
    for step, tags in ((1, ["old"]), (2, ["new", "good"]), (3, ["new"])):
        registry.register(
            f"v{step}", experiment.checkpoints().get(f"step-00000{step}"), tags=tags,
            base_model="reference", metrics={"loss": 4.0 - step, "exact_match": step / 10},
        )  # fmt: skip
    return registry


def test_the_best_by_loss_is_the_smallest_and_by_accuracy_the_largest(filled):
    assert filled.best("loss").name == "v3"
    assert [a.name for a in filled.top("loss", 2)] == ["v3", "v2"]
    assert [a.name for a in filled.top("exact_match", 9)] == ["v3", "v2", "v1"]
    assert filled.best("exact_match").metrics["exact_match"].direction == "max"
    filled.update_metrics("v1", {"latency": MetricValue(value=1.0, direction="min")})
    filled.update_metrics("v2", {"latency": MetricValue(value=2.0, direction="min")})
    assert filled.best("latency").name == "v1"
    assert filled.get("v1").metrics["loss"].value == 3.0  # the others are kept
    with pytest.raises(AdapterNotFoundError, match="no adapter 'best by nll'; there are: v1, v2"):
        filled.best("nll")


def test_adapters_are_found_by_all_of_their_tags_and_their_base(filled):
    assert [a.name for a in filled.find(tags=["new"])] == ["v2", "v3"]
    assert [a.name for a in filled.find(tags=["good", "new"])] == ["v2"]
    assert filled.find(base_model="other") == ()
    assert len(filled.find(base_model="reference")) == 3
    with pytest.raises(ValueError, match="`tags` must be a sequence"):
        filled.find(tags="new")


def test_a_name_is_taken_once(filled, experiment):
    with pytest.raises(AdapterExistsError, match="'v1' already"):
        filled.register("v1", experiment.checkpoints().get("latest"), base_model="reference")
    filled.delete("v1")
    with pytest.raises(AdapterNotFoundError):
        filled.delete("v1")
    filled.register("v1", experiment.checkpoints().get("latest"), base_model="reference")
    assert set(filled.get("v1").metrics) == {"loss"}  # those of the checkpoint


def test_what_cannot_be_registered_is_named(filled, experiment):
    latest = experiment.checkpoints().get("latest")
    with pytest.raises(ValueError, match="must not be empty"):
        filled.register(" ", latest, base_model="reference")
    with pytest.raises(ValueError, match="must be finite, got nan for 'loss'"):
        filled.register("x", latest, base_model="reference", metrics={"loss": float("nan")})
    with pytest.raises(ValueError, match="`n` must be >= 1"):
        filled.top("loss", 0)
    filled.update_metrics("v1", {"exact_match": MetricValue(value=0.1, direction="min")})
    with pytest.raises(ValueError, match="stored with both"):
        filled.top("exact_match", 1)
    assert [a.name for a in filled.list()] == ["v1", "v2", "v3"]


async def test_an_opened_adapter_answers_as_its_experiments_sampler(filled, experiment):
    opened, direct = filled.open("v3"), experiment.sampler("step-000003")
    answers = [await m.generate("hello", max_tokens=5) for m in (opened, direct)]
    assert answers[0].text == answers[1].text
    assert answers[0].logprobs == answers[1].logprobs
    assert opened.name == "lora/v3"
    assert opened.fingerprint()["system"] == "Go."


def test_an_adapter_that_is_no_longer_what_it_was_does_not_open(registry, tmp_path):
    experiment = create_experiment(
        "b", {"base_model": "reference", "rank": 2}, directory=tmp_path / "lora"
    )
    train_sync(experiment, demo_findings(8), epochs=2, checkpoint_every=1)
    for name in ("one", "two"):
        step = experiment.checkpoints().get(f"step-00000{1 if name == 'one' else 2}")
        registry.register(name, step, base_model="reference")
    file = experiment.checkpoints().get("step-000001").path / "adapter.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointCorruptError):
        registry.open("one")
    # A whole and sealed checkpoint, but another one under the same name.
    other = create_experiment(
        "c", {"base_model": "reference", "rank": 2}, directory=tmp_path / "lora", seed=1
    )
    train_sync(other, demo_findings(8), epochs=1)
    shutil.rmtree(file.parent)
    shutil.copytree(other.checkpoints().get("latest").path, file.parent)
    assert experiment.checkpoints().get("step-000001").step == 1
    with pytest.raises(CheckpointCorruptError, match="step-000001: SHA-256"):
        registry.open("one")
    experiment.checkpoints().delete("step-000002")
    with pytest.raises(CheckpointNotFoundError, match="is gone"):
        registry.open("two")


texts = st.text(min_size=1, max_size=12).filter(lambda t: t.strip())
numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=20)
@given(
    st.dictionaries(
        st.text("abcxyz=,'\"\n ", min_size=1, max_size=8).filter(lambda t: t.strip()),
        st.tuples(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), max_size=3, unique=True),
                  st.dictionaries(st.sampled_from(["loss", "é", "a b"]), numbers, max_size=2)),
        max_size=4,
    )
)  # fmt: skip
def test_a_registry_survives_export_and_import(content):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        one, two = AdapterRegistry(path / "one"), AdapterRegistry(path / "two")
        one._insert(
            [
                RegisteredAdapter(
                    name=name, path=path / "x", sha256="0" * 64, base_model="m",
                    dataset_fingerprint=None, tags=tuple(tags),
                    metrics={k: MetricValue(value=v, direction="min") for k, v in metrics.items()},
                )
                for name, (tags, metrics) in content.items()
            ]
        )  # fmt: skip
        one.export_json(path / "one.json")
        assert two.import_json(path / "one.json") == one.list() == two.list()
        two.export_json(path / "two.json")
        assert (path / "one.json").read_bytes() == (path / "two.json").read_bytes()


def test_an_import_is_whole_or_not_at_all(filled, registry, tmp_path):
    filled.export_json(tmp_path / "all.json")
    other = AdapterRegistry(tmp_path / "other.sqlite")
    other._insert([filled.get("v3")])
    with pytest.raises(AdapterExistsError):
        other.import_json(tmp_path / "all.json")
    assert [a.name for a in other.list()] == ["v3"]
    (tmp_path / "bad.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match="must be an export of a registry"):
        other.import_json(tmp_path / "bad.json")
    (tmp_path / "old.json").write_text(json.dumps({"schema": "x/1"}), encoding="utf-8")
    with pytest.raises(ValueError, match="got 'x/1'"):
        other.import_json(tmp_path / "old.json")


def test_a_pool_keeps_order_weights_and_tags(experiment):
    sampler = experiment.sampler("latest")
    pool = AdapterPool()
    pool.add("one", sampler, weight=3.0, tags=["a", "b"])
    pool.add("two", sampler, tags=["b"])
    assert pool.weights() == {"one": 3.0, "two": 1.0}
    assert pool.weights(normalise=True) == {"one": 0.75, "two": 0.25}
    assert [m.name for m in pool.by_tags(["b"])] == ["one", "two"]
    assert [m.name for m in pool.by_tags(["a", "b"])] == ["one"]
    assert list(pool) == [(sampler, 3.0), (sampler, 1.0)]
    assert pool.get("two") is sampler
    with pytest.raises(AdapterExistsError):
        pool.add("one", sampler)
    pool.remove("one")
    assert len(pool) == 1
    with pytest.raises(AdapterNotFoundError, match="no adapter 'one'; there are: two"):
        pool.get("one")
    for options, message in (({"weight": 0}, "`weight` must be > 0"), ({"tags": "x"}, "`tags`")):
        with pytest.raises(ValueError, match=message):
            pool.add("three", sampler, **options)


async def test_a_pool_is_made_of_the_best_of_a_registry(filled):
    pool = AdapterPool.from_registry(filled, metric="loss", direction="min", top_n=2)
    assert [m.name for m in pool.members()] == ["v3", "v2"]
    tagged = AdapterPool.from_registry(filled, metric="loss", direction="max", tags=["new"])
    assert [m.name for m in tagged.members()] == ["v2", "v3"]
    assert tagged.members()[0].tags == ("new", "good")
    assert (await pool.get("v3").generate("hello", max_tokens=3)).output_tokens <= 3
    with pytest.raises(AdapterNotFoundError, match="with nll"):
        AdapterPool.from_registry(filled, metric="nll", direction="min")


# The probabilities that three members give to five held-out answers.
STACKED = np.array(
    [[0.9, 0.5, 0.1], [0.8, 0.4, 0.2], [0.3, 0.6, 0.9], [0.7, 0.5, 0.4], [0.2, 0.5, 0.8]]
)


def test_stacked_weights_are_those_of_the_concave_problem():
    weights = fit_weights(np.log(STACKED))
    assert weights == pytest.approx([0.676301, 0.0, 0.323699], abs=5e-7)

    def mean_log(w):
        return float(np.log(STACKED @ w).mean())

    assert mean_log(weights) == pytest.approx(-0.617509, abs=5e-7)
    assert mean_log(np.full(3, 1 / 3)) == pytest.approx(-0.657574, abs=5e-7)
    assert max(mean_log(np.eye(3)[k]) for k in range(3)) == pytest.approx(-0.699718, abs=5e-7)

    def loss(x):  # the simplex by a softmax, for an optimiser that knows nothing of it
        w = np.exp(x - x.max())
        return -mean_log(w / w.sum())

    found = optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    assert -found.fun == pytest.approx(mean_log(weights), abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_stacked_weights_are_on_the_simplex_and_better_than_any_member(items, members, seed):
    logprobs = -np.random.default_rng(seed).exponential(3, (items, members))
    weights = fit_weights(logprobs, tolerance=1e-6)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    mixed = np.log(np.exp(logprobs) @ weights).mean()
    assert mixed >= logprobs.mean(axis=0).max() - 2e-6


def test_answers_far_below_the_smallest_number_are_weighed_too():
    # exp(-2000) is 0 in float64: only the ratios within an item matter.
    one = fit_weights(np.log(STACKED))
    assert fit_weights(np.log(STACKED) - 2000) == pytest.approx(one, abs=1e-9)
    assert fit_weights([[0.0, -np.inf], [-np.inf, 0.0]]) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("logprobs", "message"),
    [
        ([-1.0], r"shape \(items, members\), got \(1,\)"),
        ([[float("nan")]], "got NaN or a value above 0"),
        ([[0.5]], "got NaN or a value above 0"),
        ([[-np.inf, -np.inf]], "finite for some member of every item"),
    ],
)
def test_what_is_no_table_of_log_probabilities_is_refused(logprobs, message):
    with pytest.raises(ValueError, match=message):
        fit_weights(logprobs)
