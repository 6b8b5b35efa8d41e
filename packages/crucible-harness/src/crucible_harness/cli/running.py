"""Commands of a run: run, resume, status, quickstart."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crucible_harness.cli.arguments import (
    ALL,
    Concurrency,
    Data,
    Directory,
    ExperimentFile,
    Formats,
    Items,
    Journal,
    Json,
    RunFolder,
    print_json,
    read_formats,
)
from crucible_harness.cli.exits import BY_STATUS, messages

if TYPE_CHECKING:
    from crucible_harness.experiment import Experiment
    from crucible_harness.options import RunOptions
    from crucible_harness.outcome import RunResult


def quickstart(
    items: Annotated[int, typer.Option(min=2, max=162, help="Questions to ask.")] = 40,
    directory: Directory = Path("runs"),
    as_json: Json = False,
) -> None:
    """Run a real experiment on a local model, in two minutes."""
    with messages():
        from crucible_harness.quickstart import quickstart_experiment

        experiment, options = quickstart_experiment(items=items, directory=directory)
        if not as_json:
            typer.echo(
                f"{len(experiment.dataset)} questions to SmolLM2-135M on this machine: answered "
                "once without chance (greedy), once with (single), and by a vote of five.",
                err=True,
            )
        _carry_out(experiment, options, formats=ALL, as_json=as_json)


def run(
    file: ExperimentFile,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start whatever it may cost.")] = False,
    max_cost: Annotated[
        float | None, typer.Option(help="Spend at most that many US dollars.")
    ] = None,
    items: Items = None,
    data: Data = None,
    concurrency: Concurrency = None,
    prereg: Annotated[
        Path | None, typer.Option(help="A preregistration that the experiment must keep.")
    ] = None,
    journal: Journal = None,
    directory: Directory = Path("runs"),
    formats: Formats = ALL,
    as_json: Json = False,
) -> None:
    """Run an experiment, analyse it, and write its reports."""
    with messages():
        from dataclasses import replace

        from crucible_harness.cli.confirming import allowed
        from crucible_harness.config import load_experiment

        read_formats(formats)  # a misspelt one must not be found after the run
        experiment, options = load_experiment(file, items=items, data=data)
        options = replace(options, directory=directory, prereg=prereg, journal=journal)
        if concurrency is not None:
            options = replace(options, concurrency=concurrency)
        options = allowed(experiment, options, yes=yes, max_cost=max_cost)
        _carry_out(experiment, options, formats=formats, as_json=as_json)


def resume(
    folder: RunFolder,
    formats: Formats = ALL,
    retry_failed: Annotated[bool, typer.Option(help="Try cells again that had failed.")] = True,
    max_cost: Annotated[
        float | None, typer.Option(help="Spend at most that many US dollars, in all.")
    ] = None,
    concurrency: Concurrency = None,
    journal: Journal = None,
    as_json: Json = False,
) -> None:
    """Go on with a run; finished calls are not repeated."""
    with messages():
        from dataclasses import replace

        from crucible_harness.cli.confirming import allowed
        from crucible_harness.config import reload_experiment
        from crucible_harness.folder import Folder
        from crucible_harness.runner import resume_sync

        read_formats(formats)
        experiment, options = reload_experiment(folder, Folder(folder).manifest())
        options = replace(options, retry_failed=retry_failed, journal=journal)
        if concurrency is not None:
            options = replace(options, concurrency=concurrency)
        # A run that was begun has been allowed.
        options = allowed(experiment, options, yes=True, max_cost=max_cost)
        result = resume_sync(folder, experiment=experiment, options=options)
        _finish(result, formats=formats, as_json=as_json)


def status(
    folder: RunFolder,
    watch: Annotated[bool, typer.Option(help="Look again until the run has ended.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Say where a run stands, also while another process works on it."""
    with messages():
        import time

        from crucible_harness.cli.screen import show_status
        from crucible_harness.status import status as look

        while True:
            now = look(folder)
            if as_json:
                print_json(now.to_dict())
            else:
                show_status(now)
            if not watch or now.status != "running":
                return
            time.sleep(every)


def _carry_out(
    experiment: "Experiment", options: "RunOptions", *, formats: str, as_json: bool
) -> None:
    from crucible_harness.runner import run_sync

    _finish(run_sync(experiment, options=options), formats=formats, as_json=as_json)


def _finish(result: "RunResult", *, formats: str, as_json: bool) -> None:
    """Write the reports and say how it went."""
    from crucible_harness.report import report as write

    files = {} if result.analysis is None else write(result.path, formats=read_formats(formats))
    if as_json:
        reports = {name: str(path) for name, path in files.items()}
        print_json({**result.to_dict(), "reports": reports})
    else:
        from crucible_harness.cli.screen import show

        show(result, files)
    raise SystemExit(BY_STATUS[result.status])
