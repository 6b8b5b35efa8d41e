"""Run an experiment: every cell that is not finished yet, whatever ended the run before."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from crucible_harness import prereg
from crucible_harness.desk import Desk
from crucible_harness.dispatch import Dispatch
from crucible_harness.errors import NotARunError
from crucible_harness.estimate import confirmed
from crucible_harness.experiment import Experiment
from crucible_harness.folder import Folder, folder_of
from crucible_harness.hooks import HookCaller
from crucible_harness.journal import Journal, Key
from crucible_harness.options import RunOptions
from crucible_harness.outcome import RunResult, Status
from crucible_harness.progress import Tally, display
from crucible_harness.recorded import RecordedRun, load_run
from crucible_harness.schedule import Cell
from crucible_harness.setting_up import (
    desk_of,
    leaves_of,
    models_of,
    refuse_unknown_prices,
    watching,
)
from crucible_harness.slo import check_slo, stated
from crucible_harness.sync import blocking

if TYPE_CHECKING:
    from crucible_harness.analysis import Analysis


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
    JournalVersionError
        If another version of this package began it.
    BudgetExceededError
        If the next call does not fit a budget that raises.
    NotConfirmedError
        If `options.confirm` says no.
    HookError, RunAbortedError
        If a strict hook raised, or a hook asked for the end.

    Notes
    -----
    The folder `<name>-<first 8 digits of the digest>` is made in `options.directory`; where it
    exists already, finished cells are kept and only the others are run. Answers are written down as
    they arrive, so the process may be killed at any time and the run taken up again. In the main
    thread, the first interrupt (Ctrl-C) sends no new call and waits for those in flight, a second
    cancels them.
    """
    options = options or RunOptions()
    await confirmed(experiment, options)
    return await _start(experiment, options, items=None)


async def resume(
    path: Path | str,
    *,
    experiment: Experiment | None = None,
    options: RunOptions | None = None,
    retry_failed: bool | None = None,
) -> RunResult:
    """Take up the run in a folder.

    Parameters
    ----------
    path : run folder
    experiment : Experiment, optional
        Needed for experiments that were built in Python; those that came from a file are read again
        from the copy in the folder.
    options : RunOptions, optional
        Those of the file, or the defaults.
    retry_failed : bool, optional
        Whether cells that failed are tried again; by default what `options` says. Old rows stay.

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
    if retry_failed is not None:
        options = replace(options, retry_failed=retry_failed)
    # Refuses another design.
    folder.open_journal(design=experiment.frozen, url=options.journal).close()
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
    path: Path | str,
    *,
    experiment: Experiment | None = None,
    options: RunOptions | None = None,
    retry_failed: bool | None = None,
) -> RunResult:
    """Do what `resume` does, for scripts and notebooks."""
    return blocking(
        lambda: resume(path, experiment=experiment, options=options, retry_failed=retry_failed)
    )


async def run_part(
    experiment: Experiment, *, items: int, options: RunOptions | None = None
) -> RunResult:
    """Run the first items of the schedule, such as for a pilot; `run` goes on from there.

    Parameters
    ----------
    items : int, >= 1
    """
    if items < 1:
        raise ValueError(f"`items` must be >= 1, got {items}")
    return await _start(experiment, options or RunOptions(), items=items)


async def _start(experiment: Experiment, options: RunOptions, *, items: int | None) -> RunResult:
    began = time.monotonic()
    prereg.check(experiment, options.prereg)
    refuse_unknown_prices(experiment, options.budget)
    check_slo(options.slo, [condition.name for condition in experiment.conditions])
    folder = folder_of(experiment, options.directory, clock=options.clock)
    folder.prepare(experiment, journal=options.journal, allow_dirty=options.allow_dirty)
    journal = folder.open_journal(
        design=experiment.frozen, url=options.journal, durability=options.durability
    )
    try:
        journal.lock()
        finished = len(journal.states())
        prereg.keep(folder, options.prereg, finished=finished)
        if options.slo:
            known = folder.manifest().get("slo", [])
            folder.update(slo=stated(options.slo, known, finished=finished))
        return await _run(experiment, folder, journal, options, items=items, began=began)
    finally:
        journal.close()
        await _close_models(experiment)


async def _run(
    experiment: Experiment,
    folder: Folder,
    journal: Journal,
    options: RunOptions,
    *,
    items: int | None,
    began: float,
) -> RunResult:
    plan = experiment.schedule()
    done = journal.states()
    planned, todo = _left(plan, done, items=items, retry_failed=options.retry_failed)
    hooks = HookCaller(options.hooks)
    desk = desk_of(experiment, journal, options, hooks)
    per_condition = Counter(cell.condition for cell in planned)
    tally = Tally(
        {c.name: per_condition[c.name] for c in experiment.conditions},
        finished=per_condition - Counter(cell.condition for cell in todo),
        ledger=desk.ledger,
        providers=desk.providers,
    )
    dispatch = Dispatch(
        experiment, desk, options, todo=todo, tally=tally,
        watch=watching(experiment, plan, journal, todo),
    )  # fmt: skip
    with _telemetry(experiment, folder, options) as record:
        await hooks("before_run", experiment)
        if done:
            await desk.notify("resume", finished=len(done))
        if todo:
            await desk.executor.open(leaves_of(experiment))
        try:
            async with desk.hedgers.of(models_of(experiment)):
                with display(tally, options.progress):
                    await dispatch.work()
        finally:
            with anyio.CancelScope(shield=True):
                await desk.executor.close()
        ended: Status = dispatch.status or "complete"
        record(
            run_id=str(folder.manifest()["run_id"]),
            planned=len(plan),
            status="error" if desk.failure or journal.failure else ended,
            finished=tally.finished,
            failed=tally.failed,
            cost_usd=desk.ledger.settled_usd,
        )
    if journal.failure is not None:
        raise journal.failure
    folder.update(
        status=_how(ended, desk, whole=items is None),
        ended=folder.now(),
        possibly_billed=[key.to_dict() for key in journal.possibly_billed()],
        hook_errors=hooks.errors,
    )
    if desk.failure is not None:
        raise desk.failure
    result = _finish(folder, journal, desk, ended, options, began, hooks)
    try:
        await hooks("after_run", result)
    finally:
        folder.update(hook_errors=hooks.errors)
    return result


def _left(
    plan: Sequence[Cell], done: Mapping[Key, str], *, items: int | None, retry_failed: bool
) -> tuple[Sequence[Cell], list[Cell]]:
    """Return the cells that are planned among the first items, and those that are not finished."""
    if items is not None:
        wanted = set(list(dict.fromkeys(cell.item for cell in plan))[:items])
        plan = [cell for cell in plan if cell.item in wanted]

    def finished(cell: Cell) -> bool:
        status = done.get((cell.condition, cell.item, cell.repeat))
        return status is not None and (status == "ok" or not retry_failed)

    return plan, [cell for cell in plan if not finished(cell)]


def _how(ended: Status, desk: Desk, *, whole: bool) -> Status:
    if desk.failure is not None or (ended == "complete" and not whole):
        return "interrupted"
    return ended


def _finish(
    folder: Folder,
    journal: Journal,
    desk: Desk,
    status: Status,
    options: RunOptions,
    began: float,
    hooks: HookCaller,
) -> RunResult:
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
    return RunResult(
        run_id=str(recorded.manifest["run_id"]),
        path=folder.path,
        status=status,
        planned=recorded.planned,
        finished=recorded.finished,
        failed=recorded.failed,
        not_run=recorded.not_run,
        surplus=_surplus(analysis),
        calls_sent=desk.sent,
        possibly_billed=journal.possibly_billed(),
        cost=desk.ledger.summary(),
        wall_s=time.monotonic() - began,
        analysis=analysis,
        warnings=_warnings(recorded, desk, hooks, analysis),
    )


def _surplus(analysis: "Analysis | None") -> int:
    sequential = None if analysis is None else analysis.sequential
    return 0 if sequential is None else sequential.surplus_cells


def _warnings(
    recorded: RecordedRun, desk: Desk, hooks: HookCaller, analysis: "Analysis | None"
) -> tuple[str, ...]:
    found = [] if analysis is None else list(analysis.warnings)
    cost = desk.ledger.summary()
    if cost.budget_usd is not None and cost.settled_usd > cost.budget_usd:
        found.append(
            f"A provider billed more than was reserved: {cost.settled_usd:.6g} dollars were spent "
            f"of a budget of {cost.budget_usd:g}."
        )
    if cost.unknown_calls:
        found.append(f"The price of {cost.unknown_calls:,} answered calls is not known.")
    if recorded.possibly_billed:
        found.append(
            f"{recorded.possibly_billed:,} calls were cut off by a crash and sent again; a "
            "provider may bill them twice."
        )
    return (*found, *(f"A hook raised: {error}" for error in hooks.errors))


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
