"""OpenTelemetry spans of a request; never a value, a prompt or an error's text in them."""

import time
from collections.abc import Hashable, Sequence

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from crucible_hedging.delays.policy import DelayPolicy, policy_name
from crucible_hedging.outcome import Attempt, Blocked

_TRACER = trace.get_tracer("crucible_hedging")
_OUTCOMES = {"won": "ok", "lost": "ok", "rejected": "ok"}


class RequestSpan:
    """The span of one request, a child of the caller's; it is never made the current one.

    So the caller's span is the current one inside every attempt, and what an attempt traces has
    the same parent whether it is the primary or a backup. The spans of attempts are written when
    the request ends, with the times at which they ran, and only if there was more than one.
    """

    def __init__(self) -> None:
        self._caller = otel.get_current()
        self._began_ns = time.time_ns()
        self._span = _TRACER.start_span(
            "crucible.hedging.request", context=self._caller, start_time=self._began_ns
        )

    def end(
        self,
        *,
        policy: DelayPolicy,
        key: Hashable,
        delay_s: float | None,
        blocked: Blocked | None,
        winner: int | None,
        latency_s: float,
        attempts: Sequence[Attempt],
        cost_usd: float | None,
        wasted_s: float,
        error: BaseException | None,
    ) -> None:
        """Write the attributes, the attempts and the end."""
        if self._span.is_recording():
            backups = max(len(attempts) - 1, 0)
            facts: dict[str, str | int | float | None] = {
                "crucible.hedging.policy": policy_name(policy),
                "crucible.hedging.key": None if key is None else str(key),
                "crucible.hedging.delay_s": delay_s,
                "crucible.hedging.percentile": getattr(policy, "percentile", None),
                "crucible.hedging.probability": getattr(policy, "probability", None),
                "crucible.hedging.hedged": backups > 0,
                "crucible.hedging.backups": backups,
                "crucible.hedging.extra_requests": backups,
                "crucible.hedging.winner": winner,
                "crucible.hedging.won": winner is not None and winner > 0,
                "crucible.hedging.blocked": blocked,
                "crucible.hedging.wasted_s": wasted_s,
                "crucible.cost_usd": cost_usd,
            }
            self._span.set_attributes({k: v for k, v in facts.items() if v is not None})
            if isinstance(error, Exception):
                self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            if backups:
                for attempt in attempts:
                    self._write(attempt)
        self._span.end(self._at(latency_s))

    def _write(self, attempt: Attempt) -> None:
        failed = attempt.status == "failed"
        outcome = _OUTCOMES.get(attempt.status, "cancelled")
        if failed:
            outcome = "timeout" if isinstance(attempt.error, TimeoutError) else "error"
        facts: dict[str, str | int | float | None] = {
            "crucible.hedging.attempt.index": attempt.index,
            "crucible.hedging.attempt.name": attempt.name,
            "crucible.hedging.attempt.status": attempt.status,
            "crucible.hedging.attempt.cost_source": attempt.cost_source,
            "crucible.cost_usd": attempt.cost_usd,
            "crucible.outcome": outcome,
        }
        span = _TRACER.start_span(
            "crucible.hedging.attempt",
            context=trace.set_span_in_context(self._span, self._caller),
            start_time=self._at(attempt.start_s),
            attributes={k: v for k, v in facts.items() if v is not None},
        )
        if failed:
            span.set_status(Status(StatusCode.ERROR, type(attempt.error).__name__))
        span.end(self._at(attempt.start_s + (attempt.latency_s or 0.0)))

    def _at(self, offset_s: float) -> int:
        return self._began_ns + round(offset_s * 1e9)
