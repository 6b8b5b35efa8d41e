import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_telemetry import MemoryStore, start_experiment, streaming
from crucible_telemetry.schema import INDEX
from crucible_telemetry.streaming import StreamingMetrics
from crucible_telemetry.testing import example_row


def event(seq, **given):
    made = list(example_row(seq=seq))
    for name, value in given.items():
        made[INDEX[name]] = value
    return tuple(made)


def test_small_differences_of_large_numbers_are_not_lost():
    # specification, section 7, test 11
    for parts in ([4], [1, 3], [1, 1, 1, 1]):
        values = iter([1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16])
        metrics = StreamingMetrics()
        for size in parts:
            metrics.add([next(values) for _ in range(size)])
        snapshot = metrics.snapshot()
        assert (snapshot.mean_s, snapshot.variance) == (1e9 + 10, 30.0)
        assert (snapshot.count, snapshot.min_s, snapshot.max_s) == (4, 1e9 + 4, 1e9 + 16)


VALUES = st.lists(st.floats(0, 1e6), min_size=0, max_size=50)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_two_halves_merged_equal_the_whole(left, right):
    whole, one, other = StreamingMetrics(), StreamingMetrics(), StreamingMetrics()
    whole.add(left + right)
    one.add(left)
    other.add(right)
    merged, wanted = one.merge(other).snapshot(), whole.snapshot()
    assert merged.count == wanted.count
    assert (merged.min_s, merged.max_s) == (wanted.min_s, wanted.max_s)
    if wanted.count:
        assert math.isclose(merged.mean_s, wanted.mean_s, rel_tol=1e-12, abs_tol=1e-9)
    if wanted.count > 1:
        # numpy's two-pass variance
        exact = float(np.var(left + right, ddof=1))
        assert math.isclose(merged.variance, exact, rel_tol=1e-9, abs_tol=1e-6)
    assert one.snapshot().count == len(left)  # neither half changes


def test_quantiles_of_a_long_tail_are_within_one_percent():
    values = np.random.default_rng(0).lognormal(0, 1, 200_000)
    metrics = StreamingMetrics()
    for part in np.array_split(values, 100):
        metrics.add(part.tolist())
    for p, value in metrics.snapshot().percentiles_s.items():
        assert value == pytest.approx(np.percentile(values, p), rel=0.01), p


def test_outcomes_are_counted_and_amounts_inside_do_not_add_twice():
    metrics = StreamingMetrics()
    inside = event(1, trace_id="t", span_id="c", parent_span_id="b", input_tokens=100, outcome="ok")
    between = event(2, trace_id="t", span_id="b", parent_span_id="a", duration_s=1.0)
    around = event(3, trace_id="t", span_id="a", input_tokens=100, cost_usd=0.003, outcome="error")
    alone = event(4, trace_id="u", span_id="a", input_tokens=7, output_tokens=3, cost_usd=0.001)
    metrics.observe([inside, between])
    metrics.observe([around, alone])
    snapshot = metrics.snapshot()
    assert snapshot.outcomes["ok"] == 3
    assert snapshot.outcomes["error"] == 1
    assert (snapshot.input_tokens, snapshot.output_tokens) == (107, 3)
    assert snapshot.cost_usd == pytest.approx(0.004)
    assert snapshot.count == 1
    assert (snapshot.mean_s, snapshot.variance) == (1.0, None)
    doubled = metrics.merge(metrics).snapshot()
    assert doubled.outcomes["ok"] == 6
    assert doubled.input_tokens == 214


def test_nothing_seen_is_none_and_reset_forgets():
    metrics = StreamingMetrics()
    empty = metrics.snapshot()
    assert empty.mean_s is None
    assert empty.cost_usd is None
    assert set(empty.percentiles_s.values()) == {None}
    metrics.add([1.0])
    metrics.reset()
    assert metrics.snapshot() == empty
    assert empty.to_dict()["percentiles_s"]["99.9"] is None


def test_an_experiment_is_measured_while_it_runs():
    with start_experiment(name="live", store=MemoryStore(), capture_spans=False) as experiment:
        for n in range(1, 5):
            experiment.record("call", outcome="ok", duration_s=float(n), output_tokens=n)
        experiment.flush()
        snapshot = experiment.live.snapshot()
        assert (snapshot.count, snapshot.mean_s, snapshot.output_tokens) == (4, 2.5, 10)
        assert snapshot.outcomes["ok"] == 4
        assert snapshot.percentiles_s[50.0] == pytest.approx(2.5)


def test_names_choose_what_is_measured_and_bad_input_is_refused():
    metrics = StreamingMetrics(names=["call"])
    metrics.observe([event(1, duration_s=1.0), event(2, name="other", duration_s=9.0)])
    assert metrics.snapshot().mean_s == 1.0
    with pytest.raises(ValueError, match="`names` must be a collection"):
        StreamingMetrics(names="call")
    with pytest.raises(ValueError, match="`durations_s` must be finite"):
        metrics.add([float("nan")])


def test_the_examples_run():
    assert doctest.testmod(streaming).failed == 0
