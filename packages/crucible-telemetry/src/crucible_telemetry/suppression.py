"""What this package does itself is not captured: an instrumented database must not feed itself."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache

# Older instrumentations look at this name, newer ones at the key that the API made of it.
_PLAIN_KEY = "suppress_instrumentation"


OWN_SCOPE = "crucible_telemetry"
"""Instrumentation scope of our own spans; other processors see them, experiments do not."""


@contextmanager
def own_span(operation: str, **attributes: int) -> Iterator[None]:
    """Trace one operation of this package for whoever watches it."""
    from opentelemetry import trace

    tracer = trace.get_tracer(OWN_SCOPE)
    named = {f"crucible.telemetry.{key}": value for key, value in attributes.items()}
    with tracer.start_as_current_span(f"crucible.telemetry.{operation}", attributes=named):
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
    get_current, key = _read()
    current = get_current()
    return bool(current.get(key) or current.get(_PLAIN_KEY))


def _keys() -> tuple[str, str]:
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

    return _SUPPRESS_INSTRUMENTATION_KEY, _PLAIN_KEY


@cache
def _read() -> tuple[Callable[[], Mapping[str, object]], str]:
    """Return what every span needs; importing it anew costs more than all the rest."""
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_current

    return get_current, _SUPPRESS_INSTRUMENTATION_KEY
