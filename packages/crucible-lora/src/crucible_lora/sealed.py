"""One checkpoint's folder: sealed with the SHA-256 of every file, read, and verified."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crucible_lora.config import sha256_json
from crucible_lora.errors import CheckpointCorruptError
from crucible_lora.files import flush, sha256_file
from crucible_lora.gates import Direction
from crucible_lora.records import Record

_STATE = "state.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue(Record):
    """A number and which way is better."""

    value: float
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Record):
    """An adapter at one step. `sha256` is over all its files; `parent` is what it was resumed from.

    `step` counts updates done, `epoch` and `position` say where the next batch is.
    """

    name: str
    path: Path
    step: int
    epoch: int
    position: int
    metrics: Mapping[str, MetricValue]
    sha256: str
    parent: str | None = None


def read_content(folder: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself, once its seal is checked.

    Raises
    ------
    CheckpointCorruptError
        If the file is missing or not what was written.
    """
    file, name = folder / _STATE, folder.name
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointCorruptError(f"{name}/{_STATE}", None, None) from error
    except ValueError as error:
        raise CheckpointCorruptError(f"{name}/{_STATE}", None, sha256_file(file)) from error
    seal = content.pop("seal", None)
    if seal != sha256_json(content):
        raise CheckpointCorruptError(f"{name}/{_STATE}", seal, sha256_json(content))
    return content


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint in a folder, whose other files may still be damaged."""
    content = read_content(folder)
    return Checkpoint(
        name=folder.name,
        path=folder,
        step=content["step"],
        epoch=content["epoch"],
        position=content["position"],
        metrics={k: MetricValue.from_dict(v) for k, v in content["metrics"].items()},
        sha256=sha256_json(content["files"]),
        parent=content["parent"],
    )


def verify_checkpoint(checkpoint: Checkpoint) -> None:
    """Read every file of a checkpoint again.

    Raises
    ------
    CheckpointCorruptError
        For the first that is not what was written.
    """
    for file, expected in read_content(checkpoint.path)["files"].items():
        path = checkpoint.path / file
        found = sha256_file(path) if path.is_file() else None
        if found != expected:
            raise CheckpointCorruptError(f"{checkpoint.name}/{file}", expected, found)


def commit(draft: Path, place: Path, content: dict[str, Any]) -> None:
    """Seal a draft, wait until it is on the disk, and move it to its place by one rename."""
    files = sorted(p for p in draft.rglob("*") if p.is_file())
    content["files"] = {p.relative_to(draft).as_posix(): sha256_file(p) for p in files}
    content["seal"] = sha256_json(content)
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (draft / _STATE).write_text(text, encoding="utf-8")
    for path in (*files, draft / _STATE, draft):
        flush(path)
    draft.rename(place)
    flush(place.parent)
