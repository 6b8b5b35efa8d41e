"""Every span below a cell says which cell it belongs to, whoever emits it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

from opentelemetry import trace

from crucible_harness.schedule import Cell

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span, TracerProvider

_cell: ContextVar[dict[str, str | int] | None] = ContextVar("crucible_harness_cell", default=None)


@contextmanager
def cell_span(cell: Cell) -> Iterator[trace.Span]:
    """Trace a cell; spans that start inside, also in tasks and threads, get its key."""
    key: dict[str, str | int] = {
        "crucible.condition": cell.condition,
        "crucible.item.id": cell.item,
        "crucible.repeat": cell.repeat,
    }
    with trace.get_tracer("crucible_harness").start_as_current_span(
        "crucible.harness.cell",
        attributes={**key, "crucible.harness.schedule_position": cell.position},
    ) as span:
        token = _cell.set(key)
        try:
            yield span
        finally:
            _cell.reset(token)


def mark_spans() -> None:
    """Have the tracer provider of this process give spans the key of their cell."""
    from opentelemetry.sdk.trace import TracerProvider

    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        _add_to(provider)


@cache  # a processor cannot be taken out again, so each provider gets one
def _add_to(provider: "TracerProvider") -> None:
    from opentelemetry.sdk.trace import SpanProcessor

    class CellMarker(SpanProcessor):
        def on_start(self, span: "Span", parent_context: "Context | None" = None) -> None:
            key = _cell.get()
            if key is not None:
                span.set_attributes(key)

    provider.add_span_processor(CellMarker())
