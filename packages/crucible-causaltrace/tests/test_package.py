import subprocess
import sys

import pytest

import crucible_causaltrace


def test_importing_it_loads_nothing_heavy():
    program = (
        "import sys, crucible_causaltrace\n"
        "for name in crucible_causaltrace.__all__: getattr(crucible_causaltrace, name)\n"
        "heavy = 'torch transformers pandas pyarrow datasets ray networkx sqlalchemy pygments numpy "
        "opentelemetry anyio rapidfuzz'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_importing_it_loads_none_of_its_own_parts():
    program = (
        "import sys, crucible_causaltrace\n"
        "print([name for name in sys.modules if name.startswith('crucible_causaltrace.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert set(crucible_causaltrace.__all__) <= set(dir(crucible_causaltrace))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        crucible_causaltrace.nothing  # noqa: B018


def test_the_root_names_are_few_sorted_and_there():
    names = crucible_causaltrace.__all__
    assert names == sorted(names)
    assert len(names) <= 20
    assert all(hasattr(crucible_causaltrace, name) for name in names)


def test_spans_carry_counts_and_never_content():
    # The tracer provider is global to a process; a process of its own keeps it out of other tests.
    program = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import tempfile
from crucible_causaltrace import EventParser, parse_llm_output, probe_faithfulness_sync, render_html, save
from crucible_causaltrace.stores import JSONStore
kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
chain = parse_llm_output('<event type="secret"/>secret', "secret", id="a")
render_html(chain)
save(chain, store=JSONStore(tempfile.mkdtemp()))
EventParser().close()

class Model:
    async def generate(self, prompt, /, **options):
        return type("Answer", (), {"text": "secret"})
said = '<event type="x:y"><reasoning>secret</reasoning></event>secret'
probe_faithfulness_sync(Model(), "secret", parse_llm_output(said, "secret"), extract=str, samples=10, seed=3)
inside = [span for span in kept.get_finished_spans() if span.name.endswith(".probe_call")]
(probe,) = [span for span in kept.get_finished_spans() if span.name.endswith(".probe")]
assert len(inside) == 20 and {span.parent.span_id for span in inside} == {probe.context.span_id}
assert dict(probe.attributes) == {"crucible.causaltrace.samples": 10, "crucible.causaltrace.seed": 3}
for span in kept.get_finished_spans():
    assert all(isinstance(v, int) for v in span.attributes.values())
    print(span.name, sorted(k.rpartition(".")[2] for k in span.attributes))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[4:] == [
        "crucible.causaltrace.parse ['chars', 'events', 'issues']",
        *["crucible.causaltrace.probe_call []"] * 20,
        "crucible.causaltrace.probe ['samples', 'seed']",
    ]
    assert lines[:4] == [
        "crucible.causaltrace.parse ['chars', 'events', 'issues']",
        "crucible.causaltrace.render ['bytes', 'events']",
        "crucible.causaltrace.save ['events']",
        "crucible.causaltrace.parse ['chars', 'events', 'issues']",
    ]
