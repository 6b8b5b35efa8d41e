"""The table of span names against the spans themselves, and capture of a real model's calls."""

import functools
import http.server
import re
import threading
from types import SimpleNamespace

import anyio
import httpx
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import crucible_bench as bench
import crucible_causaltrace as causaltrace
import crucible_datasets as datasets
import crucible_harness as harness
import crucible_hedging as hedging
import crucible_lora as lora
from crucible_bench.designs import TwoSampleT
from crucible_bench.meta import meta_analysis
from crucible_causaltrace.stores import JSONStore
from crucible_datasets.cache import Cache
from crucible_datasets.loaders.tabular import FieldMap
from crucible_datasets.quality import Baseline, Suite, detect_drift
from crucible_datasets.quality import expectations as expect
from crucible_ensemble import Ensemble, LlamaCppModel, SimulatedModel, hedged
from crucible_ensemble.collect import collect
from crucible_ensemble.evaluate import Strategy
from crucible_lora.demo import demo_findings
from crucible_telemetry import MemoryStore, export, start_experiment
from crucible_telemetry.alerts import CostAbove
from crucible_telemetry.registry import SPANS, problems
from crucible_telemetry.training import TrainingLog

NUMBERS = np.random.default_rng(0).normal(size=(3, 20))


def adds(question):
    return str(sum(int(n) for n in re.findall(r"\d+", question)))


def simulated(name):
    return SimulatedModel(
        name, accuracy=0.8, answer_of=adds, wrong_of=lambda q: ["0"], price=(1.0, 2.0)
    )


def run_bench(path):
    x, y, z = NUMBERS
    bench.compare(x, y, n_resamples=100, rng=0)
    bench.compare_paired(x, y, n_resamples=100, rng=0)
    bench.compare_multiple({"a": x, "b": y, "c": z}, paired=False, n_resamples=100, rng=0)
    bench.bootstrap("mean", x, n_resamples=100, rng=0)
    bench.permutation_test(x, y, n_resamples=100, rng=0)
    bench.sample_size(TwoSampleT(), effect=0.5)
    meta_analysis([0.1, 0.2, 0.3], [0.01, 0.02, 0.03])


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def run_datasets(path):
    (path / "served").mkdir()
    lines = "".join(f'{{"id": "{n}", "q": "{n} + 1 =", "a": "{n + 1}"}}\n' for n in range(20))
    (path / "served" / "sums.jsonl").write_text(lines)
    handler = functools.partial(Files, directory=path / "served")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        data = datasets.load(
            "sums",
            url=f"http://127.0.0.1:{server.server_port}/sums.jsonl",
            fields=FieldMap(id="id", input="q", expected="a"),
            task="math",
            cache=Cache(path / "cache"),
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    datasets.evaluate({item.id: item.expected for item in data}, data)
    datasets.duplicates(data, kind="exact")
    code = datasets.load("demo-code", sample_size=1)
    solved = {item.id: item.expected for item in code}
    datasets.run_code_sync(code, solved, sandbox=datasets.SubprocessSandbox(), allow_execution=True)
    Suite([expect.not_null("id")]).run(data)
    detect_drift(Baseline.fit({"x": NUMBERS[0]}), {"x": NUMBERS[1]})


class Reader:
    """Answers by what it is shown."""

    async def generate(self, prompt, /, *, temperature, max_tokens, seed, stop):
        return SimpleNamespace(text="Answer: 1")


def run_causaltrace(path):
    text = (
        '<event id="e1" type="alternative_considered"><decision>sell</decision>'
        "<reasoning>it is old</reasoning></event>"
        '<event id="e2" type="decision_made" caused_by="e1"><decision>keep</decision>'
        "<reasoning>it cannot be sold</reasoning></event>"
    )
    report = causaltrace.parse(text)
    chain = causaltrace.Chain("sell?")
    chain.extend(report.events)
    causaltrace.save(chain, store=JSONStore(path / "chains"))
    causaltrace.render_html(chain)
    causaltrace.probe_faithfulness_sync(
        Reader(), "sell?", chain, samples=10, seed=1, extract=lambda t: t.partition(": ")[2]
    )


async def run_ensemble(path):
    models = [simulated("a"), simulated("b"), hedged(simulated("c"), hedger=hedging.Hedger(5.0))]
    await Ensemble(models, normalise="numeric").predict("1 + 2 =")
    matrix = await collect(models[:2], {"i": "1 + 2 ="}, temperature=0.7, seed=1)
    matrix.evaluate([Strategy(name="both", normalise="numeric")], labels={"i": "3"})


def run_telemetry(path):
    with start_experiment(
        name="t", store=path / "new.sqlite", alerts=[CostAbove(0.0)]
    ) as experiment:
        log = TrainingLog(experiment)
        log.step(0, loss=0.5)
        log.epoch(0, loss=0.5)
        log.evaluation(0, f1=0.5)
        log.checkpoint(0, "x", "ab" * 32)
        experiment.record("call", cost_usd=1.0)
        experiment.flush()
        experiment.flush()
        export(experiment, "csv", path=path / "t.csv")
        return [(event.name, event.attributes) for event in experiment.events()]


async def run_hedging(path):
    asked = []

    async def answer():
        asked.append(1)
        if len(asked) == 1:
            await anyio.sleep_forever()
        return "42"

    await hedging.hedge(answer, delay=0.01)
    await hedging.hedge_tiers([hedging.Tier(name="a", call=answer, delay_s=0.0)])


async def run_lora(path):
    made = lora.create_experiment(
        "s", {"base_model": "reference", "rank": 2, "lr": 1e-2}, directory=path / "lora"
    )
    await lora.train(made, demo_findings(16), epochs=1, batch_size=8, progress=False)
    await lora.evaluate(made, demo_findings(4, held_out=True), max_tokens=4, progress=False)
    await made.sampler("latest").generate("1")


async def run_harness(path):
    data = datasets.load("demo-arithmetic", sample_size=4)
    made = harness.Experiment(
        "sums",
        dataset=data,
        conditions=[harness.Condition(name=n, model=simulated(n)) for n in "ab"],
        seed=1,
    )
    options = harness.RunOptions(directory=path / "runs", telemetry=False, progress="none")
    await harness.estimate(made, pilot=2, options=options)
    result = await harness.run(made, options=options)
    harness.analyse(result.path)
    harness.report(result.path, formats=("markdown",))
    harness.verify(result.path, experiment=made)


@pytest.fixture
def spans():
    """What any exporter of the process's provider sees, our own spans too."""
    with start_experiment(name="to install a provider", store=MemoryStore()):
        pass
    seen = InMemorySpanExporter()
    processor = SimpleSpanProcessor(seen)
    trace.get_tracer_provider().add_span_processor(processor)
    yield seen.get_finished_spans
    processor.shutdown()  # a provider gives no processor back; this one sees nothing any more


def test_every_operation_keeps_to_the_table_of_spans(spans, tmp_path):
    """Nothing that is not in it, nothing required that is missing, nothing that never appears."""
    recorded = run_telemetry(tmp_path)
    for run in (run_bench, run_datasets, run_causaltrace):
        run(tmp_path)
    for run in (run_ensemble, run_hedging, run_lora, run_harness):
        anyio.run(run, tmp_path)
    found = [(span.name, span.attributes) for span in spans()] + recorded
    assert [p for name, attributes in found for p in problems(name, attributes)] == []
    assert {kind.name for kind in SPANS} - {name for name, _ in found} == set()


@pytest.fixture
def instrumented_httpx(spans):
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()


def test_every_question_to_a_real_model_is_one_span_of_its_own_experiment(
    instrumented_httpx, tmp_path
):
    async def study(name, url, questions, found):
        async with (
            start_experiment(name=name, store=tmp_path / "t.sqlite") as experiment,
            httpx.AsyncClient(base_url=url, timeout=120) as client,
        ):
            for n in range(questions):
                asked = {"role": "user", "content": f"What is {n} + 1?"}
                answer = await client.post(
                    f"chat/completions?study={name}", json={"messages": [asked], "max_tokens": 8}
                )
                assert answer.json()["choices"][0]["message"]["content"]
        found[name] = list(experiment.events())

    async def both():
        found = {}
        async with LlamaCppModel(parallel=2) as model, anyio.create_task_group() as tasks:
            url = model.base_url + "/"
            tasks.start_soon(study, "one", url, 20, found)
            tasks.start_soon(study, "other", url, 5, found)
        return found

    found = anyio.run(both)
    assert {name: len(events) for name, events in found.items()} == {"one": 20, "other": 5}
    for name, events in found.items():
        assert {event.outcome for event in events} == {"ok"}
        assert all(event.duration_s > 0 for event in events)
        assert all(
            f"study={name}" in str(event.attributes) for event in events
        )  # none of the other's
