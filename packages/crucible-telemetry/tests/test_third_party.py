THIRD_PARTY = """
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from crucible_telemetry import MemoryStore, calculate_metrics, start_experiment


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Server.seen.append(dict(self.headers))
        body = b'{"choices": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


async def study(name, url, store, found):
    async with start_experiment(name=name, store=store) as experiment:
        async with httpx.AsyncClient(base_url=url) as client:
            async with anyio.create_task_group() as tasks:
                for n in range(20):
                    tasks.start_soon(lambda: client.post(f"/{name}/v1", json={"q": "secret"}))
        found[name] = experiment


async def main():
    ThreadingHTTPServer.request_queue_size = 128  # forty connections come at once
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    HTTPXClientInstrumentor().instrument()
    store, found = MemoryStore(), {}
    async with anyio.create_task_group() as tasks:
        for name in ("one", "other"):
            tasks.start_soon(study, name, f"http://127.0.0.1:{server.server_port}", store, found)
    server.shutdown()
    thread.join()
    server.server_close()
    for name, experiment in found.items():
        events = list(experiment.events())
        assert len(events) == 20
        assert {event.outcome for event in events} == {"ok"}
        assert all(event.duration_s > 0 for event in events)
        urls = {event.attributes["http.url" if "http.url" in event.attributes else "url.full"]
                for event in events}
        assert len(urls) == 1 and f"/{name}/v1" in urls.pop()
        assert calculate_metrics(experiment).reliability.ok == 20
    # The identity of an experiment is not sent to whoever is called.
    assert not any("crucible" in str(headers).lower() for headers in Server.seen)
    assert all("Traceparent" in headers or "traceparent" in headers for headers in Server.seen)


anyio.run(main, backend="BACKEND")
"""


def test_an_instrumented_http_client_is_captured_without_a_foreign_span(run_script):
    for backend in ("asyncio", "trio"):
        run_script("import warnings\n" + THIRD_PARTY.replace("BACKEND", backend))
