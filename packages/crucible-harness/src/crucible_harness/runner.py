"""Run an experiment: every cell that is not finished yet, whatever ended the run before."""

import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from crucible_harness import prereg
from crucible_harness.cells import Desk, run_cell
from crucible_harness.errors import HarnessError, MetricUnavailableError, NotARunError
from crucible_harness.experiment import Experiment
from crucible_harness.folder import Folder, folder_of, now
from crucible_harness.journal import Journal
from crucible_harness.observations import value_of
from crucible_harness.options import Limits, RunOptions
from crucible_harness.outcome import RunResult, Status
from crucible_harness.progress import Tally, display
from crucible_harness.recorded import load_run, read_cell
from crucible_harness.schedule import Cell
from crucible_harness.sync import blocking

_METRICS_KNOWN_AFTER = 5  # cells


async def run(experiment: Experiment, *, options: RunOptions | None = None) -> RunResult:
    """Run an experiment, or what is left of it.

    Parameters
    ----------
    experiment : Experiment
    options : RunOptions, optional

    Raises
    ------
    ProviderRefusedError, UnreachableModelError
        If no further call could succeed. What was answered before is kept.
    JournalWriteError
        If a finished call cannot be written down.
    JournalLockedError
        If another process is running it.
    PreregistrationError
        If `options.prereg` is another experiment's.

    Notes
    -----
    The folder `<name>-<first 8 digits of the digest>` is made in `options.directory`; where it
    exists already, finished cells are kept and only the others are run. Answers are written down as
    they arrive, so the process may be killed at any time and the run taken up again. In the main
    thread, the first interrupt (Ctrl-C) lets cells in work finish, a second cancels them.
    """
    options = options or RunOptions()
    prereg.check(experiment, options.prereg)
    folder = folder_of(experiment, options.directory)
    folder.prepare(experiment)
    journal = Journal(folder.journal, design=experiment.frozen)
    try:
        journal.lock()
        prereg.keep(folder, options.prereg, finished=len(journal.cells()))
        return await _run(experiment, folder, journal, options)
    finally:
        journal.close()
        await _close_models(experiment)


async def resume(
    path: Path | str, *, experiment: Experiment | None = None, options: RunOptions | None = None
) -> RunResult:
    """Take up the run in a folder.

    Parameters
    ----------
    path : run folder
    experiment : Experiment, optional
        Needed for experiments that were built in Python; those that came from a file are read again
        from the copy in the folder.

    Raises
    ------
    NotARunError
        If the folder holds no run, or `experiment` must be given.
    DesignMismatchError
        If the experiment is not the one that was begun.
    """
    from dataclasses import replace

    folder = Folder(Path(path))
    manifest = folder.manifest()
    if experiment is None:
        from crucible_harness.config import reload_experiment

        experiment, stored = reload_experiment(folder.path, manifest)
        options = options or stored
    options = replace(options or RunOptions(), directory=folder.path.parent)
    Journal(folder.journal, design=experiment.frozen).close()  # refuses another design
    if folder_of(experiment, folder.path.parent) != folder:
        raise NotARunError(
            f"{str(folder.path)!r} has been renamed; its experiment writes to "
            f"{folder_of(experiment, folder.path.parent).path.name!r}"
        )
    return await run(experiment, options=options)


def run_sync(experiment: Experiment, *, options: RunOptions | None = None) -> RunResult:
    """Do what `run` does, for scripts and notebooks, also where an event loop runs already."""
    return blocking(lambda: run(experiment, options=options))


def resume_sync(
    path: Path | str, *, experiment: Experiment | None = None, options: RunOptions | None = None
) -> RunResult:
    """Do what `resume` does, for scripts and notebooks."""
    return blocking(lambda: resume(path, experiment=experiment, options=options))


@dataclass(slots=True)
class _State:
    """Where a run stands."""

    todo: Iterator[Cell]
    outcomes: deque[bool]
    tally: Tally
    metrics_known: bool = False
    stopped: Status | None = None
    failure: Exception | None = None


async def _run(
    experiment: Experiment, folder: Folder, journal: Journal, options: RunOptions
) -> RunResult:
    began = time.monotonic()
    done = journal.cells()
    plan = experiment.schedule()

    def finished(cell: Cell) -> bool:
        row = done.get((cell.condition, cell.item, cell.repeat))
        return row is not None and (row[0] == "ok" or not options.retry_failed)

    todo = [cell for cell in plan if not finished(cell)]
    desk = Desk(journal, _limits(options), experiment.share_responses)
    names = [condition.name for condition in experiment.conditions]
    state = _State(
        todo=iter(todo),
        outcomes=deque(maxlen=options.errors.window),
        tally=Tally(names, planned=len(plan), finished=len(plan) - len(todo)),
    )
    with _telemetry(experiment, folder, options) as record:
        with display(state.tally, options.progress):
            await _work(experiment, options, desk, state)
        ended: Status = state.stopped or "complete"
        record(planned=len(plan), status="error" if state.failure else ended)
    if journal.failure is not None:
        raise journal.failure
    if state.failure is not None:
        folder.update(status="interrupted", ended=now(), possibly_billed=_billed(journal))
        raise state.failure
    return _finish(folder, journal, desk, ended, options, began)


async def _work(experiment: Experiment, options: RunOptions, desk: Desk, state: _State) -> None:
    """Start cells in schedule order, `concurrency` at a time, until there is a reason to stop."""
    conditions = {condition.name: condition for condition in experiment.conditions}
    items = {item.id: item for item in experiment.dataset}

    async def worker() -> None:
        for cell in state.todo:
            if state.stopped or state.failure:
                return
            try:
                status = await run_cell(
                    cell, conditions[cell.condition], items[cell.item], experiment, desk
                )
                if not state.metrics_known and _enough_to_know(state.tally, cell.condition):
                    state.metrics_known = True
                    _refuse_empty_metrics(experiment, desk.journal)
            except HarnessError as error:
                state.failure = state.failure or error
                return
            state.tally.add(cell.condition, failed=status != "ok")
            state.outcomes.append(status == "ok")
            if _too_many_failures(state.outcomes, options):
                state.stopped = "failure_rate"
            if desk.journal.failure is not None:
                return

    async with _interruptible(state), anyio.create_task_group() as group:
        for _ in range(options.concurrency):
            group.start_soon(worker)


def _too_many_failures(outcomes: deque[bool], options: RunOptions) -> bool:
    policy = options.errors
    failed = outcomes.count(False)
    return len(outcomes) >= policy.minimum and failed > policy.max_failure_rate * len(outcomes)


@asynccontextmanager
async def _interruptible(state: _State) -> AsyncIterator[None]:
    """Stop starting cells at the first interrupt, cancel what runs at the second."""
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                ready.set()
                async for _ in signals:
                    if state.stopped is not None:
                        group.cancel_scope.cancel()
                        return
                    state.stopped = "interrupted"

        ready = anyio.Event()
        if _in_main_thread():
            group.start_soon(watch)
            await ready.wait()
        yield
        group.cancel_scope.cancel()


def _in_main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


def _finish(
    folder: Folder,
    journal: Journal,
    desk: Desk,
    status: Status,
    options: RunOptions,
    began: float,
) -> RunResult:
    folder.update(status=status, ended=now(), possibly_billed=_billed(journal))
    recorded = load_run(folder.path)
    analysis = None
    if recorded.cells:
        from crucible_harness.analysis import analyse_run
        from crucible_harness.results import write_results

        analysis = analyse_run(recorded)
        write_results(recorded, analysis)
    if options.trace:
        from crucible_harness.tracing import write_trace

        write_trace(folder)
    folder.update(served_by=sorted({name for cell in recorded.cells for name in cell.served_by}))
    costs = [cell.cost_usd for cell in recorded.cells]
    return RunResult(
        path=folder.path,
        status=status,
        planned=recorded.planned,
        finished=recorded.finished,
        failed=recorded.failed,
        not_run=recorded.not_run,
        calls_sent=desk.sent,
        possibly_billed=journal.possibly_billed(),
        cost_usd=None if None in costs else sum(c for c in costs if c is not None),
        known_cost_usd=sum(c for c in costs if c is not None),
        wall_s=time.monotonic() - began,
        analysis=analysis,
    )


def _enough_to_know(tally: Tally, condition: str) -> bool:
    """Say whether five cells are finished, and one under every condition."""
    finished = {**tally.per_condition, condition: tally.per_condition[condition] + 1}
    return tally.finished + 1 >= _METRICS_KNOWN_AFTER and all(finished.values())


def _refuse_empty_metrics(experiment: Experiment, journal: Journal) -> None:
    """Raise if a metric is unknown on every answered cell, before more is paid for."""
    cells = [read_cell(key, *row) for key, row in journal.cells().items() if row[0] == "ok"]
    for metric in experiment.metrics:
        if cells and all(value_of(cell, metric.name) is None for cell in cells):
            raise MetricUnavailableError(
                f"metric {metric.name!r} is unknown on the first {len(cells)} cells; drop it "
                "from `metrics`, or use models that report it"
            )


def _limits(options: RunOptions) -> Callable[[str], anyio.CapacityLimiter]:
    """Return the limiter of a model's provider, one for each provider."""
    made: dict[str, anyio.CapacityLimiter] = {}

    def limiter(model: str) -> anyio.CapacityLimiter:
        provider = model.partition("/")[0]
        if provider not in made:
            most = options.per_provider.get(provider, Limits(concurrency=options.concurrency))
            made[provider] = anyio.CapacityLimiter(most.concurrency)
        return made[provider]

    return limiter


@contextmanager
def _telemetry(
    experiment: Experiment, folder: Folder, options: RunOptions
) -> Iterator[Callable[..., None]]:
    """Record every span of the run; the callable that is yielded adds facts to the run's own."""
    from crucible_harness.tracing import captured, run_span

    with captured(experiment, folder, enabled=options.telemetry), run_span(experiment) as record:
        yield record


async def _close_models(experiment: Experiment) -> None:
    closed: set[int] = set()
    for condition in experiment.conditions:
        close = getattr(condition.model, "aclose", None)
        if close is not None and id(condition.model) not in closed:
            closed.add(id(condition.model))
            with anyio.CancelScope(shield=True):
                await close()


def _billed(journal: Journal) -> list[str]:
    return list(journal.possibly_billed())
