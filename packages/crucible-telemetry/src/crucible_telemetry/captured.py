"""What a caller leaves in the queue: tuples, cheap to build and safe to keep."""

from typing import TYPE_CHECKING, Any, NamedTuple

from crucible_telemetry.outcome import Outcome

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


class Recorded(NamedTuple):
    """A direct `record`; its attribute values are scalars or already `Clean`."""

    name: str
    start_ns: int
    start_mono_ns: int
    duration_s: float | None
    outcome: Outcome
    error_type: str | None
    model: str | None
    provider: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    item_id: str | None
    repeat: int | None
    trace_id: int | None
    parent_span_id: int | None
    thread_id: int
    task: str | None
    sample_key: str | None
    attributes: dict[str, Any]


class Ended(NamedTuple):
    """An ended span and what only its caller's thread could see.

    `duration_s` is set where the wall clock stepped during the span; `cancelled_by` names an
    exception in flight that OpenTelemetry does not record.
    """

    span: "ReadableSpan"
    start_mono_ns: int | None
    duration_s: float | None
    cancelled_by: str | None
    adopted: bool
    thread_id: int
    task: str | None
