import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from crucible_telemetry import MemoryStore, SQLiteStore, query, start_experiment
from crucible_telemetry.errors import MissingExtraError
from crucible_telemetry.otlp import OTLPForwarder


class Collector:
    """A collector on a real port that fails as often as told."""

    def __init__(self, failures=0):
        self.failures = failures
        self.requests = 0
        self.resources = []
        self.spans = []
        self.headers = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests += 1
                collector.headers.append(dict(self.headers))
                failed = collector.requests <= collector.failures
                if not failed:
                    sent = ExportTraceServiceRequest.FromString(body)
                    for resource in sent.resource_spans:
                        collector.resources.append(resource.resource)
                        for scope in resource.scope_spans:
                            collector.spans += scope.spans
                self.send_response(503 if failed else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}/v1/traces"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector():
    made = Collector(failures=3)
    yield made
    made.close()


def test_a_collector_that_fails_three_times_gets_everything_and_the_store_keeps_it(
    collector, tracer, tmp_path
):
    forwarder = OTLPForwarder(collector.endpoint, headers={"X-Key": "k"})
    with (
        SQLiteStore(tmp_path / "f.sqlite") as store,
        start_experiment(name="f", condition="c", store=store) as experiment,
    ):
        for n in range(1_200):
            with tracer.start_as_current_span("span", attributes={"n": n, "list": ["a", "b"]}):
                pass
        experiment.record("event", outcome="timeout", error_type="x.Timeout", duration_s=0.5)
        results = [forwarder.forward(experiment) for _ in range(4)]
        assert [(r.sent, r.waiting, r.error) for r in results] == [
            (0, 1_201, "HTTP 503")] * 3 + [(1_201, 0, None)]  # fmt: skip
        assert forwarder.forward(experiment).sent == 0  # nothing twice
        experiment.record("later")
        assert forwarder.forward(experiment.id).sent == 1
        assert experiment.stats().forward_failures == 3
        events = list(experiment.events())
    assert len(events) == 1_202
    spans = {span.span_id.hex(): span for span in collector.spans}
    assert len(spans) == 1_202
    for event in events:
        if event.kind == "span":
            found = spans[event.span_id]
            assert found.trace_id.hex() == event.trace_id
            assert found.start_time_unix_nano == event.start_ns
    (timeout,) = (span for span in collector.spans if span.name == "event")
    assert timeout.end_time_unix_nano - timeout.start_time_unix_nano == 500_000_000
    assert (timeout.status.code, timeout.status.message) == (2, "x.Timeout")
    assert collector.headers[0]["X-Key"] == "k"
    resource = {a.key: a.value.string_value for a in collector.resources[0].attributes}
    assert resource["crucible.experiment.id"] == experiment.id


def test_a_crash_after_sending_sends_again_and_keeps_the_identity(collector):
    collector.failures = 0
    store = MemoryStore()
    forwarder = OTLPForwarder(collector.endpoint)
    with start_experiment(name="f", store=store, capture_spans=False) as experiment:
        experiment.record("event")
        forwarder.forward(experiment)
        store.put("cursor", f"otlp {collector.endpoint} {experiment.id}", {"ranges": {}})
        forwarder.forward(experiment)
    assert len(collector.spans) == 2
    assert collector.spans[0].span_id == collector.spans[1].span_id


def test_an_event_that_comes_late_out_of_a_spill_is_sent_too(collector):
    from crucible_telemetry.testing import example_row

    collector.failures = 0
    store = MemoryStore()
    forwarder = OTLPForwarder(collector.endpoint)
    with start_experiment(name="f", store=store, capture_spans=False) as experiment:
        pass
    rows = [example_row(experiment_id=experiment.id, seq=n) for n in range(1, 7)]
    for part, sent in ((rows[:2], 2), (rows[4:], 2), ([rows[3]], 1), ([rows[2]], 1)):
        store.append(part)
        assert forwarder.forward(experiment.id, store=store).sent == sent
    (cursor,) = (value for _, value in store.list("cursor"))
    assert cursor == {"ranges": {"00000000000000aa": [[1, 6]]}}


def test_a_collector_that_is_not_there_is_an_error_that_waits():
    with start_experiment(name="f", store=MemoryStore(), capture_spans=False) as experiment:
        experiment.record("event")
        found = OTLPForwarder("http://127.0.0.1:9/v1/traces", timeout_s=5).forward(experiment)
        assert (found.sent, found.waiting) == (0, 1)
        assert "ConnectionError" in found.error
    assert len(list(query.events(experiment.store, experiment.id))) == 1


def test_following_forwards_the_rest_at_its_end(collector):
    collector.failures = 0
    forwarder = OTLPForwarder(collector.endpoint)
    with start_experiment(name="f", store=MemoryStore(), capture_spans=False) as experiment:
        with forwarder.follow(experiment, interval_s=0.01):
            for _ in range(100):
                experiment.record("event")
        assert len(collector.spans) == 100


def test_bad_arguments_and_a_missing_extra(monkeypatch):
    for arguments, match in (
        ({"endpoint": "localhost:4318"}, "`endpoint` must be an http"),
        ({"endpoint": "http://x", "timeout_s": 0}, "`timeout_s` must be finite"),
    ):
        with pytest.raises(ValueError, match=match):
            OTLPForwarder(**arguments)
    monkeypatch.setattr("crucible_telemetry.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"crucible-telemetry\[otlp\]"):
        OTLPForwarder("http://localhost:4318/v1/traces")
