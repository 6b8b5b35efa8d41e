"""One call from an experiment to a file and its manifest, both complete or not there."""

import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

from crucible_telemetry import query
from crucible_telemetry.experiment import Experiment
from crucible_telemetry.exports import delimited, parquet
from crucible_telemetry.exports.manifest import Tally, manifest, manifest_path, sha256_of
from crucible_telemetry.extras import require
from crucible_telemetry.filters import Filter, check_filter
from crucible_telemetry.lines import line_of
from crucible_telemetry.records import ExperimentRecord
from crucible_telemetry.schema import NAMES, Row, check_columns
from crucible_telemetry.sources import located
from crucible_telemetry.stores.port import Query, Store
from crucible_telemetry.suppression import own_span
from crucible_telemetry.values import dump

Format = Literal["csv", "jsonl", "parquet"]


def export(
    experiment: Experiment | str,
    format: Format,
    *,
    path: str | Path | None = None,
    store: Store | str | Path | None = None,
    columns: Sequence[str] | None = None,
    where: Filter | None = None,
    formula_guard: bool = True,
) -> Path:
    """Write the events of an experiment to a file, with a manifest beside it.

    Parameters
    ----------
    experiment : Experiment or str
        Itself or its id; of a running one, what was recorded before the call.
    format : {"csv", "jsonl", "parquet"}
        "jsonl" is lossless: `import_events` restores equal rows. "parquet" needs its extra.
    path : path, optional
        By default `<name>-<condition>-<last 8 of the id>.<format>` in the working directory. An
        existing file is replaced at once, when the new one is complete.
    store : Store, str or path, optional
        Where to look for an id of another process; as for `open_store`.
    columns : sequence of str, optional
        Columns of `Event` to keep; all by default.
    where : Filter, optional
        Keep only events that fulfil it; the manifest then names no gaps.
    formula_guard : bool
        CSV only: put `'` before text that a spreadsheet would run as a formula.

    Returns
    -------
    Path
        Of the file. Its manifest is `<file>.manifest.json`: the experiment's record, the range of
        numbers and the gaps of each writer, and the file's SHA-256. The same rows give the same
        bytes.

    Raises
    ------
    ValueError
        If the format or a column is unknown.
    MissingExtraError
        If pyarrow is not installed; no file is created then.
    UnknownExperimentError
        If the store has no experiment of that id.
    """
    if format not in get_args(Format):
        raise ValueError(f'`format` must be "csv", "jsonl" or "parquet", got {format!r}')
    check_filter(where)
    kept = NAMES if columns is None else check_columns(columns)
    if format == "parquet":
        require("parquet")
    with own_span("export"), located(experiment, store) as (opened, id):
        record = query.readable(opened, id)
        target = Path(path) if path is not None else _default_path(record, format)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        tally = Tally()
        guarded: int | None = None

        def rows() -> Iterator[Row]:
            return tally.watch(query.rows(opened, Query(experiments=(id,), where=where)))

        try:
            if format == "jsonl":
                _write_lines(temporary, rows, kept)
            elif format == "csv":
                guarded = delimited.write(temporary, rows, tally, kept, guard=formula_guard)
            else:
                parquet.write(temporary, rows(), kept)
            _sync(temporary)
            document = manifest(
                record,
                format=format,
                columns=kept,
                tally=tally,
                filtered=where is not None,
                sha256=sha256_of(temporary),
                guarded_cells=guarded,
            )
            beside = temporary.with_name(temporary.name + ".manifest")
            beside.write_text(dump(document) + "\n", encoding="utf-8")
            _sync(beside)
            temporary.replace(target)
            beside.replace(manifest_path(target))
            _sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
            temporary.with_name(temporary.name + ".manifest").unlink(missing_ok=True)
    return target


async def export_async(
    experiment: Experiment | str,
    format: Format,
    *,
    path: str | Path | None = None,
    store: Store | str | Path | None = None,
    columns: Sequence[str] | None = None,
    where: Filter | None = None,
    formula_guard: bool = True,
) -> Path:
    """Do what `export` does, without blocking the event loop."""
    from anyio import to_thread

    return await to_thread.run_sync(
        lambda: export(
            experiment,
            format,
            path=path,
            store=store,
            columns=columns,
            where=where,
            formula_guard=formula_guard,
        )
    )


def _write_lines(path: Path, rows: Callable[[], Iterator[Row]], columns: tuple[str, ...]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line_of(row, columns=columns) for row in rows())


def _default_path(record: ExperimentRecord, format: Format) -> Path:
    stem = f"{record.name}-{record.condition}-{record.id[-8:]}"
    return Path(re.sub(r"[^A-Za-z0-9._-]+", "_", stem).lstrip(".") + f".{format}")


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new names durable, where a folder can be opened at all."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
