"""Commands: run, resume, report, quickstart, doctor."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crucible_harness.cli.exits import BY_STATUS, messages
from crucible_harness.options import RunOptions
from crucible_harness.report import FORMATS, Format

if TYPE_CHECKING:
    from crucible_harness.outcome import RunResult

app = typer.Typer(
    help="Experiments on language models: reproducible, paired by item, and honest about what "
    "follows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SHORT: Mapping[str, Format] = {"md": "markdown", "tex": "latex", "ipynb": "jupyter",
                                "notebook": "jupyter"}  # fmt: skip
_ALL = ",".join(FORMATS)

Directory = Annotated[Path, typer.Option(help="Folder in which the run folder is made.")]
Formats = Annotated[
    str, typer.Option("--format", help=f"Reports to write, separated by commas: {_ALL}.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]


@app.command()
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
        _carry_out(experiment, options, formats=_ALL, as_json=as_json)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="The experiment.", metavar="EXPERIMENT.toml")],
    items: Annotated[int | None, typer.Option(min=1, help="Use that many items.")] = None,
    data: Annotated[Path | None, typer.Option(help="The data set's file.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Cells in work at a time.")] = None,
    directory: Directory = Path("runs"),
    formats: Formats = _ALL,
    as_json: Json = False,
) -> None:
    """Run an experiment, analyse it, and write its reports."""
    with messages():
        from dataclasses import replace

        from crucible_harness.config import load_experiment

        _formats(formats)  # a misspelt one must not be found after the run
        experiment, options = load_experiment(file, items=items, data=data)
        options = replace(options, directory=directory)
        if concurrency is not None:
            options = replace(options, concurrency=concurrency)
        _carry_out(experiment, options, formats=formats, as_json=as_json)


@app.command()
def resume(
    folder: RunFolder,
    formats: Formats = _ALL,
    retry_failed: Annotated[bool, typer.Option(help="Try cells again that had failed.")] = True,
    as_json: Json = False,
) -> None:
    """Go on with a run; finished calls are not repeated."""
    with messages():
        from dataclasses import replace

        from crucible_harness.config import reload_experiment
        from crucible_harness.folder import Folder
        from crucible_harness.runner import resume_sync

        _formats(formats)
        experiment, options = reload_experiment(folder, Folder(folder).manifest())
        options = replace(options, retry_failed=retry_failed)
        result = resume_sync(folder, experiment=experiment, options=options)
        _show(result, formats=formats, as_json=as_json)


@app.command()
def report(
    folder: RunFolder,
    formats: Formats = _ALL,
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

        files = write(folder, formats=_formats(formats), path=output, fragment=fragment)
        if as_json:
            typer.echo(json.dumps({name: str(path) for name, path in files.items()}))
        else:
            for path in files.values():
                typer.echo(path)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check installation, disk, extras and the local model."""
    with messages():
        from crucible_harness.doctor import examine

        checks = examine()
        if as_json:
            typer.echo(json.dumps([check.to_dict() for check in checks]))
        else:
            for check in checks:
                typer.echo(f"{check.state:<8} {check.name}: {check.detail}")
        raise SystemExit(1 if any(check.state == "failed" for check in checks) else 0)


def _carry_out(experiment: Any, options: RunOptions, *, formats: str, as_json: bool) -> None:
    from crucible_harness.runner import run_sync

    _show(run_sync(experiment, options=options), formats=formats, as_json=as_json)


def _show(result: "RunResult", *, formats: str, as_json: bool) -> None:
    """Write the reports and say how it went."""
    from crucible_harness.report import report as write

    files: Mapping[Format, Path] = {}
    if result.analysis is not None:
        files = write(result.path, formats=_formats(formats))
    if as_json:
        typer.echo(
            json.dumps(
                {**result.to_dict(), "reports": {name: str(path) for name, path in files.items()}}
            )
        )
    else:
        from crucible_harness.cli.screen import show

        show(result, files)
    raise SystemExit(BY_STATUS[result.status])


def _formats(text: str) -> tuple[Format, ...]:
    names = [_SHORT.get(name.strip(), name.strip()) for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise ValueError(
            f"`--format` must be among {', '.join(FORMATS)}, got {', '.join(unknown) or text!r}"
        )
    return tuple(name for name in FORMATS if name in names)
