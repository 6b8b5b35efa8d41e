import inspect
import pickle
import subprocess
import sys

import pytest

import crucible_lora
from crucible_lora import (
    InProcessBackend,
    errors,
    evaluate_sync,
    resume_sync,
    sweep_sync,
    train_sync,
)
from crucible_lora.evaluating import evaluate
from crucible_lora.learning import train
from crucible_lora.resuming import resume
from crucible_lora.sweeping import sweep

HEAVY = ("torch", "transformers", "peft", "tinker", "scipy", "pandas", "pyarrow", "datasets", "ray", "rich", "jsonschema")  # fmt: skip


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, crucible_lora; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_load_every_module_and_nothing_heavy():
    names = crucible_lora.__all__
    code = f"""
import sys, crucible_lora
assert "numpy" not in sys.modules
for name in {names}:
    assert callable(getattr(crucible_lora, name)), name
print([m for m in {HEAVY} if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_root_has_twenty_names():
    functions = ("train", "evaluate", "resume", "sweep")
    classes = (
        "LoraConfig", "LoraExperiment", "Gate", "CheckpointStore", "AdapterPool", "AdapterRegistry",
        "Sampler", "InProcessBackend", "PeftBackend", "TinkerBackend",
    )  # fmt: skip
    names = {"create_experiment", "export_adapter", *classes, *functions}
    assert set(crucible_lora.__all__) == names | {f"{name}_sync" for name in functions}


def test_no_module_takes_the_place_of_a_name():
    from pathlib import Path

    modules = {p.stem for p in Path(crucible_lora.__file__).parent.iterdir()}
    assert not modules & set(crucible_lora.__all__)


def test_the_public_names_are_sorted_and_there():
    assert crucible_lora.__all__ == sorted(crucible_lora.__all__)
    assert all(hasattr(crucible_lora, name) for name in crucible_lora.__all__)


@pytest.mark.parametrize(("plain", "sync"), [(train, train_sync), (resume, resume_sync), (evaluate, evaluate_sync), (sweep, sweep_sync)])  # fmt: skip
def test_the_synchronous_twin_takes_the_same_arguments(plain, sync):
    one, two = inspect.signature(plain), inspect.signature(sync)
    assert one.parameters == two.parameters
    assert one.return_annotation == two.return_annotation


@pytest.mark.parametrize(
    "error",
    [
        errors.MissingExtraError("peft", "torch"),
        errors.UnsupportedOptionError("rank", 3, "x", "why"),
        errors.MaskError("item", "why"),
        errors.NoTargetTokensError(["a", "b"]),
        errors.TruncationError(3, {"a": 5}, "why"),
        errors.DivergedError(3, "step-000001"),
        errors.CheckpointNotFoundError("best", ("a",)),
        errors.CheckpointCorruptError("file", "a", None),
        errors.CheckpointWriteError("step-000001", "full"),
        errors.AdapterExistsError("a"),
        errors.AdapterNotFoundError("a", ("b",)),
        errors.ResumeMismatchError(["seed"]),
        errors.ExportMismatchError(0.5, 3.0, 1e-4),
        errors.ContextLengthError(3, 4),
        errors.BaseModelNotFoundError("x", ["a", "b"]),
        errors.SessionClosedError(),
        errors.BackendTimeoutError("late", backend="x", retryable=True, request_id="r"),
    ],
)
def test_errors_survive_a_trip_to_another_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__
    assert isinstance(again, errors.LoraError)


def test_a_missing_extra_is_told_when_the_backend_is_made(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(errors.MissingExtraError, match=r'pip install "crucible-lora\[peft\]"'):
        crucible_lora.PeftBackend()
    assert InProcessBackend().name == "in-process"


def test_spans_tell_what_happened_and_never_a_text(tmp_path):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from crucible_lora import create_experiment, tracing
    from crucible_lora.demo import demo_findings

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "_TRACER", provider.get_tracer("test"))
        experiment = create_experiment(
            "spans", {"base_model": "reference", "rank": 2}, directory=tmp_path
        )
        train_sync(experiment, demo_findings(8), epochs=1)
        evaluate_sync(experiment, demo_findings(2, held_out=True), max_tokens=4)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {f"crucible.lora.{n}" for n in ("train", "step", "checkpoint", "evaluate")}
    facts = spans["crucible.lora.train"].attributes
    assert facts["crucible.lora.backend"] == "in-process"
    assert facts["crucible.lora.stopped"] == "completed"
    assert "crucible.lora.metric.nll" in spans["crucible.lora.evaluate"].attributes
    assert (
        spans["crucible.lora.step"].parent.span_id == spans["crucible.lora.train"].context.span_id
    )
    told = " ".join(str(v) for span in spans.values() for v in span.attributes.values())
    assert "Study" not in told
    assert trace.get_tracer_provider() is not provider


@pytest.mark.parametrize("capture", [False, True])
def test_texts_are_in_spans_only_on_request(tmp_path, capture):
    import json

    import anyio
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import SpanKind

    from crucible_lora import create_experiment, tracing
    from crucible_lora.demo import demo_findings

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    experiment = create_experiment(
        "texts", {"base_model": "reference", "rank": 2}, directory=tmp_path, capture_content=capture
    )
    train_sync(experiment, demo_findings(8), epochs=1)
    model = experiment.sampler()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "_TRACER", provider.get_tracer("test"))
        anyio.run(lambda: model.generate("secret", max_tokens=3))
    (span,) = exporter.get_finished_spans()
    assert span.name == "crucible.lora.sample"
    assert span.kind == SpanKind.INTERNAL
    assert span.attributes["gen_ai.usage.output_tokens"] <= 3
    assert "crucible.cost_usd" not in span.attributes  # unknown is left out
    told = " ".join(str(v) for v in span.attributes.values())
    assert ("secret" in told) is capture
    if capture:
        (asked,) = json.loads(span.attributes["gen_ai.input.messages"])
        assert asked == {"role": "user", "parts": [{"type": "text", "content": "secret"}]}
