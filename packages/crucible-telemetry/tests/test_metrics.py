import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from crucible_telemetry import (
    MemoryStore,
    SQLiteStore,
    calculate_metrics,
    compare_experiments,
    start_experiment,
)
from crucible_telemetry.errors import UnknownExperimentError
from crucible_telemetry.metrics import percentile, requests_needed, wilson
from crucible_telemetry.metrics.lineage import ROOT, Lineage
from crucible_telemetry.testing import example_row

GRID = [n / 1000 for n in range(1, 1001)]  # 0.001 ... 1.000 s


def started(**options):
    return start_experiment(name="m", store=MemoryStore(), capture_spans=False, **options)


@pytest.mark.parametrize(
    ("p", "value"),
    # numpy.percentile(grid, p), linear
    [(50, 0.5005), (90, 0.9001), (95, 0.95005), (99, 0.99001), (99.9, 0.999001)],
)
def test_percentiles_are_those_of_type_7(p, value):
    found = percentile(GRID, p)
    assert found.value_s == pytest.approx(value, abs=1e-12)
    assert found.value_s == pytest.approx(float(np.percentile(GRID, p)), abs=1e-12)


@pytest.mark.parametrize(
    ("p", "ranks"),
    # np -+ 1.959964 sqrt(np(1 - p)), rounded outward, and one more above (Conover 1999, 3.2)
    [(50, (469, 532)), (90, (881, 920)), (95, (936, 965)), (99, (983, 998))],
)
def test_intervals_end_at_the_ranks_of_conover(p, ranks):
    found = percentile(GRID, p)
    assert found.reliable
    assert (found.low_s, found.high_s) == tuple(rank / 1000 for rank in ranks)


def test_a_bound_whose_rank_does_not_exist_is_none():
    found = percentile(GRID, 99.9)
    assert found.high_s is None
    assert found.low_s == 0.997
    assert not found.reliable
    assert percentile(GRID[:562], 99).reliable is False
    assert percentile(GRID[:563], 99).reliable is True
    assert percentile([], 50).value_s is None
    assert percentile([2.0], 99).value_s == 2.0


def test_how_many_requests_a_percentile_needs():
    assert [requests_needed(p) for p in (50, 90, 95, 99, 99.9)] == [8, 53, 110, 563, 5661]
    assert requests_needed(99, confidence=0.99) > 563
    assert requests_needed(1) == requests_needed(99)
    assert all(not percentile(GRID[:n], 95).reliable for n in range(1, 110))


def test_the_interval_never_covers_less_than_it_says():
    # P(X_(l) <= quantile < X_(u)) = P(l <= Binomial(n, p) <= u - 1), exact.
    worst = 1.0
    for p in (50, 90, 95, 99, 99.9):
        first = requests_needed(p)
        sizes = [*range(first, 3_001), *range(max(first, 3_001), 30_001, 997)]
        spread = [1.959963984540054 * math.sqrt(n * p / 100 * (1 - p / 100)) for n in sizes]
        means = np.array(sizes) * p / 100
        low, high = np.floor(means - spread), np.ceil(means + spread) + 1
        kept = (low >= 1) & (high <= np.array(sizes))
        cover = binom.cdf(high - 1, sizes, p / 100) - binom.cdf(low - 1, sizes, p / 100)
        worst = min(worst, float(cover[kept].min()))
        for n, rank, other in zip(sizes[:50], low[:50], high[:50], strict=True):
            found = percentile([*range(1, n + 1)], p)
            assert (found.low_s, found.high_s) == (
                rank if rank >= 1 else None,
                other if other <= n else None,
            )
    assert worst >= 0.95


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (96, 100, 0.901629, 0.984337),
        (950, 1000, 0.934686, 0.961870),
        (81, 263, 0.255289, 0.366210),  # Newcombe 1998, table I: .2553 to .3662
        (15, 148, 0.062386, 0.160487),  # Newcombe 1998, table I: .0624 to .1605
        (0, 10, 0, 0.277533),
        (10, 10, 0.722467, 1),
    ],
)
def test_wilson_intervals(successes, trials, low, high):
    rate = wilson(successes, trials)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=5e-7)
    assert rate.value == successes / trials


@given(st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_symmetric_and_inside_the_unit_interval(pair):
    successes, trials = pair
    rate, mirror = wilson(successes, trials), wilson(trials - successes, trials)
    if trials == 0:
        assert (rate.value, rate.low, rate.high) == (None, None, None)
        return
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert (1 - mirror.high, 1 - mirror.low) == pytest.approx((rate.low, rate.high), abs=1e-12)


def test_no_token_or_dollar_is_counted_twice(tracer):
    with start_experiment(name="double", store=MemoryStore()) as experiment:

        def call(name, tokens, cost=None):
            attributes = {
                "gen_ai.usage.input_tokens": tokens[0],
                "gen_ai.usage.output_tokens": tokens[1],
            }
            if cost is not None:
                attributes["crucible.cost_usd"] = cost
            return tracer.start_as_current_span(name, attributes=attributes)

        with call("A", (100, 10), 0.003), call("A's child", (100, 10)):
            pass
        with call("B", (50, 5), 0.001):
            pass
        report = calculate_metrics(experiment)
        assert (report.tokens.input, report.tokens.output, report.tokens.total) == (150, 15, 165)
        assert report.cost.total_usd == pytest.approx(0.004, abs=1e-15)
        assert (report.cost.known, report.cost.unknown) == (2, 0)
        assert report.cost.per_request_mean_usd == pytest.approx(0.002)
        assert report.cost.per_success_usd == pytest.approx(0.002)
        assert report.latency.count == 2

        with call("C, without a price", (7, 1)):
            pass
        report = calculate_metrics(experiment)
        assert report.cost.unknown == 1
        assert report.cost.per_success_usd is None
        assert report.cost.total_usd == pytest.approx(0.004, abs=1e-15)
        assert report.cost.per_request_mean_usd == pytest.approx(0.002)
        assert report.tokens.input == 157
        assert "The cost of 1 events with tokens is unknown." in report.warnings


def test_an_aggregate_of_costs_is_not_added_to_what_it_adds_up(tracer):
    with start_experiment(name="aggregate", store=MemoryStore()) as experiment:
        with tracer.start_as_current_span("predict", attributes={"crucible.cost_usd": 0.5}):
            experiment.record("call", model="a", cost_usd=0.125)
            experiment.record("call", model="b", cost_usd=0.375)
        report = calculate_metrics(experiment)
    assert (report.cost.total_usd, report.cost.known) == (0.5, 2)
    assert report.cost.by_model == {"a": 0.125, "b": 0.375}
    assert report.cost.per_request_mean_usd == 0.5


def test_a_cost_on_the_outside_covers_calls_inside_that_state_none(tracer):
    with start_experiment(name="outside", store=MemoryStore()) as experiment:
        with (
            tracer.start_as_current_span("request", attributes={"crucible.cost_usd": 0.5}),
            tracer.start_as_current_span("between"),
        ):
            experiment.record("call", model="m", input_tokens=10, output_tokens=1)
        report = calculate_metrics(experiment)
    assert (report.cost.total_usd, report.cost.unknown) == (0.5, 0)
    assert report.tokens.by_model == {"m": 11}


def test_requests_are_the_outermost_events_unless_named(tracer):
    with start_experiment(name="requests", store=MemoryStore()) as experiment:
        for n in range(3):
            with tracer.start_as_current_span("cell"):
                for _ in range(2):
                    experiment.record(
                        "call", outcome="ok" if n else "error", duration_s=1.0, model="m",
                        cost_usd=0.1, input_tokens=1, output_tokens=1,
                    )  # fmt: skip
        experiment.record("no duration", cost_usd=1.0)
        report = calculate_metrics(experiment)
        named = calculate_metrics(experiment, names={"call"})
    assert report.reliability.total == 3
    assert report.reliability.ok == 3
    assert named.reliability.total == 6
    assert (named.reliability.errors, named.error_types) == (2, {"unknown": 2})
    assert named.requests_per_failure == 3
    assert report.cost.total_usd == pytest.approx(1.6)
    assert named.cost.total_usd == pytest.approx(0.6)  # of the calls and what is inside them
    assert report.cost.per_request_median_usd == pytest.approx(0.2)
    assert named.cost.per_request_median_usd == pytest.approx(0.1)
    assert set(report.by_name) == {"cell", "call"}
    assert report.by_model["m"].latency.count == 6


def test_outcomes_are_judged_and_those_that_cannot_be_are_shown():
    with started() as experiment:
        start = 10**18
        outcomes = ["ok"] * 6 + ["error", "timeout", "cancelled", "unknown"]
        for n, outcome in enumerate(outcomes):
            experiment.record(
                "call", outcome=outcome, duration_s=0.5, start_ns=start + n * 10**9,
                error_type="ValueError" if outcome == "error" else None,
            )  # fmt: skip
        report = calculate_metrics(experiment)
    reliability = report.reliability
    assert reliability.success_rate == wilson(6, 8)
    assert reliability.failure_rate == wilson(2, 8)
    assert (reliability.cancelled, reliability.unknown, reliability.total) == (1, 1, 10)
    assert report.coverage == 0.8
    assert report.error_types == {"ValueError": 1, "unknown": 1}
    assert report.throughput_per_s == pytest.approx(10 / 9.5)  # from the first start to 9 + 0.5 s
    assert report.mtbf_s == pytest.approx(9.5 / 2)
    assert report.requests_per_failure == 5
    assert any("2 of 10 requests are cancelled or unknown" in note for note in report.warnings)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=40))
@settings(max_examples=25, deadline=None)
def test_latency_agrees_with_the_statistics_module(durations):
    with started() as experiment:
        for duration in durations:
            experiment.record("call", duration_s=duration)
        latency = calculate_metrics(experiment).latency
    assert latency.count == len(durations)
    assert latency.mean_s == pytest.approx(statistics.fmean(durations))
    assert latency.median_s == pytest.approx(statistics.median(durations))
    assert latency.variance == pytest.approx(statistics.variance(durations), rel=1e-9, abs=1e-9)
    assert latency.stdev_s == pytest.approx(statistics.stdev(durations), rel=1e-9, abs=1e-9)
    assert (latency.min_s, latency.max_s) == (min(durations), max(durations))
    assert latency.percentile(50).value_s == pytest.approx(statistics.median(durations))


def test_an_empty_experiment_has_no_numbers_and_no_exception():
    with started() as experiment:
        report = calculate_metrics(experiment)
        assert report.events == report.latency.count == report.reliability.total == 0
        for value in (
            report.latency.mean_s, report.latency.stdev_s, report.latency.percentile(99).value_s,
            report.reliability.success_rate.value, report.mtbf_s, report.throughput_per_s,
            report.cost.total_usd, report.cost.per_success_usd, report.tokens.input,
            report.tokens.total, report.coverage,
        ):  # fmt: skip
            assert value is None
        assert "unknown" in report.to_markdown()
        experiment.record("one", duration_s=1.0)
        report = calculate_metrics(experiment)
        assert report.latency.mean_s == 1.0
        assert report.latency.stdev_s is None
        assert report.throughput_per_s is None


def test_missing_events_are_noticed(tmp_path):
    import sqlite3

    with SQLiteStore(tmp_path / "m.sqlite") as store:
        with start_experiment(name="m", store=store, capture_spans=False) as experiment:
            for _ in range(5):
                experiment.record("call", duration_s=1.0)
        deleting = sqlite3.connect(tmp_path / "m.sqlite")
        with deleting:
            deleting.execute("DELETE FROM event WHERE seq = 3")
        deleting.close()
        report = calculate_metrics(experiment.id, store=store)
    assert any("1 events are missing" in note for note in report.warnings)


def test_differences_are_treatment_minus_control():
    store = MemoryStore()
    made = []
    for condition, duration, cost in (("control", 1.0, 0.2), ("treatment", 1.5, 0.1)):
        with start_experiment(
            name="c", condition=condition, store=store, capture_spans=False
        ) as experiment:
            for outcome in ("ok", "error"):
                experiment.record("call", duration_s=duration, outcome=outcome, cost_usd=cost)
        made.append(experiment)
    control, treatment = made
    comparison = compare_experiments(control, [treatment, control.id])
    slower = comparison.differences[treatment.id]
    assert slower["mean_s"].difference == 0.5
    assert slower["mean_s"].ratio == 1.5
    assert slower["p99_s"].difference == 0.5
    assert slower["cost_per_request_usd"].difference == pytest.approx(-0.1)
    assert slower["success_rate"].difference == 0
    assert comparison.differences[control.id]["mean_s"].difference == 0
    with pytest.raises(ValueError, match="`treatments`"):
        compare_experiments(control, [])
    with started() as empty:
        unknown = compare_experiments(control, [empty]).differences[empty.id]["mean_s"]
    assert (unknown.treatment, unknown.difference, unknown.ratio) == (None, None, None)


def test_unknown_experiments_and_bad_arguments_are_refused():
    with pytest.raises(UnknownExperimentError):
        calculate_metrics("exp_nobody", store=MemoryStore())
    with started() as experiment:
        with pytest.raises(ValueError, match="`names` must be a collection"):
            calculate_metrics(experiment, names="call")
        with pytest.raises(ValueError, match="`confidence` must be in"):
            calculate_metrics(experiment, confidence=95)
    with pytest.raises(ValueError, match="`p` must be in"):
        percentile([1.0], 100)
    with pytest.raises(ValueError, match="`successes` must be in"):
        wilson(3, 2)


def test_the_span_that_lies_inside_itself_does_no_harm():
    trace = "ab" * 16
    lineage = Lineage([
        (trace, "01" * 8, "02" * 8), (trace, "02" * 8, "01" * 8), (trace, "03" * 8, "03" * 8),
        (trace, "04" * 8, "03" * 8), (None, None, None),
    ])  # fmt: skip
    assert lineage.parents.count(ROOT) == 3
    assert lineage.covered([1, 1, 1, 1, 1]).count(True) == 2
    assert lineage.nearest([False] * 5) == [ROOT] * 5


@given(st.integers(0, 2**32))
@settings(max_examples=50)
def test_covered_and_nearest_agree_with_walking_up_one_by_one(seed):
    draw = random.Random(seed)
    n = 25
    ids = [f"{k + 1:016x}" for k in range(n)]
    above = [None if k == 0 or draw.random() < 0.3 else draw.randrange(k) for k in range(n)]
    order = draw.sample(range(n), n)
    trace = "0" * 31 + "1"
    lineage = Lineage([(trace, ids[k], ids[above[k]] if above[k] is not None else None) for k in order])  # fmt: skip
    values = [1 if draw.random() < 0.4 else None for _ in range(n)]
    chosen = [value is not None for value in values]

    def ancestors(k):
        while above[k] is not None:
            k = above[k]
            yield k

    for at, k in enumerate(order):
        inside = any(k in ancestors(other) and chosen[order.index(other)] for other in range(n))
        assert lineage.covered(values)[at] == inside
        line = [k, *ancestors(k)]
        nearest = next((x for x in line if chosen[order.index(x)]), None)
        assert lineage.nearest(chosen)[at] == (ROOT if nearest is None else order.index(nearest))


def test_the_same_span_id_in_another_trace_is_another_span():
    rows = [("aa" * 16, "01" * 8, None), ("bb" * 16, "02" * 8, "01" * 8)]
    assert Lineage(rows).parents == [ROOT, ROOT]
    assert example_row()[0] == "exp_a"
