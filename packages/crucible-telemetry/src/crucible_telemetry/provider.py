"""Living with whatever tracer provider there is, and installing one where there is none."""

import os
import warnings

from opentelemetry import trace
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, TracerProvider, sampling

from crucible_telemetry.errors import SampledProviderWarning, UnsupportedProviderError
from crucible_telemetry.process import PROCESS
from crucible_telemetry.processor import ExperimentSpanProcessor

_KEEP_ALL = frozenset(
    sampler.get_description() for sampler in (sampling.ALWAYS_ON, sampling.DEFAULT_ON)
)


def capture_from_provider() -> tuple[ExperimentSpanProcessor, str]:
    """Add our processor to the global provider, once; return it and the sampler's description.

    Raises
    ------
    UnsupportedProviderError
        If the provider is not the SDK's, is disabled, or calls its processors from other threads,
        where the caller's context is lost.
    """
    with PROCESS.lock:
        provider = _provider()
        processor = PROCESS.processors.get(provider)
        if not isinstance(processor, ExperimentSpanProcessor):
            processor = ExperimentSpanProcessor()
            provider.add_span_processor(processor)
            PROCESS.processors[provider] = processor
    sampler = provider.sampler.get_description()
    if sampler not in _KEEP_ALL:
        warnings.warn(
            f"the tracer provider samples with {sampler}: what it leaves out is not captured",
            SampledProviderWarning,
            stacklevel=4,
        )
    return processor, sampler


def _provider() -> TracerProvider:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        raise UnsupportedProviderError("a disabled SDK (OTEL_SDK_DISABLED=true)")
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        # OpenTelemetry lets nobody replace it afterwards; whoever has one installs it first.
        trace.set_tracer_provider(TracerProvider(sampler=sampling.ALWAYS_ON))
        provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        raise UnsupportedProviderError(f"{type(provider).__module__}.{type(provider).__qualname__}")
    if isinstance(provider._active_span_processor, ConcurrentMultiSpanProcessor):
        raise UnsupportedProviderError("a provider with a ConcurrentMultiSpanProcessor")
    return provider
