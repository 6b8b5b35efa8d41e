"""Chains in other formats."""

import os
from pathlib import Path
from typing import Literal, get_args

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.exports.json_text import to_json, to_jsonl
from crucible_causaltrace.exports.markdown import to_markdown
from crucible_causaltrace.exports.mermaid import to_mermaid_flowchart
from crucible_causaltrace.exports.table import to_csv

Format = Literal["json", "jsonl", "markdown", "csv", "mermaid_flowchart"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export_chain(
    chain: Chain,
    format: Format,
    *,
    path: str | os.PathLike[str] | None = None,
    limit: int | None = None,
) -> str:
    """Write a chain in a format.

    Parameters
    ----------
    chain : Chain
    format : {"json", "jsonl", "markdown", "csv", "mermaid_flowchart"}
        JSON and JSON Lines keep everything, and `Chain.from_dict` reads the former back. Model text
        is escaped in Markdown and Mermaid, and guarded against being run as a formula in CSV.
    path : path, optional
        Write it there too, as UTF-8.
    limit : int, >= 1, optional
        For Mermaid: draw the first events only; the diagram says so.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the format is not one of these, or is given a limit that it cannot keep.
    ExportTooLargeError
        If there are more events than a diagram can show, and no limit is given.
    """
    if format not in FORMATS:
        raise ValueError(f"`format` must be one of {list(FORMATS)}, got {format!r}")
    if limit is not None and format != "mermaid_flowchart":
        raise ValueError(f"`limit` must be None for {format}, which is complete, got {limit}")
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` must be >= 1, got {limit}")
    if format == "mermaid_flowchart":
        text = to_mermaid_flowchart(chain, limit=limit)
    else:
        writers = {"json": to_json, "jsonl": to_jsonl, "markdown": to_markdown, "csv": to_csv}
        text = writers[format](chain)
    if path is not None:
        Path(path).write_bytes(text.encode("utf-8"))
    return text
