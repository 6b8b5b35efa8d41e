"""OpenTelemetry spans: counts only, never content."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span


@contextmanager
def span(operation: str) -> "Iterator[Span]":
    """Trace one operation of this package."""
    from opentelemetry import trace  # 40 ms at first use, which an import must not cost

    tracer = trace.get_tracer("crucible_causaltrace")
    with tracer.start_as_current_span(f"crucible.causaltrace.{operation}") as it:
        yield it
