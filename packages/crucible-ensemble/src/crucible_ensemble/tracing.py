"""OpenTelemetry spans around calls; never a prompt or an answer in them."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from crucible_ensemble.completion import Completion

_TRACER = trace.get_tracer("crucible_ensemble")


class GenerateSpan:
    """A span of one call to a model, to be told what came back."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def answered(self, completion: Completion) -> Completion:
        """Note tokens, cost and finish of an answer, and return it."""
        facts = {
            "gen_ai.response.model": completion.served_by,
            "gen_ai.usage.input_tokens": completion.input_tokens,
            "gen_ai.usage.output_tokens": completion.output_tokens,
            "gen_ai.response.finish_reasons": [completion.finish],
            "crucible.cost_usd": completion.cost_usd,
            "crucible.simulated": completion.simulated or None,
            "crucible.ensemble.cached": completion.cached or None,
        }
        for name, value in facts.items():
            if value is not None:
                self._span.set_attribute(name, value)
        return completion


@contextmanager
def generate_span(model: str, *, system: str) -> Iterator[GenerateSpan]:
    """Trace one call to a model."""
    with _TRACER.start_as_current_span(
        "crucible.ensemble.generate",
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": model,
            "gen_ai.provider.name": system,
        },
    ) as span:
        yield GenerateSpan(span)


@contextmanager
def span(operation: str, **attributes: str | int) -> Iterator[trace.Span]:
    """Trace one operation of this package; attribute names get the package's prefix."""
    named = {f"crucible.ensemble.{name}": value for name, value in attributes.items()}
    with _TRACER.start_as_current_span(f"crucible.ensemble.{operation}", attributes=named) as it:
        yield it
