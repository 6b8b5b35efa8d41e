"""Commands after a run: report, verify, compare, cite."""

from pathlib import Path
from typing import Annotated

import typer

from crucible_harness.cli.arguments import (
    ALL,
    Formats,
    Json,
    RunFolder,
    print_json,
    read_formats,
)
from crucible_harness.cli.exits import VERIFICATION, messages


def report(
    folder: RunFolder,
    formats: Formats = ALL,
    output: Annotated[
        Path | None, typer.Option(help="Folder to write into; the run folder by default.")
    ] = None,
    fragment: Annotated[
        bool, typer.Option(help=r"LaTeX without preamble, for \input into a paper.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the reports of a run again, from its journal."""
    with messages():
        from crucible_harness.report import report as write

        files = write(folder, formats=read_formats(formats), path=output, fragment=fragment)
        if as_json:
            print_json({name: str(path) for name, path in files.items()})
        else:
            for path in files.values():
                typer.echo(path)


def verify(
    folder: RunFolder,
    replay: Annotated[
        bool, typer.Option(help="Execute every cell again from the journal, without network.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Check hashes and derive every number of a run again; exit 5 if anything does not fit."""
    with messages():
        from crucible_harness.cli.screen import show_verification
        from crucible_harness.verify import verify as check

        found = check(folder, replay=replay)
        if as_json:
            print_json(found.to_dict())
        else:
            show_verification(found)
        raise SystemExit(0 if found.ok else VERIFICATION)


def compare(
    folders: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN RUN...")],
    hypothesis: Annotated[str, typer.Option(help="Id of the hypothesis that all runs ask.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder to write a report into; none by default.")
    ] = None,
    formats: Formats = ALL,
    as_json: Json = False,
) -> None:
    """Pool one hypothesis over several runs."""
    with messages():
        from crucible_harness.cli.screen import show_pooled
        from crucible_harness.compare import compare as pool
        from crucible_harness.report import report as write

        chosen = read_formats(formats)
        found = pool(folders, hypothesis=hypothesis)
        files = {} if output is None else write(found, formats=chosen, path=output)
        if as_json:
            reports = {name: str(path) for name, path in files.items()}
            print_json({**found.to_dict(), "reports": reports})
        else:
            show_pooled(found)
            for path in files.values():
                typer.echo(path)


def cite(
    folder: RunFolder,
    style: Annotated[str, typer.Option(help="bibtex, apa, ieee or mla.")] = "bibtex",
    as_json: Json = False,
) -> None:
    """Say how to cite a run."""
    with messages():
        from crucible_harness.publish import STYLES
        from crucible_harness.publish import cite as citation

        known = next((name for name in STYLES if name == style), None)
        if known is None:
            raise ValueError(f"`--style` must be one of {', '.join(STYLES)}, got {style!r}")
        text = citation(folder, style=known)
        if as_json:
            print_json({"style": style, "citation": text})
        else:
            typer.echo(text)
