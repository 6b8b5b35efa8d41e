"""What a running experiment consists of, put together the same way wherever it runs."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from crucible_telemetry import query
from crucible_telemetry.alerts import ALERT, Alert, AlertBoard, AlertRule
from crucible_telemetry.capture import Capture
from crucible_telemetry.channel import Channel
from crucible_telemetry.clock import Clock
from crucible_telemetry.enrich import Enricher, PriceBook
from crucible_telemetry.errors import StoreStalledError
from crucible_telemetry.experiment import Experiment, TaskInfo
from crucible_telemetry.identity import writer_id
from crucible_telemetry.process import PROCESS
from crucible_telemetry.provenance import this_writer
from crucible_telemetry.recording import recorded
from crucible_telemetry.records import ExperimentRecord
from crucible_telemetry.redaction import Redactor
from crucible_telemetry.sampling import sampler
from crucible_telemetry.spill import Spill, spill_path
from crucible_telemetry.stores.opening import reachable
from crucible_telemetry.stores.port import Store
from crucible_telemetry.suppression import suppressed

if TYPE_CHECKING:
    from crucible_telemetry.processor import ExperimentSpanProcessor


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an experiment captures in this process; the arguments of `start_experiment`."""

    task_info: TaskInfo = "spans"
    stamp_spans: bool = False
    event_filter: Callable[[str], bool] | None = None
    redactor: Redactor | None = None
    prices: PriceBook | None = None
    alerts: Sequence[AlertRule] = ()
    on_alert: Callable[[Alert], None] | None = None
    queue_size: int = 65_536
    max_block_s: float = 5.0
    durability: Literal["batched", "each"] = "batched"
    flush_interval_s: float = 0.25
    flush_on_sigterm: bool = True


def assemble(
    record: ExperimentRecord,
    *,
    settings: Settings,
    store: Store,
    owns_store: bool,
    outer: Experiment | None,
    processor: "ExperimentSpanProcessor | None",
    clock: Clock,
    joins: bool,
) -> Experiment:
    """Return a running experiment that writes to its store. `joins` if others write to it, too."""
    me = this_writer(writer_id(), clock.wall_ns())
    with suppressed(), reachable(store):
        if not joins:
            store.put("experiment", record.id, query.without_writers(record))
        store.put("writer", query.writer_key(record.id, me.writer_id), me.to_dict())
    with PROCESS.lock:
        writer = PROCESS.writer_of(store)
        channel = Channel(
            experiment_id=record.id,
            writer_id=me.writer_id,
            enricher=Enricher(
                record.id,
                capture_content=record.capture_content,
                prices=settings.prices,
                redactor=settings.redactor,
                sample_rate=record.sample_rate,
            ),
            spill=_spill(store, record.id, me.writer_id),
            wake=writer.wake,
            queue_size=settings.queue_size,
            max_block_s=settings.max_block_s,
            flush_interval_s=settings.flush_interval_s,
        )
        experiment = Experiment(
            replace(record, writers=(me,)),
            store=store,
            owns_store=owns_store,
            outer=outer,
            capture=Capture(
                channel,
                writer,
                event_filter=settings.event_filter,
                sampler=sampler(record.sample_rate, record.seed),
                wait_for_each=settings.durability == "each",
            ),
            this_writer=me,
            processor=processor,
            clock=clock,
            task_info=settings.task_info,
            stamp_spans=settings.stamp_spans,
            flush_on_sigterm=settings.flush_on_sigterm,
            is_copy=joins,
        )
        if settings.alerts:
            board = AlertBoard(
                settings.alerts,
                emit=_alert_recorder(experiment),
                on_alert=settings.on_alert,
                now_ns=clock.wall_ns,
            )
            channel.observers.append(board.observe)
        writer.attach(channel)
        PROCESS.started(experiment)
    return experiment


def join_as_copy(experiment: Experiment) -> None:
    """Give a forked child process its own writer on an experiment that it inherited."""
    me = this_writer(writer_id(), experiment.clock.wall_ns())
    store, key = experiment.store, query.writer_key(experiment.id, me.writer_id)
    channel = experiment.capture.channel.copy(
        writer_id=me.writer_id,
        spill=_spill(store, experiment.id, me.writer_id),
        introduce=lambda: store.put("writer", key, me.to_dict()),
    )
    experiment.renew_after_fork(channel, me)


def _alert_recorder(experiment: Experiment) -> Callable[[Alert], None]:
    """Return what stores an alert as an event of its experiment, from the writer's thread."""
    from opentelemetry.trace import INVALID_SPAN_CONTEXT

    def record(alert: Alert) -> None:
        at = alert.fired_ns if alert.cleared_ns is None else alert.cleared_ns
        known = {name: value for name, value in alert.to_dict().items() if value is not None}
        attributes = {f"crucible.alert.{name}": value for name, value in known.items()}
        item = recorded(
            ALERT,
            experiment.clock,
            "unknown",
            None,
            at,
            *(None,) * 8,
            INVALID_SPAN_CONTEXT,
            None,
            None,
            attributes,
        )
        # The writer never waits for itself; a queue that is full for good keeps its events first.
        with suppress(StoreStalledError):
            experiment.capture.channel.put(item)

    return record


def _spill(store: Store, id: str, writer: str) -> Spill:
    return Spill(spill_path(store, experiment_id=id, writer_id=writer))
