"""What an OpenTelemetry user sees of an analysis, and that scores, ids and labels stay out of it."""

import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from crucible_bench import bootstrap, compare, compare_multiple, compare_paired, sample_size
from crucible_bench.meta import meta_analysis
from crucible_bench.permutations import permutation_test
from crucible_bench.power import PairedT

X, Y = np.random.default_rng(0).normal(size=(2, 12))
SECRET = "label-of-a-customer"
IDS = [f"{SECRET}-{i}" for i in range(12)]
OTHERS = [f"other-{SECRET}-{i}" for i in range(12)]


@pytest.fixture
def spans(monkeypatch):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("crucible_bench.spans.trace.get_tracer", provider.get_tracer)
    return exporter


COMPARED = {"test", "rule", "n_control", "n_treatment", "outcome", "estimate", "p_value", "interval_low", "interval_high", "warnings"}  # fmt: skip
CALLS = {
    "compare": (lambda: compare(X, Y, labels=(SECRET, "b"), ids=(IDS, OTHERS)), COMPARED),
    "compare_paired": (
        lambda: compare_paired(X, Y, labels=(SECRET, "b"), cluster=np.arange(12) // 2),
        COMPARED | {"n_clusters"},
    ),
    "compare_multiple": (
        lambda: compare_multiple({SECRET: X, "b": Y, "c": -X}, paired=True, ids=IDS),
        {"test", "n_groups", "n_comparisons", "p_value", "warnings"},
    ),
    "bootstrap": (
        lambda: bootstrap("mean", X, rng=1),
        {
            "test",
            "n_control",
            "n_resamples",
            "estimate",
            "interval_low",
            "interval_high",
            "warnings",
        },
    ),
    "permutation_test": (
        lambda: permutation_test(X, Y, rng=1),
        {"test", "n_control", "n_treatment", "n_resamples", "estimate", "p_value"},
    ),
    "sample_size": (lambda: sample_size(PairedT(), effect=0.5), {"test", "n_control"}),
    "meta_analysis": (
        lambda: meta_analysis([0.1, 0.3, 0.2], [0.01, 0.02, 0.01]),
        {"test", "estimate", "p_value", "interval_low", "interval_high"},
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_analysis_is_a_span_with_its_numbers(spans, name):
    call, attributes = CALLS[name]
    call()
    outer = spans.get_finished_spans()[-1]
    assert outer.name == f"crucible.bench.{name}"
    assert set(outer.attributes) == {f"crucible.bench.{a}" for a in attributes}


@pytest.mark.parametrize("name", CALLS)
def test_no_label_and_no_id_leaves_in_a_span(spans, name):
    CALLS[name][0]()
    for span in spans.get_finished_spans():
        assert SECRET not in f"{span.name} {dict(span.attributes)} {span.events}"


def test_the_numbers_are_those_of_the_result(spans):
    found = compare_paired(X, Y)
    span = next(s for s in spans.get_finished_spans() if s.name == "crucible.bench.compare_paired")
    assert span.attributes["crucible.bench.p_value"] == found.p_value
    assert span.attributes["crucible.bench.estimate"] == found.difference
    assert span.attributes["crucible.bench.outcome"] == "continuous"


def test_an_error_is_seen(spans):
    with pytest.raises(ValueError, match="`rng` is required"):
        permutation_test(X, Y)
    (span,) = spans.get_finished_spans()
    assert not span.status.is_ok
    assert span.events[0].name == "exception"


def test_a_comparison_and_what_it_calls_are_one_trace(spans):
    compare_paired(X, Y, test="permutation", rng=1)
    *inner, outer = spans.get_finished_spans()
    assert outer.name == "crucible.bench.compare_paired"
    assert {s.parent.span_id for s in inner} == {outer.context.span_id}


def test_what_is_not_known_is_left_out(spans):
    flat = compare_paired([2.0, 2.0], [2.0, 2.0])
    assert flat.p_value is None
    attributes = spans.get_finished_spans()[-1].attributes
    assert "crucible.bench.p_value" not in attributes
    assert attributes["crucible.bench.warnings"] == 1
