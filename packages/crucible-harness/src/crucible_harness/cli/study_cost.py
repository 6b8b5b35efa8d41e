"""What the pairs of h2 may cost: asked on a terminal, bounded elsewhere, stopped at a budget."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from crucible_harness.cli.confirming import FREELY_USD
from crucible_harness.errors import BudgetExceededError, HarnessError
from crucible_harness.report.values import dollars

if TYPE_CHECKING:
    from crucible_hedging.shadow import ShadowLog


def allow_pairs(
    bound_usd: float | None, *, calls: int, model: str, yes: bool, max_cost: float | None
) -> None:
    """Let h2 start, by the rules of `crucible run`.

    Raises
    ------
    ValueError
        If the calls may cost more than a dollar, or nobody knows what, and neither a person on a
        terminal nor an option allows it; or if a budget cannot be kept.
    """
    if bound_usd is None and max_cost is not None:
        raise ValueError(
            f"`--max-cost` must not be given where the price of a call is not known: {model}. "
            "--yes starts it whatever it costs; `TailLatency.collect` takes an `assume_price`"
        )
    if yes or max_cost is not None or bound_usd == 0:
        return
    said = (
        f"h2 sends {calls:,} calls at an unknown cost: the price of {model} is not known."
        if bound_usd is None
        else f"h2 sends {calls:,} calls to {model} that cost at most {dollars('', bound_usd).text}."
    )
    if sys.stdin.isatty() and sys.stderr.isatty():
        typer.echo(said, err=True)
        if not typer.confirm("Start?", default=True, err=True):
            raise ValueError("not started")
    elif bound_usd is None or bound_usd > FREELY_USD:
        raise ValueError(f"{said} Without a terminal, --yes or --max-cost must be given")


def check_enough(log: "ShadowLog", *, needed: int, stopped: bool, path: Path) -> None:
    """Refuse to analyse too few pairs, which are kept.

    Raises
    ------
    BudgetExceededError, HarnessError
        Whether the budget or failures are why there are too few.
    """
    answered = sum(record.primary_ok and record.backup_ok for record in log)
    if answered >= needed:
        return
    said = (
        f"{answered} of {len(log)} pairs were answered twice, and an analysis needs {needed}; they "
        f"are in {path}"
    )
    if stopped:
        raise BudgetExceededError(f"the next pair does not fit --max-cost: {said}")
    raise HarnessError(said)


def say_stopped(log: "ShadowLog", *, planned: int, max_cost: float) -> None:
    """Say on standard error that the budget ended it, and what was spent."""
    from crucible_harness.studies.shadowing import spent_usd

    spent: Any = dollars("", spent_usd(log)).text
    typer.echo(
        f"Stopped after {len(log):,} of {planned:,} pairs: {spent} spent, and the next pair might "
        f"exceed --max-cost {max_cost:g}. The same command with more goes on.",
        err=True,
    )
