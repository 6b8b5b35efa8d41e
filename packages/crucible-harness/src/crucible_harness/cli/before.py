"""Commands before a run: estimate, plan, preregister."""

from pathlib import Path
from typing import Annotated

import typer

from crucible_harness.cli.arguments import (
    Concurrency,
    Data,
    Directory,
    ExperimentFile,
    Items,
    Json,
    print_json,
)
from crucible_harness.cli.exits import messages


def estimate(
    file: ExperimentFile,
    pilot: Annotated[
        int, typer.Option(min=2, help="Items to run first; they are part of the run.")
    ] = 10,
    no_pilot: Annotated[
        bool, typer.Option("--no-pilot", help="Ask nobody: bounds of the price book.")
    ] = False,
    max_cost: Annotated[
        float | None, typer.Option(help="Spend at most that many US dollars on the pilot.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Run the pilot at any cost.")] = False,
    items: Items = None,
    data: Data = None,
    concurrency: Concurrency = None,
    directory: Directory = Path("runs"),
    as_json: Json = False,
) -> None:
    """Say what an experiment will cost and how long it will take."""
    with messages():
        from dataclasses import replace

        from crucible_harness.cli.confirming import allowed
        from crucible_harness.cli.screen import show_estimate
        from crucible_harness.config import load_experiment
        from crucible_harness.estimate import estimate_sync

        experiment, options = load_experiment(file, items=items, data=data)
        options = replace(options, directory=directory)
        if concurrency is not None:
            options = replace(options, concurrency=concurrency)
        if not no_pilot:
            options = allowed(experiment, options, yes=yes, max_cost=max_cost)
        found = estimate_sync(experiment, pilot=0 if no_pilot else pilot, options=options)
        if as_json:
            print_json(found.to_dict())
        else:
            show_estimate(found, len(experiment.dataset))


def plan(
    file: ExperimentFile,
    hypothesis: Annotated[str, typer.Option(help="Id of the hypothesis to plan.")],
    power: Annotated[float, typer.Option(help="Probability of finding the effect.")] = 0.8,
    pilot: Annotated[
        Path | None, typer.Option(help="Run folder whose variation is taken.", metavar="RUN")
    ] = None,
    treatment_only: Annotated[
        float | None, typer.Option(help="Share of items that only the treatment gets right.")
    ] = None,
    control_only: Annotated[
        float | None, typer.Option(help="Share of items that only the control gets right.")
    ] = None,
    item_sd: Annotated[
        float | None, typer.Option(help="Deviation of the difference over items, in its unit.")
    ] = None,
    items: Items = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Say how many items a hypothesis needs, and what the data set at hand can show."""
    with messages():
        from crucible_harness.config import load_experiment
        from crucible_harness.plan import PilotRates
        from crucible_harness.plan import plan as work_out

        rates = (treatment_only, control_only, item_sd)
        if (pilot is None) == (rates == (None, None, None)):
            raise ValueError(
                "give `--pilot RUN`, or `--treatment-only` and `--control-only`, or `--item-sd`"
            )
        known: Path | PilotRates
        known = pilot or PilotRates(
            treatment_only=treatment_only, control_only=control_only, item_sd=item_sd
        )
        experiment, _ = load_experiment(file, items=items, data=data)
        planned = work_out(experiment, hypothesis, pilot=known, power=power)
        if as_json:
            print_json(planned.to_dict())
        else:
            typer.echo(planned.sentence)
            for note in planned.notes:
                typer.echo(f"Note: {note}.")


def preregister(
    file: ExperimentFile,
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("preregistration.json"),
    items: Items = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Write down what an experiment asks and how it will be decided, before the first call."""
    with messages():
        from crucible_harness.config import load_experiment
        from crucible_harness.prereg import preregister as register

        experiment, _ = load_experiment(file, items=items, data=data)
        registered = register(experiment, output)
        if as_json:
            print_json({"path": str(output), **registered.to_dict()})
        else:
            typer.echo(f"{output}  digest {registered.digest}")
            typer.echo(f"Publish it, then: crucible run {file} --prereg {output}")
