"""The span processor: it gives each span to the experiment in which it began, and drops none."""

import logging
import sys
import time
from threading import get_ident
from typing import TYPE_CHECKING, TypeAlias

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from crucible_telemetry.captured import Ended
from crucible_telemetry.clock import stepped
from crucible_telemetry.context import current_experiment, experiment_for_span
from crucible_telemetry.errors import StoreStalledError
from crucible_telemetry.outcome import type_name
from crucible_telemetry.process import PROCESS
from crucible_telemetry.suppression import OWN_SCOPE, is_suppressed
from crucible_telemetry.tasks import task_name

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from crucible_telemetry.experiment import Experiment

_COMPLAIN_EVERY_S = 60.0

_log = logging.getLogger("crucible_telemetry")


# What is remembered of a span between its start and its end, never the span itself: experiment,
# name, wall and monotonic nanoseconds, an exception that was being handled, name of the task.
# A plain tuple, since every span makes one.
_Open: TypeAlias = "tuple[Experiment, str, int, int, BaseException | None, str | None]"


class ExperimentSpanProcessor(SpanProcessor):
    """Hand ended spans to their experiment; other processors of the provider are not touched."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._complained = -_COMPLAIN_EVERY_S

    def on_start(self, span: Span, parent_context: "Context | None" = None) -> None:
        """Remember to which experiment the span belongs, and when it started by both clocks."""
        experiment = experiment_for_span(parent_context)
        if experiment is None:
            return
        scope = span.instrumentation_scope
        if scope is not None and scope.name == OWN_SCOPE:
            return
        if experiment.stamp:
            span.set_attributes(experiment.stamp)
        error = sys.exception()
        clock = experiment.clock
        self._open[span.context.span_id] = (
            experiment,
            span.name,
            clock.wall_ns(),
            clock.monotonic_ns(),
            # Kept only where `on_end` must tell a clean-up from a cancellation.
            None if error is None or isinstance(error, Exception) else error,
            task_name() if experiment.names_span_tasks else None,
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span. Waits if the queue is full; never raises into the caller's code."""
        context = span.context
        opened = None if context is None else self._open.pop(context.span_id, None)
        duration_s = None
        if opened is None:
            found = current_experiment()
            if found is None:
                return
            scope = span.instrumentation_scope
            if scope is not None and scope.name == OWN_SCOPE:
                return
            experiment = found
            began_ns, handled, task = None, None, None
        else:
            experiment, _, began_wall_ns, began_ns, handled, task = opened
            clock = experiment.clock
            wall_ns = clock.wall_ns() - began_wall_ns
            monotonic_ns = clock.monotonic_ns() - began_ns
            if stepped(wall_ns, monotonic_ns):
                duration_s = max(0, monotonic_ns) / 1e9
        if is_suppressed():
            return
        error = sys.exception()
        cancelled_by = None
        # One that was already being handled when the span began: the span cleans up after it.
        cleans_up = opened is not None and error is handled
        if error is not None and not cleans_up and not isinstance(error, Exception):
            cancelled_by = type_name(type(error))
        item = Ended(span, began_ns, duration_s, cancelled_by, opened is None, get_ident(), task)
        try:
            experiment.capture.span(item)
        except StoreStalledError as stalled:
            now = time.monotonic()
            if now - self._complained >= _COMPLAIN_EVERY_S:
                self._complained = now
                _log.error("a span of %s was lost: %s", experiment.id, stalled)

    def open_spans(self, experiment: "Experiment") -> list[str]:
        """Return the names of the spans of an experiment that have not ended."""
        entries = tuple(self._open.copy().values())
        return [name for owner, name, *_ in entries if owner is experiment]

    def shutdown(self) -> None:
        """Flush: the provider's owner ends it, the experiments go on."""
        self.force_flush()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Make durable what was recorded so far; False if that takes longer."""
        deadline = time.monotonic() + timeout_millis / 1000
        for experiment in PROCESS.running():
            try:
                experiment.drain(max(0.0, deadline - time.monotonic()))
            except StoreStalledError:
                return False
        return True
