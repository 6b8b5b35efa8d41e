from pathlib import Path

import crucible_telemetry
from crucible_telemetry import MemoryStore, start_experiment
from crucible_telemetry.alerts import CostAbove
from crucible_telemetry.registry import SPANS, find, problems
from crucible_telemetry.training import TrainingLog

# Section 5 of the specifications of all packages.
NAMES = {
    "ensemble": "predict member generate vote evaluate collect",
    "hedging": "request attempt tiers",
    "bench": "compare compare_paired compare_multiple bootstrap permutation_test sample_size "
    "meta_analysis",
    "datasets": "load download evaluate run_code duplicates quality drift",
    "causaltrace": "parse save render probe probe_call",
    "lora": "train step checkpoint evaluate sample",
    "harness": "run cell analyse report verify estimate",
    "training": "step epoch evaluation checkpoint",
    "telemetry": "export flush migrate alert",
}


def test_the_table_has_every_name_once_and_in_order():
    wanted = sorted(f"crucible.{p}.{n}" for p, names in NAMES.items() for n in names.split())
    assert [kind.name for kind in SPANS] == wanted
    assert find("crucible.lora.train").package == "crucible-lora"
    assert find("crucible.training.step").package == "crucible-telemetry"
    assert find("http.request") is None
    assert find("crucible.ensemble.generate").to_dict()["unit"] == "call"


def test_what_is_not_registered_or_missing_is_a_problem():
    assert problems("somebody else's", ["crucible.x"]) == []
    assert problems("crucible.new.span", []) == ["crucible.new.span is not registered"]
    generate = ["gen_ai.request.model", "http.url", "crucible.cost_usd", "crucible.item.id"]
    assert problems("crucible.ensemble.generate", generate) == []
    assert problems("crucible.hedging.tiers", ["crucible.hedging.tear"]) == [
        "crucible.hedging.tiers has the unregistered attribute crucible.hedging.tear"
    ]
    assert problems("crucible.training.step", ["crucible.training.metric.f1"]) == [
        "crucible.training.step has no crucible.training.step",
        "crucible.training.step has no crucible.training.segment",
    ]


def test_what_this_package_records_is_registered():
    with start_experiment(
        name="r", store=MemoryStore(), capture_spans=False, alerts=[CostAbove(0.0)]
    ) as experiment:
        log = TrainingLog(experiment)
        log.step(0, loss=float("nan"), tokens=1, mine=2.0)
        log.epoch(0, loss=1.0)
        log.evaluation(0, f1=0.5)
        log.checkpoint(0, "x", "ab" * 32)
        experiment.record("call", cost_usd=1.0)
        experiment.flush()
        experiment.flush()
        events = list(experiment.events())
    assert len(events) == 6
    for event in events:
        assert problems(event.name, event.attributes) == []


def test_no_deprecated_constant_is_imported():
    for path in Path(crucible_telemetry.__file__).parent.rglob("*.py"):
        assert "semconv" not in path.read_text(encoding="utf-8"), path
