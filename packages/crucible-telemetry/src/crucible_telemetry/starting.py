"""Starting and stopping an experiment."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from crucible_telemetry.alerts import Alert, AlertRule, check_rules
from crucible_telemetry.assembly import Settings, assemble
from crucible_telemetry.clock import Clock, SystemClock
from crucible_telemetry.context import current_experiment, enter
from crucible_telemetry.enrich import PriceBook
from crucible_telemetry.errors import UnknownExperimentError
from crucible_telemetry.experiment import Experiment, TaskInfo
from crucible_telemetry.identity import experiment_id
from crucible_telemetry.process import PROCESS
from crucible_telemetry.provenance import git_state
from crucible_telemetry.recording import check_name
from crucible_telemetry.records import ExperimentRecord
from crucible_telemetry.redaction import Redactor, described
from crucible_telemetry.sampling import check_sampling
from crucible_telemetry.schema import Json
from crucible_telemetry.stores.opening import open_store
from crucible_telemetry.stores.port import Store

_LEAST_QUEUE = 1_024


def start_experiment(
    *,
    name: str,
    condition: str = "default",
    hypothesis: str | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, Json] | None = None,
    store: Store | str | Path | None = None,
    seed: int | None = None,
    sample_rate: float = 1.0,
    capture_spans: bool = True,
    capture_content: bool = False,
    stamp_spans: bool = False,
    task_info: TaskInfo = "spans",
    event_filter: Callable[[str], bool] | None = None,
    redactor: Redactor | None = None,
    prices: PriceBook | None = None,
    alerts: Sequence[AlertRule] = (),
    on_alert: Callable[[Alert], None] | None = None,
    queue_size: int = 65_536,
    max_block_s: float = 5.0,
    durability: Literal["batched", "each"] = "batched",
    flush_interval_s: float = 0.25,
    flush_on_sigterm: bool = True,
    clock: Clock | None = None,
) -> Experiment:
    """Start an experiment and make it current in this context.

    Every OpenTelemetry span that starts in this context, or in one copied from it, is captured
    when it ends, and so is whatever `Experiment.record` is told.

    Parameters
    ----------
    name, condition : str
        1 to 200 characters without control characters.
    metadata : mapping, optional
        JSON-safe values.
    store : Store, str or path, optional
        A string or None is opened as by `open_store` and released at stop; a Store is yours.
    seed : int, optional
        Kept with the record. Decides which traces are in the sample where `sample_rate` < 1; it
        must be given then, in [0, 2**64).
    sample_rate : float, in (0, 1]
        Share of traces to keep, whole, the same ones in every process. Metrics are weighted.
    capture_spans : bool
        False keeps only what `record` is told, and touches no tracer provider.
    capture_content : bool
        True keeps prompts, answers and exception messages, which are dropped otherwise.
    stamp_spans : bool
        True sets `crucible.experiment.id`, `.name` and `.condition` on the spans themselves, so
        that other exporters show them.
    task_info : {"spans", "all", "none"}
        Which events carry the name of their task: spans and timed blocks, also `record`, or none.
    event_filter : callable, optional
        `event_filter(name)` False leaves an event out and counts it.
    redactor : Redactor, optional
        Changes attributes before they are stored; see `crucible_telemetry.redaction`.
    prices : PriceBook, optional
        Prices calls whose model and tokens are known and whose cost was not reported.
    alerts : sequence of AlertRule
        Rules of `crucible_telemetry.alerts`, or your own.
    on_alert : callable, optional
        Given each `Alert` when it fires, on the thread that writes: note it, and stop or flush
        elsewhere.
    queue_size : int, >= 1024
        Events that may wait in memory. A full queue makes callers wait.
    max_block_s : float, finite, >= 0
        How long they wait before the oldest events go to a file beside the store.
    durability : {"batched", "each"}
        "each" makes `record` return only after its own commit.
    flush_interval_s : float, finite, > 0
        How long an event may wait before it is written.
    flush_on_sigterm : bool
        In the main thread, and where SIGTERM still has its default action: make everything durable
        before the process ends by it.
    clock : Clock, optional
        Tells the time; the machine's clocks by default.

    Returns
    -------
    Experiment
        Running. `with` stops it at the end of the block.

    Raises
    ------
    ValueError
        If an argument is out of range.
    StoreUnavailableError
        If the store cannot be opened or written.
    UnsupportedProviderError
        If spans of the installed tracer provider cannot be captured.
    """
    check_name("name", name)
    check_name("condition", condition)
    _check_limits(queue_size, max_block_s, flush_interval_s)
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError(f"`tags` must be a sequence of texts, got {tags!r}")
    if hypothesis is not None and not isinstance(hypothesis, str):
        raise ValueError(f"`hypothesis` must be text, got {hypothesis!r}")
    check_sampling(sample_rate, seed)
    if redactor is not None and not callable(getattr(redactor, "redact", None)):
        raise ValueError(f"`redactor` must have a method `redact`, got {redactor!r}")
    if task_info not in get_args(TaskInfo):
        raise ValueError(f'`task_info` must be "spans", "all" or "none", got {task_info!r}')
    if durability not in ("batched", "each"):
        raise ValueError(f'`durability` must be "batched" or "each", got {durability!r}')
    if on_alert is not None and not alerts:
        raise ValueError(f"`on_alert` must be None without `alerts`, got {on_alert!r}")
    if stamp_spans and not capture_spans:
        raise ValueError("`stamp_spans` must be False without `capture_spans`, got True")
    known_metadata = _json_safe(metadata)
    settings = Settings(
        task_info=task_info,
        stamp_spans=stamp_spans,
        event_filter=event_filter,
        redactor=redactor,
        prices=prices,
        alerts=check_rules(alerts),
        on_alert=on_alert,
        queue_size=queue_size,
        max_block_s=max_block_s,
        durability=durability,
        flush_interval_s=flush_interval_s,
        flush_on_sigterm=flush_on_sigterm,
    )
    processor = sampler = None
    if capture_spans:
        from crucible_telemetry.provider import capture_from_provider

        processor, sampler = capture_from_provider()
    owns_store = not isinstance(store, Store)
    opened = store if isinstance(store, Store) else open_store(store)
    clock = clock if clock is not None else SystemClock()
    outer = current_experiment()
    commit, dirty = git_state()
    now = clock.wall_ns()
    record = ExperimentRecord(
        id=experiment_id(),
        name=name,
        condition=condition,
        hypothesis=hypothesis,
        tags=tuple(tags),
        metadata=known_metadata,
        parent_id=None if outer is None else outer.id,
        state="running",
        transitions=(("running", now),),
        started_ns=now,
        stopped_ns=None,
        active_s=None,
        seed=seed,
        sample_rate=float(sample_rate),
        sampler=sampler,
        capture_content=capture_content,
        git_commit=commit,
        git_dirty=dirty,
        stats=None,
        redactor=described(redactor),
    )
    experiment = assemble(
        record,
        settings=settings,
        store=opened,
        owns_store=owns_store,
        outer=outer,
        processor=processor,
        clock=clock,
        joins=False,
    )
    enter(experiment)
    return experiment


def stop_experiment(experiment: Experiment | str) -> ExperimentRecord:
    """Stop an experiment, given itself or its id, and return its summary.

    Inside an event loop it blocks the loop until the queue is drained; `stop_experiment_async`
    does not.

    Raises
    ------
    UnknownExperimentError
        If no experiment of this process has that id.
    """
    return find_experiment(experiment).stop()


async def stop_experiment_async(experiment: Experiment | str) -> ExperimentRecord:
    """Do what `stop_experiment` does, without blocking the event loop."""
    found = find_experiment(experiment)
    await found.aclose()
    return found.stop()


def find_experiment(experiment: Experiment | str) -> Experiment:
    """Return an experiment of this process, given itself or its id.

    Raises
    ------
    UnknownExperimentError
        If there is none of that id.
    """
    if isinstance(experiment, Experiment):
        return experiment
    found = PROCESS.find(experiment)
    if found is None:
        raise UnknownExperimentError(experiment)
    return found


def _check_limits(queue_size: int, max_block_s: float, flush_interval_s: float) -> None:
    if queue_size < _LEAST_QUEUE:
        raise ValueError(f"`queue_size` must be >= {_LEAST_QUEUE}, got {queue_size}")
    if not 0 <= max_block_s < float("inf"):
        raise ValueError(f"`max_block_s` must be finite and >= 0, got {max_block_s}")
    if not 0 < flush_interval_s < float("inf"):
        raise ValueError(f"`flush_interval_s` must be finite and > 0, got {flush_interval_s}")


def _json_safe(metadata: Mapping[str, Json] | None) -> dict[str, Json]:
    """Return a copy as JSON reads it back; what JSON cannot hold is the caller's error."""
    try:
        text = json.dumps(dict(metadata or {}), allow_nan=False, ensure_ascii=False)
        text.encode()
        copy: dict[str, Json] = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"`metadata` must be JSON-safe, got {metadata!r}: {error}") from error
    return copy
