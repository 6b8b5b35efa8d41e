"""OpenTelemetry spans around the work of this package; never a prompt or an answer in them."""

from collections.abc import Iterator
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
def sample_span(model: str) -> Iterator[trace.Span]:
    """Trace one answer of a sampler."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "crucible.model.id": model,
    }
    with _TRACER.start_as_current_span("crucible.lora.sample", attributes=attributes) as it:
        yield it


def answered(it: trace.Span, tokens_in: int, tokens_out: int, cost_usd: float | None) -> None:
    """Note the tokens and cost of an answer."""
    it.set_attribute("gen_ai.usage.input_tokens", tokens_in)
    it.set_attribute("gen_ai.usage.output_tokens", tokens_out)
    if cost_usd is not None:
        it.set_attribute("crucible.cost_usd", cost_usd)
