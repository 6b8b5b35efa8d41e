import http.server
import threading

import pytest

from crucible_datasets import load


@pytest.fixture(scope="session")
def gsm8k_test(benchmark_data):
    return load("gsm8k", path=benchmark_data / "gsm8k")


@pytest.fixture(scope="session")
def gsm8k_train(benchmark_data):
    return load("gsm8k", split="train", path=benchmark_data / "gsm8k")


@pytest.fixture(scope="session")
def humaneval(benchmark_data):
    return load("humaneval", path=benchmark_data / "humaneval")


@pytest.fixture(scope="session")
def mmlu(benchmark_data):
    return load("mmlu", path=benchmark_data / "mmlu")


@pytest.fixture(scope="session")
def fever(benchmark_data):
    return load("fever", path=benchmark_data / "fever")


@pytest.fixture(scope="session")
def scifact(benchmark_data):
    return load("scifact", path=benchmark_data / "scifact")


class Site:
    """A local server with real sockets: path -> bytes, or a function of the request's number."""

    def __init__(self, address):
        self.address, self.pages, self.asked, self.headers = address, {}, [], []

    def url(self, path):
        return f"{self.address}{path}"


@pytest.fixture
def site():
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = self.path.partition("?")[0]
            site.asked.append(path)
            site.headers.append(dict(self.headers))
            page = site.pages.get(path)
            if callable(page):
                page = page(site.asked.count(path))
            status, headers, body = page if isinstance(page, tuple) else (200, {}, page)
            if body is None:
                status, body = 404, b"nothing here"
            self.send_response(status)
            cut = headers.pop("x-cut", None)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.close_connection = True

        do_HEAD = do_GET

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep tests out of the user's cache, off the network and away from waiting."""
    import stamina

    monkeypatch.setenv("CRUCIBLE_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    with stamina.set_testing(True, attempts=3):
        yield
