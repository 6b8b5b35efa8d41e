"""OpenTelemetry spans of this package and the names of their attributes.

Prompts and answers are recorded only where a model was opened with `capture_content=True`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from crucible_ensemble.completion import Completion

# Version of the GenAI semantic conventions whose names are used below. The constants that
# opentelemetry-semantic-conventions publishes for them are deprecated; these strings are the table.
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_SEED = "gen_ai.request.seed"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
SERVER_ADDRESS = "server.address"
ERROR_TYPE = "error.type"
MODEL_ID = "crucible.model.id"
COST = "crucible.cost_usd"
CONFIDENCE = "crucible.confidence"
CONFIDENCE_SOURCE = "crucible.confidence_source"
CACHED = "crucible.cached"
SIMULATED = "crucible.simulated"
OUTCOME = "crucible.outcome"
ITEM = "crucible.item.id"
RETRY_INDEX = "crucible.ensemble.attempt"

_TRACER = trace.get_tracer("crucible_ensemble", schema_url=SCHEMA_URL)
_PREFIX = "crucible.ensemble."


class GenerateSpan:
    """The span of one attempt at a model, to be told what came back."""

    __slots__ = ("_capture", "_span")

    def __init__(self, span: trace.Span, capture: bool) -> None:
        self._span, self._capture = span, capture

    def answered(self, completion: Completion) -> Completion:
        """Note tokens, cost and finish of an answer, and return it."""
        if not self._span.is_recording():
            return completion
        facts = {
            RESPONSE_MODEL: completion.served_by,
            RESPONSE_ID: completion.request_id,
            INPUT_TOKENS: completion.input_tokens,
            OUTPUT_TOKENS: completion.output_tokens,
            FINISH_REASONS: [completion.finish],
            COST: completion.cost_usd,
            CONFIDENCE: completion.confidence,
            CONFIDENCE_SOURCE: completion.confidence_source,
            SIMULATED: completion.simulated or None,
            CACHED: completion.cached or None,
            OUTCOME: "ok",
        }
        if self._capture:
            said = [{"role": "assistant", "parts": [{"type": "text", "content": completion.text}]}]
            facts[OUTPUT_MESSAGES] = json.dumps(said)
        for name, value in facts.items():
            if value is not None:
                self._span.set_attribute(name, value)
        return completion


@contextmanager
def generate_span(
    model: str,
    *,
    system: str,
    attempt: int = 0,
    request: Mapping[str, Any] | None = None,
    messages: Sequence[Mapping[str, str]] | None = None,
) -> Iterator[GenerateSpan]:
    """Trace one attempt at a model.

    Parameters
    ----------
    model : str
        "provider/model".
    system : str
        Of the semantic conventions, such as "openai".
    attempt : int
        0 for the first, 1 for the first retry.
    request : mapping
        More attributes.
    messages : sequence of messages, optional
        Given only where content is captured.
    """
    attributes: dict[str, Any] = {
        OPERATION: "chat",
        PROVIDER: system,
        REQUEST_MODEL: model,
        MODEL_ID: model,
        RETRY_INDEX: attempt or None,
        **(request or {}),
    }
    if messages is not None:
        attributes[INPUT_MESSAGES] = json.dumps(
            [
                {"role": m["role"], "parts": [{"type": "text", "content": m["content"]}]}
                for m in messages
            ]
        )
    known = {name: value for name, value in attributes.items() if value is not None}
    with _TRACER.start_as_current_span(
        "crucible.ensemble.generate",
        kind=SpanKind.CLIENT,
        attributes=known,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield GenerateSpan(span, messages is not None)
        except BaseException as error:
            _failed(span, error)
            raise


def _failed(span: trace.Span, error: BaseException) -> None:
    span.set_attribute(ERROR_TYPE, type(error).__name__)
    if not isinstance(error, Exception):
        span.set_attribute(OUTCOME, "cancelled")
        return
    span.set_attribute(OUTCOME, "timeout" if isinstance(error, TimeoutError) else "error")
    cost = getattr(error, "cost_usd", None)
    if cost is not None:
        span.set_attribute(COST, cost)
    # The class says what happened; a message may quote what was sent.
    span.set_status(Status(StatusCode.ERROR, type(error).__name__))


@contextmanager
def span(operation: str, attributes: Mapping[str, Any]) -> Iterator[trace.Span]:
    """Trace one operation of this package; names without a dot get the package's prefix."""
    with _TRACER.start_as_current_span(
        _PREFIX + operation,
        attributes=named(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as it:
        try:
            yield it
        except BaseException as error:
            _failed(it, error)
            raise


def named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known attributes under their full names."""
    return {
        (name if "." in name else _PREFIX + name): value
        for name, value in attributes.items()
        if value is not None
    }
