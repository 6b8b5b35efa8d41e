import subprocess
import sys

import pytest
from opentelemetry import baggage, trace

from crucible_telemetry import (
    MemoryStore,
    SQLiteStore,
    current_experiment,
    join_experiment,
    query,
    start_experiment,
)
from crucible_telemetry.errors import CarrierError, ExperimentStateError, UnknownExperimentError
from crucible_telemetry.redaction import DropRedactor

WORKER = """
import json, sys
from opentelemetry import trace
from crucible_telemetry import current_experiment, join_experiment

carrier, n = json.loads(sys.argv[2]), int(sys.argv[3])
with join_experiment(carrier, store=sys.argv[1]) as experiment:
    assert current_experiment() is experiment
    with trace.get_tracer("worker").start_as_current_span("work", attributes={"n": n}):
        experiment.record("done", n=n)
assert current_experiment() is None
"""


def test_a_worker_in_another_process_joins_by_carrier_and_continues_the_trace(tmp_path, tracer):
    import json

    path = tmp_path / "shared.sqlite"
    with start_experiment(name="ü, both; arms=2", condition="a%b", store=path) as experiment:
        with tracer.start_as_current_span("dispatch") as span:
            carrier = json.dumps(experiment.carrier())
            trace_id = f"{span.get_span_context().trace_id:032x}"
        workers = [
            subprocess.Popen([sys.executable, "-W", "error", "-c", WORKER, path, carrier, str(n)])
            for n in range(2)
        ]
        assert [worker.wait(60) for worker in workers] == [0, 0]
        assert experiment.state == "running"
    with SQLiteStore(path) as store:
        (record,) = query.experiments(store)
        events = list(query.events(store, record.id))
    assert (record.state, record.name, record.condition) == ("stopped", "ü, both; arms=2", "a%b")
    assert len({writer.pid for writer in record.writers}) == 3
    assert {writer.last_seq for writer in record.writers} == {1, 2}
    assert {e.trace_id for e in events} == {trace_id}
    by_name = {event.name: event for event in events}
    assert by_name["work"].parent_span_id == by_name["dispatch"].span_id
    assert sorted(e.attributes["n"] for e in events if e.name == "done") == [0, 1]


def test_the_carrier_says_who_and_how_and_the_ambient_baggage_does_not(tracer):
    with start_experiment(name="s", store=MemoryStore(), seed=5, sample_rate=0.5) as experiment:
        with tracer.start_as_current_span("x"):
            carrier = experiment.carrier()
        assert set(carrier) == {"traceparent", "baggage"}
        assert f"crucible.experiment.id={experiment.id}" in carrier["baggage"]
        assert "crucible.sampling.seed=5" in carrier["baggage"]
        assert "crucible.sampling.rate=0.5" in carrier["baggage"]
        assert baggage.get_all() == {}
        assert "traceparent" not in experiment.carrier()  # there is no span here


def test_a_joined_part_samples_alike_and_stops_by_itself():
    store = MemoryStore()
    first = start_experiment(name="s", store=store, seed=3, sample_rate=0.5, capture_spans=False)
    with join_experiment(first.carrier(), store=store, capture_spans=False) as second:
        assert current_experiment() is second
        assert second.id == first.id
        for n in range(50):
            first.record("first", sample_key=str(n), n=n)
            second.record("second", sample_key=str(n), n=n)
        second.pause()
    assert current_experiment() is first
    assert query.experiment(store, first.id).state == "running"
    numbers = {"first": set(), "second": set()}
    for event in first.events():
        numbers[event.name].add(event.attributes["n"])
    assert numbers["first"] == numbers["second"]
    assert 0 < len(numbers["first"]) < 50
    record = first.stop()
    assert query.experiment(store, record.id).state == "stopped"


def test_leaving_a_joined_experiment_leaves_the_remote_span_too(tracer):
    store = MemoryStore()
    with start_experiment(name="x", store=store) as experiment, tracer.start_as_current_span("far"):
        carrier = experiment.carrier()
    # `experiment` has stopped: the same identity, still running, for a worker.
    with start_experiment(name="y", store=store) as experiment:
        carrier = experiment.carrier() | {"traceparent": carrier["traceparent"]}
        with tracer.start_as_current_span("near") as near:
            with join_experiment(carrier, store=store):
                remote = trace.get_current_span().get_span_context()
                assert remote.is_remote
                assert f"{remote.trace_id:032x}" in carrier["traceparent"]
            assert trace.get_current_span() is near
            assert current_experiment() is experiment


def test_who_cannot_join_is_told_why(tmp_path):
    store = MemoryStore()
    with pytest.raises(CarrierError, match=r"'crucible\.experiment\.id' is not in its baggage"):
        join_experiment({"baggage": "other=1", "traceparent": "nonsense"}, store=store)
    first = start_experiment(name="x", store=store, capture_spans=False)
    carrier = first.carrier()
    with pytest.raises(UnknownExperimentError):
        join_experiment(carrier, store=tmp_path / "other.sqlite")
    first.stop()
    with pytest.raises(ExperimentStateError, match="cannot join: the experiment is stopped"):
        join_experiment(carrier, store=store)


def test_a_worker_must_redact_as_the_experiment_does():
    store = MemoryStore()
    redactor = DropRedactor(["secret"])
    with start_experiment(
        name="r", store=store, redactor=redactor, capture_spans=False
    ) as experiment:
        carrier = {key.upper(): value for key, value in experiment.carrier().items()}
        for wrong in (None, DropRedactor(["other"])):
            with pytest.raises(
                ValueError, match=r"`redactor` must be .*DropRedactor\(\['secret'\]"
            ):
                join_experiment(carrier, store=store, redactor=wrong)
        with join_experiment(carrier, store=store, redactor=redactor) as second:
            second.record("event", secret="x")
        (event,) = experiment.events()
        assert event.attributes == {}
