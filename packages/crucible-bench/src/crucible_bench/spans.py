"""OpenTelemetry spans around the functions that take time; scores and labels stay out of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from crucible_bench.results import Comparison


@contextmanager
def span(operation: str, **attributes: str | float | None) -> Iterator[trace.Span]:
    """Record a `crucible.bench.<operation>` span; without an SDK it records nothing."""
    current = trace.get_tracer("crucible_bench").start_span(f"crucible.bench.{operation}")
    if not current.is_recording() and not current.get_span_context().is_valid:
        yield current  # no SDK and no parent: entering a context would be most of the cost
        return
    with trace.use_span(current, end_on_exit=True):
        note(current, **attributes)
        yield current


def note(current: trace.Span, **attributes: str | float | None) -> None:
    """Add attributes that are known."""
    if current.is_recording():
        for name, value in attributes.items():
            if value is not None:
                current.set_attribute(f"crucible.bench.{name}", value)


def record(current: trace.Span, result: Comparison) -> None:
    """Add what a comparison found."""
    interval = result.confidence_interval
    note(
        current,
        outcome=result.outcome,
        estimate=result.difference,
        p_value=result.p_value,
        interval_low=None if interval is None else interval.low,
        interval_high=None if interval is None else interval.high,
        n_clusters=result.control.n_clusters,
        warnings=len(result.warnings),
    )
