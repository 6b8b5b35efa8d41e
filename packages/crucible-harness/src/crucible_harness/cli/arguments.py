"""Arguments that several commands share, and how formats are read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from crucible_harness.report import FORMATS, Format

_SHORT: Mapping[str, Format] = {"md": "markdown", "tex": "latex", "ipynb": "jupyter",
                                "notebook": "jupyter"}  # fmt: skip
ALL = ",".join(FORMATS)

Directory = Annotated[Path, typer.Option(help="Folder in which the run folder is made.")]
Formats = Annotated[
    str, typer.Option("--format", help=f"Reports to write, separated by commas: {ALL}.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]
ExperimentFile = Annotated[Path, typer.Argument(help="The experiment.", metavar="EXPERIMENT.toml")]
Items = Annotated[int | None, typer.Option(min=1, help="Use that many items.")]
Data = Annotated[Path | None, typer.Option(help="The data set's file.")]
Concurrency = Annotated[int | None, typer.Option(min=1, help="Cells in work at a time.")]
Journal = Annotated[
    str | None, typer.Option(help="postgresql:// address of a journal in a database.")
]


def read_formats(text: str) -> tuple[Format, ...]:
    """Return the formats in a list with commas, short names among them.

    Raises
    ------
    ValueError
        If one is unknown, or there is none.
    """
    names = [_SHORT.get(name.strip(), name.strip()) for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise ValueError(
            f"`--format` must be among {', '.join(FORMATS)}, got {', '.join(unknown) or text!r}"
        )
    return tuple(name for name in FORMATS if name in names)


def print_json(value: Any) -> None:
    """Print a record as one line of JSON."""
    typer.echo(json.dumps(value, default=str))
