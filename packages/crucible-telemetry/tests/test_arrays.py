import math

import numpy as np
import pytest
import scipy.stats

from crucible_telemetry import MemoryStore, export_arrays, start_experiment
from crucible_telemetry.errors import MissingExtraError, UnknownExperimentError


def arm(store, condition, durations, **more):
    with start_experiment(
        name="arms", condition=condition, store=store, capture_spans=False
    ) as experiment:
        for item, duration in durations:
            experiment.record("call", item_id=item, duration_s=duration, outcome="ok", **more)
    return experiment


def test_conditions_meet_on_their_items():
    store = MemoryStore()
    control = arm(store, "control", [("b", 2.0), ("a", 1.0), ("a", 3.0), (None, 9.0)])
    treatment = arm(store, "treatment", [("c", 5.0), ("a", 4.0)], cost_usd=0.5)
    arrays = export_arrays(
        [control, treatment.id], values=["duration_s", "ok", "cost_usd"], reduce="mean", store=store
    )
    assert arrays.experiments == (control.id, treatment.id)
    assert arrays.items == ("a", "b", "c")
    nan = math.nan
    np.testing.assert_array_equal(arrays.values["duration_s"], [[2, 2, nan], [4, nan, 5]])
    np.testing.assert_array_equal(arrays.values["ok"], [[1, 1, nan], [1, nan, 1]])
    np.testing.assert_array_equal(arrays.values["cost_usd"], [[nan, nan, nan], [0.5, nan, 0.5]])
    assert arrays.missing == {"duration_s": 2, "ok": 2, "cost_usd": 4}
    assert arrays.without_item == 1
    assert arrays.values["ok"].dtype == np.float64


def test_the_long_form_has_one_value_per_request():
    store = MemoryStore()
    with start_experiment(name="long", store=store, capture_spans=False) as experiment:
        outcomes = ["ok", "error", "timeout", "cancelled", "unknown"]
        for repeat, outcome in enumerate(outcomes):
            experiment.record("call", item_id="q", repeat=repeat, outcome=outcome, duration_s=1.0)
        experiment.record("call", item_id="p", duration_s=2.0)
        experiment.record("note", item_id="q")  # no duration: no request
    arrays = export_arrays([experiment])
    assert arrays.items == ("p", *["q"] * 5)
    np.testing.assert_array_equal(arrays.repeats, [-1, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(arrays.experiment_of, np.zeros(6))
    np.testing.assert_array_equal(arrays.values["ok"], [math.nan, 1, 0, 0, math.nan, math.nan])


def test_amounts_of_a_request_include_those_inside_it_once(tracer):
    with start_experiment(name="inside", store=MemoryStore()) as experiment:
        tokens = {"gen_ai.usage.input_tokens": 10}
        with tracer.start_as_current_span(
            "request", attributes={"crucible.item.id": "q", "gen_ai.usage.input_tokens": 20}
        ):
            for _ in range(2):
                with tracer.start_as_current_span("call", attributes=tokens):
                    pass
    arrays = export_arrays([experiment], values=["input_tokens"])
    assert arrays.values["input_tokens"].tolist() == [20.0]


def test_a_statistics_package_reads_them_as_they_are():
    store = MemoryStore()
    rng = np.random.default_rng(1)
    base = rng.normal(1.0, 0.1, 30)
    arms = [
        arm(store, name, [(f"q{n}", float(x * slower)) for n, x in enumerate(base)])
        for name, slower in (("control", 1.0), ("treatment", 1.5))
    ]
    durations = export_arrays(arms, values=["duration_s"], reduce="mean").values["duration_s"]
    result = scipy.stats.ttest_rel(durations[1], durations[0])
    assert result.pvalue < 1e-6


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"experiments": []}, "`experiments` must be a sequence"),
        ({"experiments": "exp_x"}, "`experiments` must be a sequence"),
        ({"values": ["latency"]}, "`values` must be some of duration_s"),
        ({"values": []}, "`values` must be some of"),
        ({"by": "model"}, "`by` must be"),
        ({"reduce": "median"}, "`reduce` must be"),
    ],
)
def test_bad_arguments(options, match):
    with start_experiment(name="x", store=MemoryStore(), capture_spans=False) as experiment:
        with pytest.raises(ValueError, match=match):
            export_arrays(**({"experiments": [experiment]} | options))
        with pytest.raises(ValueError, match="must be different"):
            export_arrays([experiment, experiment])
        with pytest.raises(UnknownExperimentError):
            export_arrays(["exp_none"], store=experiment.store)


def test_without_numpy_it_says_which_extra(monkeypatch):
    monkeypatch.setattr("crucible_telemetry.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"crucible-telemetry\[arrays\]"):
        export_arrays(["exp_x"])
