"""What a run needs before its first cell."""

from collections.abc import Sequence

from crucible_ensemble import Model
from crucible_harness.desk import Desk
from crucible_harness.executors.local import LocalExecutor
from crucible_harness.experiment import Experiment
from crucible_harness.hooks import HookCaller
from crucible_harness.journal import Journal
from crucible_harness.ledger import Budget, Ledger, Prices, leaves
from crucible_harness.limits import Providers
from crucible_harness.options import RunOptions
from crucible_harness.schedule import Cell
from crucible_harness.scoring import judges
from crucible_harness.sequential import monitored_value, watch_of
from crucible_harness.stopping import SequentialWatch


def desk_of(
    experiment: Experiment, journal: Journal, options: RunOptions, hooks: HookCaller
) -> Desk:
    """Return what all cells share, with the ledger as earlier processes left it."""
    hooks.note = journal.note
    ledger = Ledger(options.budget)
    for condition, item, model, status, bill, reserved in journal.bills():
        ledger.recall(
            condition=condition, item=item, model=model, status=status, bill_usd=bill,
            reserved_usd=reserved,
        )  # fmt: skip
    for key, reserved in journal.lost():
        ledger.recall(
            condition=key.condition, item=key.item, model="", status="lost", bill_usd=None,
            reserved_usd=reserved,
        )  # fmt: skip
    journal.clock = options.clock
    return Desk(
        journal=journal,
        clock=options.clock,
        ledger=ledger,
        prices=Prices({} if options.budget is None else options.budget.assume_price),
        providers=Providers(options.per_provider, concurrency=options.concurrency),
        executor=options.executor or LocalExecutor(),
        timeout_s=options.timeout_s,
        retries=options.retries,
        hooks=hooks,
        fatal=frozenset(options.errors.fatal),
        share_responses=experiment.share_responses,
    )


def models_of(experiment: Experiment) -> list[Model]:
    """Return the models of conditions and judges; a function bound to the first item."""
    first = next(iter(experiment.dataset))
    models = [condition.answering(first) for condition in experiment.conditions]
    return models + [judge.model for _, judge in judges(experiment.metrics)]


def leaves_of(experiment: Experiment) -> list[Model]:
    """Return every leaf model of an experiment, each once; a function with the first item."""
    found: dict[int, Model] = {}
    for model in models_of(experiment):
        for leaf in leaves(model):
            found.setdefault(id(leaf), leaf)
    return list(found.values())


def refuse_unknown_prices(experiment: Experiment, budget: Budget | None) -> None:
    """Raise if a budget is set and a model's price is not known.

    Raises
    ------
    ValueError
        Before the first call, with the names.
    """
    if budget is None:
        return
    unknown = Prices(budget.assume_price).unknown(iter(leaves_of(experiment)))
    if unknown:
        raise ValueError(
            "`budget` must name a price in `assume_price` for models whose price is not known: "
            + ", ".join(unknown)
        )


def watching(
    experiment: Experiment, plan: Sequence[Cell], journal: Journal, todo: Sequence[Cell]
) -> SequentialWatch | None:
    """Return what looks at a sequential design, told of the cells that are finished already."""
    watch = watch_of(experiment, plan)
    if watch is None:
        return None
    left = {(cell.condition, cell.item, cell.repeat) for cell in todo}
    for (condition, item, repeat), (status, record) in journal.cells().items():
        if (condition, item, repeat) not in left:
            value = monitored_value(watch.monitored, status, record)
            watch.add(condition=condition, item=item, value=value)
    return watch
