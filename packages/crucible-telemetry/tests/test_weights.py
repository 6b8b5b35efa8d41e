import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_telemetry import MemoryStore, calculate_metrics, compare_experiments, start_experiment
from crucible_telemetry.metrics.summaries import effective_number, weighted_quantile


def sampled(rate, calls):
    """Record calls that are all in the sample, of (key or None, duration, outcome)."""
    experiment = start_experiment(
        name="s", store=MemoryStore(), seed=0, sample_rate=rate, capture_spans=False
    )
    keys = iter(range(10**9))
    for keyed, duration, outcome in calls:
        before = experiment.stats().recorded
        while experiment.stats().recorded == before:
            experiment.record(
                "call",
                sample_key=str(next(keys)) if keyed else None,
                duration_s=duration,
                outcome=outcome,
                input_tokens=10,
                output_tokens=1,
                cost_usd=0.25,
                model="m",
            )
    experiment.stop()
    return calculate_metrics(experiment)


def test_counts_and_sums_stand_for_what_was_left_out_and_say_so():
    report = sampled(0.25, [(True, 1.0, "ok")] * 9 + [(True, 2.0, "error")])
    assert report.estimated
    assert any("each event standing for 1 / sample_rate" in note for note in report.warnings)
    assert report.events == 10
    assert (report.reliability.total, report.reliability.ok, report.reliability.errors) == (
        40,
        36,
        4,
    )
    assert report.latency.count == 40
    assert report.latency.mean_s == pytest.approx(1.1)
    # Of the sample itself: its variance, its size in every interval.
    assert report.latency.variance == pytest.approx(np.var([1.0] * 9 + [2.0], ddof=1))
    assert report.reliability.success_rate.low == pytest.approx(0.595850, abs=1e-6)  # Wilson, 9/10
    assert report.cost.total_usd == 10.0
    assert report.cost.per_request_mean_usd == 0.25
    assert (report.tokens.input, report.tokens.output) == (400, 40)
    assert report.tokens.per_request_mean == 11
    assert report.error_types == {"unknown": 4}
    assert report.requests_per_failure == 10


def test_events_of_different_weight_have_a_weighted_mean_and_no_interval():
    report = sampled(0.5, [(True, 1.0, "ok"), (False, 4.0, "error")])
    assert report.latency.mean_s == pytest.approx((2 * 1.0 + 4.0) / 3)
    assert report.reliability.success_rate.value == pytest.approx(2 / 3)
    p50 = report.latency.percentile(50)
    assert (p50.low_s, p50.high_s, p50.reliable) == (None, None, False)
    assert 1.0 <= p50.value_s <= 4.0
    assert effective_number([2.0, 1.0]) == pytest.approx(9 / 5)  # Kish


def test_without_sampling_nothing_is_estimated():
    report = sampled(1.0, [(False, 1.0, "ok")] * 3)
    assert report.estimated is False
    assert report.to_dict()["estimated"] is False
    assert (report.reliability.total, report.tokens.input) == (3, 30)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=30), st.floats(0, 1), st.floats(0.1, 10))
def test_equal_weights_give_the_plain_quantile_of_numpy(values, q, weight):
    ordered = sorted(values)
    found = weighted_quantile(ordered, [weight] * len(ordered), q)
    assert found == pytest.approx(float(np.quantile(ordered, q)), rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1e3), st.floats(0.1, 10)), min_size=1, max_size=30),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_weighted_quantile_stays_inside_and_grows_with_q(pairs, p, q):
    ordered, weights = zip(*sorted(pairs), strict=True)
    low, high = (weighted_quantile(ordered, weights, x) for x in sorted((p, q)))
    assert ordered[0] <= low <= high + 1e-9
    assert high <= ordered[-1] + 1e-9


def test_a_comparison_subtracts_the_control():
    store = MemoryStore()
    arms = []
    for condition, duration in (("control", 1.0), ("treatment", 1.5)):
        with start_experiment(
            name="c", condition=condition, store=store, capture_spans=False
        ) as experiment:
            for _ in range(4):
                experiment.record("call", duration_s=duration, outcome="ok", cost_usd=duration)
        arms.append(experiment)
    comparison = compare_experiments(arms[0], [arms[1]])
    found = comparison.differences[arms[1].id]
    assert (found["mean_s"].difference, found["mean_s"].ratio) == (0.5, 1.5)  # slower
    assert found["p99.9_s"].difference == 0.5
    assert found["success_rate"].difference == 0.0
    assert found["cost_per_request_usd"].difference == 0.5
    assert "p_value" not in str(comparison.to_dict())
