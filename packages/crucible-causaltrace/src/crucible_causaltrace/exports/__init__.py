"""Chains in other formats."""

import os
from pathlib import Path
from typing import Literal, get_args

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.exports.graphs import to_dot, to_graphml
from crucible_causaltrace.exports.json_text import to_json, to_jsonl
from crucible_causaltrace.exports.markdown import to_markdown
from crucible_causaltrace.exports.mermaid import to_mermaid
from crucible_causaltrace.exports.prov import to_prov_json
from crucible_causaltrace.exports.table import to_csv

Format = Literal[
    "json", "jsonl", "markdown", "csv", "mermaid_flowchart", "mermaid_sequence",
    "mermaid_timeline", "mermaid_graph", "graphml", "dot", "prov_json",
]  # fmt: skip
FORMATS: tuple[Format, ...] = get_args(Format)
_WRITERS = {
    "json": to_json, "jsonl": to_jsonl, "markdown": to_markdown, "csv": to_csv,
    "graphml": to_graphml, "dot": to_dot, "prov_json": to_prov_json,
}  # fmt: skip


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
    format : {"json", "jsonl", "markdown", "csv", "mermaid_flowchart", "mermaid_sequence", \
"mermaid_timeline", "mermaid_graph", "graphml", "dot", "prov_json"}
        JSON and JSON Lines keep everything: `Chain.from_dict` reads the former back, and
        `chain-1.schema.json` beside this module describes it. Model text is escaped in Markdown,
        Mermaid and DOT, and guarded against being run as a formula in CSV. PROV is the W3C's
        PROV-JSON.
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
        If there are more than 500 events for a Mermaid diagram, and no limit is given.
    """
    if format not in FORMATS:
        raise ValueError(f"`format` must be one of {list(FORMATS)}, got {format!r}")
    if limit is not None and format in _WRITERS:
        raise ValueError(f"`limit` must be None for {format}, which is complete, got {limit}")
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` must be >= 1, got {limit}")
    if (
        format == "mermaid_flowchart"
        or format == "mermaid_sequence"
        or format == "mermaid_timeline"
        or format == "mermaid_graph"
    ):
        text = to_mermaid(chain, format, limit=limit)
    else:
        text = _WRITERS[format](chain)
    if path is not None:
        Path(path).write_bytes(text.encode("utf-8"))
    return text
