"""What this package does itself is not captured: an instrumented database must not feed itself."""

from collections.abc import Iterator
from contextlib import contextmanager

# Older instrumentations look at this name, newer ones at the key that the API made of it.
_PLAIN_KEY = "suppress_instrumentation"


OWN_SCOPE = "crucible_telemetry"
"""Instrumentation scope of our own spans; other processors see them, experiments do not."""


@contextmanager
def own_span(operation: str) -> Iterator[None]:
    """Trace one operation of this package for whoever watches it."""
    from opentelemetry import trace

    tracer = trace.get_tracer(OWN_SCOPE)
    with tracer.start_as_current_span(f"crucible.telemetry.{operation}"):
        yield


@contextmanager
def suppressed() -> Iterator[None]:
    """Run under OpenTelemetry's suppress-instrumentation key."""
    from opentelemetry import context

    held = context.get_current()
    for key in _keys():
        held = context.set_value(key, True, held)
    token = context.attach(held)
    try:
        yield
    finally:
        context.detach(token)


def is_suppressed() -> bool:
    """Whether the caller runs under that key."""
    from opentelemetry import context

    current = context.get_current()
    return any(current.get(key) for key in _keys())


def _keys() -> tuple[str, str]:
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

    return _SUPPRESS_INSTRUMENTATION_KEY, _PLAIN_KEY
