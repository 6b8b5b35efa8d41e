"""Whether a run may start: asked on a terminal, bounded elsewhere."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from crucible_harness.options import RunOptions

if TYPE_CHECKING:
    from crucible_harness.estimate import Estimate
    from crucible_harness.experiment import Experiment

FREELY_USD = 1.0  # spent without a question where nobody can be asked


def allowed(
    experiment: "Experiment", options: RunOptions, *, yes: bool, max_cost: float | None
) -> RunOptions:
    """Return the options to run with, once the run may start.

    `max_cost` becomes a budget, in place of the file's. Without it and without `yes`, the bound of
    the price book is shown: on a terminal the user is asked, elsewhere a run that may cost more
    than a dollar, or nobody knows what, is refused.

    Raises
    ------
    ValueError
        If the run may not start.
    """
    from crucible_harness.estimate import estimate_sync
    from crucible_harness.ledger import Budget

    if max_cost is not None:
        if options.budget is None:
            return replace(options, budget=Budget(total_usd=max_cost))
        return replace(options, budget=replace(options.budget, total_usd=max_cost))
    if yes:
        return options
    expected = estimate_sync(experiment, pilot=0, options=options)
    bound = expected.cost_high
    if options.budget is not None:
        total = options.budget.total_usd
        bound = total if bound is None else min(bound, total)
    if bound == 0:
        return options
    said = at_most(expected, bound)
    if sys.stdin.isatty() and sys.stderr.isatty():
        typer.echo(said, err=True)
        if not typer.confirm("Start?", default=True, err=True):
            raise ValueError("not started")
        return options
    if bound is None or bound > FREELY_USD:
        raise ValueError(f"{said} Without a terminal, --yes or --max-cost must be given")
    return options


def at_most(expected: "Estimate", bound: float | None) -> str:
    """Say in one sentence what a run may cost."""
    from crucible_harness.report.values import dollars

    if bound is None:
        return (
            f"{expected.calls:,} calls at an unknown cost: the price of "
            f"{', '.join(expected.unpriced)} is not known."
        )
    return f"{expected.calls:,} calls that cost at most {dollars('', bound).text}."
