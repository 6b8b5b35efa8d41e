"""Spans named `crucible.datasets.<operation>`; item text and model output are never in them."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

Attribute = str | bool | int | float


@contextmanager
def span(operation: str, /, **attributes: Attribute | None) -> Iterator["Span"]:
    """Open a span; attributes are prefixed, None is left out."""
    with trace.get_tracer("crucible_datasets").start_as_current_span(
        f"crucible.datasets.{operation}"
    ) as otel:
        here = Span(otel)
        here.set(**attributes)
        yield here


class Span:
    """A span that takes attributes by their short names."""

    def __init__(self, otel: trace.Span) -> None:
        self._otel = otel

    @property
    def recording(self) -> bool:
        """Whether anyone will see the attributes; costly ones are computed only then."""
        return self._otel.is_recording()

    def set(self, **attributes: Attribute | None) -> None:
        """Set attributes under the package's prefix."""
        for name, value in attributes.items():
            self.put(f"crucible.datasets.{name}", value)

    def put(self, name: str, value: Attribute | None) -> None:
        """Set one attribute by its full name."""
        if value is not None and self._otel.is_recording():
            self._otel.set_attribute(name, value)
