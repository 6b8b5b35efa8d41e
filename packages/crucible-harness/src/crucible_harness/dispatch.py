"""Cells are started in schedule order, some at a time, until there is a reason to stop."""

from collections.abc import Iterator, Sequence
from typing import Any

import anyio
import anyio.lowlevel

from crucible_harness.cells import answer_cell
from crucible_harness.desk import Desk, Halted
from crucible_harness.errors import (
    BudgetExceededError,
    HarnessError,
    MetricUnavailableError,
    RunAbortedError,
)
from crucible_harness.errors_policy import FailureWatch
from crucible_harness.experiment import Experiment
from crucible_harness.interrupts import interruptible
from crucible_harness.ledger import Refused
from crucible_harness.measured import value_of
from crucible_harness.options import RunOptions
from crucible_harness.outcome import Status
from crucible_harness.progress import Tally
from crucible_harness.recorded import read_cell
from crucible_harness.schedule import Cell
from crucible_harness.sequential import monitored_value
from crucible_harness.stopping import SequentialWatch
from crucible_harness.tables import Outcome

_METRICS_KNOWN_AFTER = 5  # cells
_CELLS_AT_ONCE = 16  # of one worker; models that answer at once must let others have their turn


class Dispatch:
    """Works off cells.

    Parameters
    ----------
    todo : cells in schedule order
    watch : SequentialWatch, optional
        Tells when enough is known.

    Attributes
    ----------
    status : how it ended; None while it has not, and when all cells were worked off
    """

    def __init__(
        self,
        experiment: Experiment,
        desk: Desk,
        options: RunOptions,
        *,
        todo: Sequence[Cell],
        tally: Tally,
        watch: SequentialWatch | None,
    ) -> None:
        self.status: Status | None = None
        self._experiment, self._desk, self._options = experiment, desk, options
        self._todo: Iterator[Cell] = iter(todo)
        self._tally, self._hooks, self._watch = tally, desk.hooks, watch
        self._conditions = {condition.name: condition for condition in experiment.conditions}
        self._items = {item.id: item for item in experiment.dataset}
        self._failures = FailureWatch(options.errors)
        self._capped: set[tuple[str, str | None]] = set()
        self._first: list[Outcome] | None = [] if tally.finished == 0 else None

    async def work(self) -> None:
        """Start cells, `concurrency` at a time, and wait for those in work."""
        if self._watch is not None and self._watch.decided:
            self.status = "stopped_early"
            return
        async with interruptible(self._interrupt), anyio.create_task_group() as group:
            async with anyio.create_task_group() as workers:
                if self._options.deadline_s is not None:
                    group.start_soon(self._deadline, self._options.deadline_s)
                workers.start_soon(self._worker, workers, self._options.concurrency)
            group.cancel_scope.cancel()
        if self._capped and self.status is None:
            self.status = "budget"

    async def _stop(self, status: Status, kind: str, **detail: Any) -> None:
        if self.status is None and self._desk.failure is None:
            self.status = status
            self._desk.halt()
            await self._desk.notify(kind, **detail)

    async def _interrupt(self) -> None:
        await self._stop("interrupted", "interrupted")

    async def _deadline(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        await self._stop("deadline", "deadline_stop", deadline_s=seconds)

    async def _worker(self, workers: anyio.abc.TaskGroup, places: int) -> None:
        """Work off cells one after the other, beside as many others as there are places.

        Each starts the next, so that the first calls are out while thousands are still being made.
        From the end of a call to the start of the next it awaits nothing that could be had at
        once: workers whose calls end together would all wait for each other, in every round. Only
        where a run may stop early, all that ended is counted before another call is paid for.
        """
        for n, cell in enumerate(self._todo):
            if self._desk.halted:
                return
            if n == 0 and places > 1:
                workers.start_soon(self._worker, workers, places - 1)
            if self._watch is not None or n % _CELLS_AT_ONCE == _CELLS_AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()
            if {("condition", cell.condition), ("item", cell.item)} & self._capped:
                continue
            try:
                await self._cell(cell)
            except Halted:
                return
            except Refused as refused:
                await self._refused(refused)
            except HarnessError as error:
                self._desk.fail(error)
                return

    async def _cell(self, cell: Cell) -> None:
        desk, hooks = self._desk, self._hooks
        await hooks("before_cell", cell)
        outcome = await self._answered(cell)
        if outcome.status != "ok":
            decision = await hooks("on_error", cell, outcome)
            if decision == "retry":
                outcome = await self._answered(cell)
            elif decision == "abort":
                await desk.journal.finish_cell(outcome)
                raise RunAbortedError(f"a hook ended the run at {cell.condition} on {cell.item}")
        await desk.journal.finish_cell(outcome)
        if desk.journal.failure is not None:
            raise desk.journal.failure
        await self._warn_of_budget()
        failed = outcome.status != "ok"
        self._tally.add(cell.condition, failed=failed)
        self._refuse_empty_metrics(outcome)
        if self._failures.too_many(failed=failed):
            await self._stop("failure_rate", "failure_rate_stop", finished=self._tally.finished)
        if self._seen_enough(outcome):
            await self._stop("stopped_early", "stopped_early", items=self._stopping_item())
        await hooks("after_cell", cell, outcome)

    async def _answered(self, cell: Cell) -> Outcome:
        return await answer_cell(
            cell,
            self._conditions[cell.condition],
            self._items[cell.item],
            self._experiment,
            self._desk,
        )

    async def _refused(self, refused: Refused) -> None:
        """Stop where the budget is spent: the run, or the condition or item with the cap."""
        budget = self._options.budget
        assert budget is not None
        if refused.scope == "total":
            if budget.on_exceed == "raise":
                self._desk.fail(
                    BudgetExceededError(
                        f"the next call does not fit the budget of {budget.total_usd:g} dollars, "
                        f"{self._desk.ledger.settled_usd:.6g} are spent. What was answered is kept"
                    )
                )
                return
            await self._stop("budget", "budget_stop", scope="total", name=None)
        elif (refused.scope, refused.name) not in self._capped:
            self._capped.add((refused.scope, refused.name))
            await self._desk.notify("budget_stop", scope=refused.scope, name=refused.name)

    def _seen_enough(self, outcome: Outcome) -> bool:
        watch = self._watch
        if watch is None:
            return False
        value = monitored_value(watch.monitored, outcome.status, outcome.record())
        return watch.add(condition=outcome.condition, item=outcome.item, value=value)

    def _stopping_item(self) -> int | None:
        return None if self._watch is None else self._watch.stopped_at

    async def _warn_of_budget(self) -> None:
        warning = self._desk.ledger.warning()
        if warning is not None:
            await self._desk.notify("budget_warning", **warning)

    def _refuse_empty_metrics(self, outcome: Outcome) -> None:
        """Raise if a metric is unknown on the first cells, before more is paid for.

        The first are five, with one under every condition among them.
        """
        if self._first is None:
            return
        self._first.append(outcome)
        conditions = {seen.condition for seen in self._first}
        if len(self._first) < _METRICS_KNOWN_AFTER or len(conditions) < len(self._conditions):
            return
        first, self._first = self._first, None
        cells = [
            read_cell((o.condition, o.item, o.repeat), o.status, o.record())
            for o in first
            if o.status == "ok"
        ]
        for metric in self._experiment.metrics:
            if cells and all(value_of(cell, metric.name) is None for cell in cells):
                raise MetricUnavailableError(
                    f"metric {metric.name!r} is unknown on the first {len(cells)} cells; drop it "
                    "from `metrics`, or use models that report it"
                )
