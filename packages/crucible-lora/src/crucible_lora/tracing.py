"""OpenTelemetry spans around the work of this package.

Prompts and answers are in them only where an experiment was made with `capture_content=True`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace

_TRACER = trace.get_tracer("crucible_lora")


@contextmanager
def span(operation: str, **attributes: str | int | float | None) -> Iterator[trace.Span]:
    """Trace one operation of this package; attribute names get the package's prefix."""
    with _TRACER.start_as_current_span(f"crucible.lora.{operation}") as it:
        note(it, **attributes)
        yield it


def note(it: trace.Span, **attributes: str | int | float | bool | None) -> None:
    """Add attributes to a span; what is unknown is left out."""
    for name, value in attributes.items():
        if value is not None:
            it.set_attribute(f"crucible.lora.{name}", value)


@contextmanager
def sample_span(model: str, *, remote: bool = False) -> Iterator[trace.Span]:
    """Trace one answer of a sampler; `remote` marks one that a service gives."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "crucible.model.id": model,
    }
    kind = trace.SpanKind.CLIENT if remote else trace.SpanKind.INTERNAL
    with _TRACER.start_as_current_span(
        "crucible.lora.sample", kind=kind, attributes=attributes
    ) as it:
        yield it


def answered(it: trace.Span, tokens_in: int, tokens_out: int, cost_usd: float | None) -> None:
    """Note the tokens and cost of an answer."""
    it.set_attribute("gen_ai.usage.input_tokens", tokens_in)
    it.set_attribute("gen_ai.usage.output_tokens", tokens_out)
    if cost_usd is not None:
        it.set_attribute("crucible.cost_usd", cost_usd)


def content(it: trace.Span, messages: Sequence[Mapping[str, str]], answer: str) -> None:
    """Note prompt and answer as the GenAI conventions have them."""
    asked = [_message(m["role"], m["content"]) for m in messages]
    it.set_attribute("gen_ai.input.messages", json.dumps(asked))
    it.set_attribute("gen_ai.output.messages", json.dumps([_message("assistant", answer)]))


def _message(role: str, text: str) -> dict[str, object]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}
