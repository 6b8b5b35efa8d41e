"""The command that takes in runs of other tools."""

from pathlib import Path
from typing import Annotated

import typer

from crucible_harness.cli.arguments import ALL, Directory, Formats, Json, print_json, read_formats
from crucible_harness.cli.exits import messages


def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Inspect AI logs (.eval, .json), folders of lm-evaluation-harness samples, or "
            "tables (.csv, .jsonl).",
            metavar="PATH...",
        ),
    ],
    metric: Annotated[
        str | None, typer.Option(help="The main outcome, by the log's name for it.")
    ] = None,
    control: Annotated[str | None, typer.Option(help="Condition to compare with.")] = None,
    treatment: Annotated[str | None, typer.Option(help="Condition that is compared.")] = None,
    sesoi: Annotated[
        float | None, typer.Option(help="Smallest effect of interest; .05 of a share by default.")
    ] = None,
    lower_is_better: Annotated[
        bool, typer.Option(help="Of the main outcome, where the log does not say.")
    ] = False,
    directory: Directory = Path("runs"),
    formats: Formats = ALL,
    as_json: Json = False,
) -> None:
    """Compare runs that another tool made, paired by item."""
    with messages():
        from crucible_harness.analysis import analyse_run
        from crucible_harness.importers import import_logs
        from crucible_harness.recorded import load_run
        from crucible_harness.report import report
        from crucible_harness.results import write_results

        wanted = read_formats(formats)
        folder = import_logs(
            paths,
            directory=directory,
            metric=metric,
            control=control,
            treatment=treatment,
            sesoi=sesoi,
            higher_is_better=not lower_is_better,
        )
        run = load_run(folder)
        analysis = analyse_run(run)
        write_results(run, analysis)
        files = report(folder, formats=wanted)
        if as_json:
            print_json(
                {
                    "path": str(folder),
                    "conditions": list(run.conditions),
                    "items": analysis.items_analysed,
                    "hypotheses": {r.hypothesis.id: r.outcome for r in analysis.hypotheses},
                    "reports": {name: str(path) for name, path in files.items()},
                }
            )
            return
        from rich.console import Console

        from crucible_harness.report.terminal import screen

        console = Console(highlight=False)
        console.print(screen(run, analysis))
        console.print()
        for name, path in files.items():
            typer.echo(f"{name:>9}  {path}")
