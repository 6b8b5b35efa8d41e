"""Acceptance 16. Expected numbers: scipy, and the closed forms of the specification."""

import json

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from crucible_datasets import load
from crucible_datasets.quality import Baseline, detect_drift
from crucible_datasets.quality.drift import psi


def only(report):
    return report.columns[0]


def test_identical_distributions_raise_few_false_alarms():
    rng = np.random.default_rng(20240501)
    alarms = 0
    for _ in range(500):
        then, now = rng.normal(size=(2, 20, 100))
        baseline = Baseline.fit({str(n): then[n] for n in range(20)})
        alarms += detect_drift(baseline, {str(n): now[n] for n in range(20)}).drifted
    assert alarms / 500 <= 0.05


def test_half_a_standard_deviation_is_always_found():
    rng = np.random.default_rng(1)
    for _ in range(100):
        baseline = Baseline.fit({"x": rng.normal(size=500)})
        assert detect_drift(baseline, {"x": rng.normal(0.5, size=500)}).drifted


def test_a_shift_that_does_not_matter_is_significant_and_no_drift():
    rng = np.random.default_rng(2)
    baseline = Baseline.fit({"x": rng.normal(size=200_000)})
    found = only(detect_drift(baseline, {"x": rng.normal(0.02, size=200_000)}))
    assert found.p_value < 0.05
    assert found.drifted is False


def test_the_tests_are_scipys():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=80), rng.exponential(size=120)
    found = only(detect_drift(Baseline.fit({"x": a}), {"x": b}))
    expected = stats.ks_2samp(a, b)
    assert (found.p_value, found.effect) == (expected.pvalue, expected.statistic)


def test_a_thinned_baseline_gives_the_test_of_all_values():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=50_000), rng.normal(0.03, size=30_000)
    baseline = Baseline.fit({"x": a})
    assert len(baseline.columns["x"].values) == 10_000
    found, expected = only(detect_drift(baseline, {"x": b})), stats.ks_2samp(a, b)
    assert found.effect == pytest.approx(expected.statistic, abs=1.1e-4)
    assert abs(np.log10(found.p_value) - np.log10(expected.pvalue)) < 0.5


def test_categories_have_the_numbers_of_the_specification():
    then = {"c": ["a"] * 50 + ["b"] * 30 + ["d"] * 20}
    now = {"c": ["a"] * 40 + ["b"] * 40 + ["d"] * 20}
    found = only(detect_drift(Baseline.fit(then), now))
    assert found.psi == pytest.approx(0.049679, abs=5e-7)
    assert psi([50, 30, 20], [40, 40, 20], smoothing=0) == pytest.approx(0.051083, abs=5e-7)
    assert found.effect == pytest.approx(0.095843, abs=5e-7)
    assert found.effect == pytest.approx(jensenshannon([0.5, 0.3, 0.2], [0.4, 0.4, 0.2], base=2))
    assert (found.statistic, found.p_value) == pytest.approx((2.539683, 0.280876), abs=5e-7)
    assert found.psi_band == "stable"


def test_the_psi_threshold_is_its_null_distribution():
    rng = np.random.default_rng(5)
    baseline = Baseline.fit({"x": rng.normal(size=100)})
    found = only(detect_drift(baseline, {"x": rng.normal(size=100)}))
    assert found.psi_threshold == pytest.approx(0.3384, abs=5e-5)  # chi2(9) * (1/100 + 1/100)


def test_rare_categories_are_pooled_and_new_ones_named():
    then = {"c": ["a"] * 60 + ["b"] * 38 + ["rare"] * 2}
    now = {"c": ["a"] * 60 + ["b"] * 37 + ["new"] * 3}
    found = only(detect_drift(Baseline.fit(then), now))
    assert found.unseen == ("new",)
    # rare (2 + 0) and new (0 + 3) both expect less than 5 and are one category
    expected = stats.chi2_contingency([[60, 38, 2], [60, 37, 3]], correction=False)
    assert found.p_value == pytest.approx(expected.pvalue)


def test_corrections_are_applied():
    rng = np.random.default_rng(6)
    then = {str(n): rng.normal(size=60) for n in range(4)}
    now = {str(n): rng.normal(n / 4, size=60) for n in range(4)}
    reports = {c: detect_drift(Baseline.fit(then), now, correction=c)
               for c in ("none", "bonferroni", "benjamini_hochberg")}  # fmt: skip
    raw = [c.p_value for c in reports["none"].columns]
    assert [c.adjusted_p for c in reports["none"].columns] == raw
    assert [c.adjusted_p for c in reports["bonferroni"].columns] == [min(1, 4 * p) for p in raw]
    bh = stats.false_discovery_control(raw)
    assert [c.adjusted_p for c in reports["benjamini_hochberg"].columns] == pytest.approx(list(bh))


def test_what_cannot_be_compared_is_no_verdict():
    baseline = Baseline.fit({"x": [1, 2, 3], "c": ["a", "b", "a"]})
    found = detect_drift(baseline, {"c": [None, None, None]})
    assert [c.drifted for c in found.columns] == [None, None]
    assert [c.reason for c in found.columns] == ["the column is missing", "every value is null"]
    assert (
        only(detect_drift(baseline, {"x": ["now a text"], "c": ["a"]})).reason
        == "no longer numeric"
    )
    assert not found.drifted


def test_a_baseline_survives_json_and_says_what_it_skipped(tmp_path):
    demo = load("demo-arithmetic")
    baseline = Baseline.fit(demo)
    assert baseline.skipped == {"id": "free text", "input": "free text"}
    assert {"input_words", "input_vocabulary", "operation"} <= baseline.columns.keys()
    baseline.save(tmp_path / "base.json")
    back = Baseline.read(tmp_path / "base.json")
    assert back == baseline
    assert not detect_drift(back, demo).drifted
    json.dumps(detect_drift(back, demo).to_dict())
    with pytest.raises(ValueError, match="must be a baseline of schema"):
        Baseline.from_json("{}")


def test_other_questions_are_a_drift_of_the_text(gsm8k_test, mmlu):
    baseline = Baseline.fit(gsm8k_test)
    mixed = load("demo-arithmetic")
    report = detect_drift(baseline, {"input_words": [6] * len(mixed)})
    assert {c.column: c.drifted for c in report.columns}["input_words"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "`alpha`"),
        ({"min_effect": 2}, "`min_effect`"),
        ({"correction": "x"}, "`correction`"),
    ],
)
def test_bad_arguments_are_named(options, message):
    baseline = Baseline.fit({"x": [1.0, 2.0]})
    with pytest.raises(ValueError, match=message):
        detect_drift(baseline, {"x": [1.0]}, **options)
    with pytest.raises(ValueError, match="must have rows"):
        Baseline.fit({"x": []})
