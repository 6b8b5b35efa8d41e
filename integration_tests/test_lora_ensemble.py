"""Three adapters trained here vote, hedged, in an experiment that survives a crash."""

import json

import numpy as np
import pytest

from crucible_ensemble import Ensemble, hedged
from crucible_harness import Condition, Experiment, Metric, RunOptions, run_sync
from crucible_hedging import Hedger
from crucible_lora import AdapterPool, AdapterRegistry, create_experiment, evaluate_sync, train_sync
from crucible_lora.demo import demo_findings
from crucible_lora.pool import fit_weights
from crucible_lora.seeds import across_seeds


def verdict(text):
    """Read the verdict of an answer; a text without one is no vote."""
    try:
        return str(json.loads(text)["verdict"])
    except (ValueError, KeyError, TypeError):
        return None


def right(answered, item):
    """Score a verdict against the item's."""
    return float(answered.value == json.loads(item.expected)["verdict"])


class Item:
    """An item as any data set may have it."""

    def __init__(self, raw):
        self.id, self.input, self.expected = raw["id"], raw["input"], raw["expected"]
        self.metadata = raw["metadata"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three weak adapters: 24 items and 60 updates each, other items and another seed for each."""
    folder = tmp_path_factory.mktemp("lora")
    registry = AdapterRegistry(folder / "adapters.sqlite")
    held_out = demo_findings(40, seed=7, held_out=True)
    reports = []
    for seed in range(3):
        experiment = create_experiment(
            f"weak-{seed}", {"base_model": "reference", "lr": 1e-2}, directory=folder, seed=seed
        )
        train_sync(
            experiment, demo_findings(24, seed=seed), epochs=30, batch_size=16, progress=False
        )
        report = evaluate_sync(
            experiment, held_out, checkpoint="latest", max_tokens=60, progress=False
        )
        registry.register(
            experiment.name, experiment.checkpoints().get("latest"), base_model="reference",
            metrics={"nll": report.metrics["nll"].value}, tags=["weak"],
        )  # fmt: skip
        reports.append(report)
    return folder, registry, reports


def panel(trained):
    """Return the ensemble of the registry's adapters, weighted by held-out likelihood."""
    _, registry, reports = trained
    likelihood = {r.experiment_id.rpartition("-")[0]: [-i.nll for i in r.items] for r in reports}
    found = AdapterPool.from_registry(registry, metric="nll", direction="min", tags=["weak"])
    logprobs = np.array([likelihood[m.name] for m in found.members()]).T
    pool = AdapterPool()
    for member, weight in zip(found.members(), fit_weights(logprobs), strict=True):
        pool.add(member.name, member.sampler, weight=max(float(weight), 1e-6))
    models = [hedged(model, hedger=Hedger(30.0, budget=0.5)) for model, _ in pool]
    return models, Ensemble(
        models, weights=list(pool.weights().values()), vote="weighted_majority", normalise=verdict
    )


def design(trained):
    models, ensemble = panel(trained)
    single = Ensemble([models[0]], normalise=verdict)
    return Experiment(
        "weak-adapters-vote",
        dataset=[Item(raw) for raw in demo_findings(12, seed=9, held_out=True)],
        conditions=[
            Condition("alone", single, max_tokens=60),
            Condition("vote", ensemble, max_tokens=60),
        ],
        metrics=[
            Metric("right", scorer=right, higher_is_better=True, unit="share", bounds=(0.0, 1.0))
        ],
        baseline="alone",
        seed=5,
    )


def test_three_adapters_vote_and_no_answer_is_paid_twice(trained, tmp_path):
    options = RunOptions(progress="none", directory=tmp_path)
    first = run_sync(design(trained), options=options)
    assert (first.status, first.failed) == ("complete", 0)
    # 12 items x 3 adapters: the one that answers alone is the first of the three.
    assert first.calls_sent == 36
    # The adapters are loaded anew and are known by the SHA-256 of their weights.
    again = run_sync(design(trained), options=options)
    assert again.calls_sent == 0
    assert again.analysis.to_dict() == first.analysis.to_dict()
    for name in ("alone", "vote"):
        assert 0 <= first.analysis.conditions[name].metrics["right"].value <= 1
        # Every item was read, whoever was right.
        assert first.analysis.conditions[name].unextracted == 0


def test_the_adapters_are_weak_and_their_seeds_differ(trained):
    _, _, reports = trained
    summary = across_seeds(reports)
    nll = summary.delta["nll"]
    assert nll.n == 3
    assert nll.least < nll.mean < nll.most < 0
    assert summary.delta["exact_match"].most < 0.75
