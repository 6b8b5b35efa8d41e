"""OpenTelemetry spans of a request; never a value, a prompt or an error's text in them."""

import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from crucible_hedging.costs import total
from crucible_hedging.delays.policy import DelayPolicy, policy_name
from crucible_hedging.outcome import Attempt

if TYPE_CHECKING:
    from crucible_hedging.request import Facts

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
        facts: "Facts",
        attempts: Sequence[Attempt],
        error: BaseException | None,
    ) -> None:
        """Write the attributes, the attempts that have stopped, and the end."""
        if self._span.is_recording():
            winner, backups = facts.winner, facts.backups
            about: dict[str, str | int | float | None] = {
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
                "crucible.hedging.blocked": facts.blocked,
                "crucible.hedging.shadow": facts.shadow,
                "crucible.hedging.wasted_s": facts.wasted_s,
                "crucible.cost_usd": total([a.cost_usd for a in attempts]),
            }
            self._span.set_attributes({k: v for k, v in about.items() if v is not None})
            if isinstance(error, Exception):
                self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            if backups:
                for attempt in attempts:
                    if attempt.latency_s is not None:
                        self._write(attempt)
            self._span.end(self._at(facts.ended - facts.started))
        else:
            self._span.end()

    def late(self, attempt: Attempt) -> None:
        """Write an attempt that ran on after the request."""
        if self._span.get_span_context().is_valid:
            self._write(attempt, explored=True)

    def _write(self, attempt: Attempt, *, explored: bool = False) -> None:
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
            "crucible.hedging.explored": explored or None,
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


@contextmanager
def tiers_span() -> Iterator[trace.Span]:
    """Span the race of tiers; like a request's, it is never made the current one."""
    span = _TRACER.start_span("crucible.hedging.tiers")
    try:
        yield span
    except Exception as error:
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise
    finally:
        span.end()
