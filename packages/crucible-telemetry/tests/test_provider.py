import pytest

SDK = """
import logging, sys, warnings
logging.basicConfig(level="WARNING")
import crucible_telemetry
from crucible_telemetry import MemoryStore, start_experiment
from crucible_telemetry.errors import SampledProviderWarning, UnsupportedProviderError
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider, ConcurrentMultiSpanProcessor, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
tracer = trace.get_tracer("library")

def span(name):
    with tracer.start_as_current_span(name):
        pass

def names(experiment):
    return [event.name for event in experiment.events()]
"""


def test_importing_installs_nothing(run_script):
    run_script(
        """
        import sys, threading, signal, pathlib
        import crucible_telemetry
        heavy = "opentelemetry.sdk sqlalchemy psycopg numpy pyarrow pandas rich anyio torch " \\
            "transformers datasets ray asyncio trio".split()
        def check():
            loaded = [name for name in heavy if name in sys.modules]
            assert not loaded, loaded
        check()
        assert "crucible_telemetry.experiment" not in sys.modules  # names load on first use
        for name in crucible_telemetry.__all__:
            getattr(crucible_telemetry, name)
        for name in "alerts otlp live dashboard windows query registry redaction training".split():
            getattr(crucible_telemetry, name)
        check()
        assert threading.active_count() == 1
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert list(pathlib.Path().iterdir()) == []
        from opentelemetry import trace
        assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        """
    )


def test_a_provider_installed_first_keeps_all_its_spans(run_script):
    run_script(
        SDK
        + """
provider, exporter = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
span("before")
with start_experiment(name="first", store=MemoryStore()) as first:
    span("one")
with start_experiment(name="second", store=MemoryStore()) as second:
    span("two")
span("after")
assert names(first) == ["one"] and names(second) == ["two"]
theirs = [s.name for s in exporter.get_finished_spans() if not s.name.startswith("crucible.")]
assert theirs == ["before", "one", "two", "after"], theirs
assert len(provider._active_span_processor._span_processors) == 2  # ours was added once
"""
    )


def test_ours_accepts_processors_of_others(run_script):
    run_script(
        SDK
        + """
exporter = InMemorySpanExporter()
with start_experiment(name="ours", store=MemoryStore()) as experiment:
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
    span("both")
assert names(experiment) == ["both"]
assert [s.name for s in exporter.get_finished_spans()][0] == "both"
assert experiment.stop().sampler == "AlwaysOnSampler"
"""
    )


def test_shutting_the_provider_down_loses_nothing(run_script):
    run_script(
        SDK
        + """
class Counting(MemoryStore):
    rows = 0
    def append(self, rows):
        super().append(rows)
        Counting.rows += len(rows)

experiment = start_experiment(name="x", store=Counting(), flush_interval_s=60)
for _ in range(100):
    span("queued")
provider = trace.get_tracer_provider()
provider.shutdown()
assert Counting.rows == 100, Counting.rows
experiment.record("goes on")
assert len(names(experiment)) == 101
"""
    )


def test_a_process_that_ends_without_stop_loses_nothing(run_script, tmp_path):
    run_script(
        SDK
        + """
experiment = start_experiment(name="x", store=sys.argv[1], flush_interval_s=60)
experiment.record("recorded")
span("spanned")
tracer.start_span("never ended")
""",
        tmp_path / "left.sqlite",
    )
    from crucible_telemetry import SQLiteStore, query

    with SQLiteStore(tmp_path / "left.sqlite") as store:
        (record,) = query.experiments(store)
        assert record.state == "interrupted"
        assert [e.name for e in query.events(store, record.id)] == ["recorded", "spanned"]


def test_a_sampling_provider_warns_and_is_named_in_the_record(run_script):
    run_script(
        SDK
        + """
trace.set_tracer_provider(TracerProvider(sampler=sampling.TraceIdRatioBased(0.5)))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    experiment = start_experiment(name="x", store=MemoryStore())
assert [w.category for w in caught] == [SampledProviderWarning]
assert "TraceIdRatioBased{0.5}" in str(caught[0].message)
assert experiment.stop().sampler == "TraceIdRatioBased{0.5}"
"""
    )


@pytest.mark.parametrize(
    ("prepare", "env"),
    [
        ("pass", {"OTEL_SDK_DISABLED": "true"}),
        ("trace.set_tracer_provider(trace.NoOpTracerProvider())", {}),
        (
            "trace.set_tracer_provider(TracerProvider("
            "active_span_processor=ConcurrentMultiSpanProcessor(2)))",
            {},
        ),
    ],
    ids=["disabled", "not the SDK's", "concurrent"],
)
def test_a_provider_that_cannot_be_captured_is_refused_and_record_still_works(
    run_script, prepare, env
):
    run_script(
        SDK
        + f"""
import pathlib
{prepare}
try:
    start_experiment(name="x")
except UnsupportedProviderError as error:
    assert "capture_spans=False" in str(error)
else:
    raise SystemExit("not refused")
assert not pathlib.Path(".crucible").exists()
with start_experiment(name="x", store=MemoryStore(), capture_spans=False) as experiment:
    experiment.record("recorded")
    assert names(experiment) == ["recorded"]
""",
        env=env,
    )


def test_an_instrumented_sqlite3_does_not_feed_itself(run_script, tmp_path):
    run_script(
        SDK
        + """
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
SQLite3Instrumentor().instrument()
with start_experiment(name="x", store=sys.argv[1]) as experiment:
    for n in range(1_000):
        experiment.record("event", n=n)
    experiment.flush()
    assert len(list(experiment.events())) == 1_000
    import sqlite3
    theirs = sqlite3.connect(":memory:")
    theirs.cursor().execute("SELECT 1")
    theirs.close()
    assert len(list(experiment.events())) == 1_001  # somebody else's statement is captured
""",
        tmp_path / "fed.sqlite",
    )


def test_spans_carry_the_stamp_of_their_experiment_if_asked(run_script):
    run_script(
        SDK
        + """
provider, exporter = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
with start_experiment(name="stamped", condition="c", store=MemoryStore(), stamp_spans=True) as one:
    span("inside")
    with start_experiment(name="plain", store=MemoryStore()):
        span("not stamped")
span("outside")
found = {s.name: dict(s.attributes) for s in exporter.get_finished_spans()}
assert found["inside"] == {
    "crucible.experiment.id": one.id,
    "crucible.experiment.name": "stamped",
    "crucible.experiment.condition": "c",
}
assert found["not stamped"] == found["outside"] == {}
"""
    )


def test_a_store_that_traces_itself_is_not_captured(run_script):
    run_script(
        SDK
        + """
from opentelemetry import context
from crucible_telemetry.suppression import is_suppressed

class Traced(MemoryStore):
    unsuppressed = 0

def traced(name):
    plain = getattr(MemoryStore, name)
    def method(self, *args):
        Traced.unsuppressed += not is_suppressed()
        span(name)
        return plain(self, *args)
    setattr(Traced, name, method)

for name in ("append", "put", "get", "list"):
    traced(name)

def scan(self, query):
    Traced.unsuppressed += not is_suppressed()
    span("scan")
    yield from MemoryStore.scan(self, query)

Traced.scan = scan
store = Traced()
with start_experiment(name="x", store=store) as outer:
    with start_experiment(name="y", store=store) as experiment:
        experiment.record("event")
        experiment.pause()
        experiment.resume()
        crucible_telemetry.calculate_metrics(experiment)
        assert names(experiment) == ["event"]
    assert names(experiment) == ["event"]
    assert names(outer) == []
assert Traced.unsuppressed == 0, Traced.unsuppressed
"""
    )


def test_our_own_spans_are_seen_by_others_and_not_captured(run_script):
    run_script(
        SDK
        + """
exporter = InMemorySpanExporter()
with start_experiment(name="x", store=MemoryStore()) as experiment:
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
    experiment.record("event")
    experiment.flush()
    crucible_telemetry.export(experiment, "csv")
    assert names(experiment) == ["event"]
seen = [s.name for s in exporter.get_finished_spans()]
assert seen == ["crucible.telemetry.flush", "crucible.telemetry.export"], seen
"""
    )
