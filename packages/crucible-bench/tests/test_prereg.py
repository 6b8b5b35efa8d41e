"""The digest of a plan, and what an analysis did otherwise."""

import hashlib
import json

import pytest

from crucible_bench import compare, compare_paired
from crucible_bench.prereg import Preregistration

PLAN = {
    "hypothesis": "hedging lowers P99",
    "metric": "latency_s",
    "unit": "s",
    "control": "plain",
    "treatment": "hedged",
    "higher_is_better": False,
    "design": "paired",
    "test": "quantile_difference_99",
    "alternative": "two-sided",
    "alpha": 0.05,
    "confidence": 0.95,
    "sesoi": 0.1,
    "n_planned": 2000,
    "correction": "none",
    "family": "primary",
    "stopping_rule": "fixed n",
}


def test_the_digest_is_sha256_of_canonical_json():
    # echo -n '{"alpha":0.05,...}' | sha256sum
    plan = Preregistration(**PLAN)
    assert plan.digest == "8a3a3e011e4f14c59393102ec8fd4dfb78ea5e7d1585afc5d040b662a7035ef9"
    restored = Preregistration.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert restored == plan
    assert restored.digest == plan.digest


@pytest.mark.parametrize("field", sorted(PLAN))
def test_every_field_changes_the_digest(field):
    other = {
        "higher_is_better": True, "design": "independent", "alternative": "less", "alpha": 0.01,
        "confidence": 0.9, "sesoi": 0.2, "n_planned": 2001,
    }.get(field, "something else")  # fmt: skip
    assert Preregistration(**{**PLAN, field: other}).digest != Preregistration(**PLAN).digest


def test_an_umlaut_is_hashed_as_utf8():
    assert "ü" in json.dumps(Preregistration(**{**PLAN, "unit": "ü"}).to_dict(), ensure_ascii=False)
    plan = Preregistration(**{**PLAN, "unit": "ü"})
    text = json.dumps(plan.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plan.digest == hashlib.sha256(text.encode("utf-8")).hexdigest()


def test_a_kept_plan_has_no_deviation():
    control, treatment = [1.0, 2.0, 3.0, 5.0], [2.0, 2.5, 3.0, 7.0]
    result = compare_paired(control, treatment, labels=("plain", "hedged"), sesoi=0.1)
    for test in ("default", result.test):
        plan = Preregistration(**{**PLAN, "test": test, "n_planned": 4})
        assert plan.deviations(result) == ()


def test_every_deviation_is_listed_as_planned_and_actual():
    control, treatment = {"x": 1.0, "y": 2.0, "z": 4.0}, {"x": 2.0, "y": 2.5, "z": 3.0, "w": 1.0}
    result = compare_paired(
        control, treatment, missing="drop", alternative="less", confidence=0.9, sesoi=0.2
    )
    found = {d.field: (d.planned, d.actual) for d in Preregistration(**PLAN).deviations(result)}
    assert found == {
        "control": ("plain", "control"),
        "treatment": ("hedged", "treatment"),
        "alternative": ("two-sided", "less"),
        "alpha": (0.05, pytest.approx(0.1)),
        "confidence": (0.95, 0.9),
        "sesoi": (0.1, 0.2),
        "test": ("quantile_difference_99", "paired_t"),
        "n_planned": (2000, 3),
        "exclusions": ("none", "1 items left out"),
    }


def test_unequal_arms_and_a_missing_correction_are_deviations():
    plan = Preregistration(
        **{**PLAN, "design": "independent", "test": "default", "n_planned": 3, "correction": "holm"}
    )
    result = compare([1.0, 2, 3], [2.0, 3, 4, 5], labels=("plain", "hedged"), sesoi=0.1)
    found = {d.field: (d.planned, d.actual) for d in plan.deviations(result)}
    assert found == {"n_planned": (3, 4), "correction": ("holm", "none")}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"alpha": 0}, r"`alpha` must be in \(0, 1\), got 0"),
        ({"confidence": 95}, r"`confidence` must be in \(0, 1\), got 95"),
        ({"sesoi": 0}, "`sesoi` must be > 0, got 0"),
        ({"n_planned": 1}, "`n_planned` must be >= 2, got 1"),
        ({"design": "crossover"}, "`design` must be"),
        ({"alternative": "up"}, "`alternative` must be"),
        ({"exclusions": "none"}, "`exclusions` must be a tuple of strings"),
    ],
)
def test_an_impossible_plan_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Preregistration(**{**PLAN, **changes})


def test_another_schema_or_field_is_refused():
    data = Preregistration(**PLAN).to_dict()
    with pytest.raises(ValueError, match="`data` must be crucible.bench.preregistration/1"):
        Preregistration.from_dict({**data, "schema": "crucible.bench.preregistration/2"})
    with pytest.raises(ValueError, match="extra"):
        Preregistration.from_dict({**data, "extra": 1})
