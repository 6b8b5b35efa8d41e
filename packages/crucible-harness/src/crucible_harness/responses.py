"""The responses of a run as a matrix of items, models and samples, for votes that were not run."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crucible_harness.folder import Folder
from crucible_harness.recorded import load_items

if TYPE_CHECKING:
    from crucible_ensemble.matrix import ResponseMatrix

_MOST_PROMPTS = 8  # more are the turns of conversations, not ways of asking
_FAILED: Mapping[str, Literal["error", "timeout"]] = {"error": "error", "timeout": "timeout"}


def response_matrix(path: Path | str) -> "ResponseMatrix":
    """Return every finished call of a run.

    Parameters
    ----------
    path : run folder

    Returns
    -------
    crucible_ensemble.ResponseMatrix
        New votes, sizes and thresholds are evaluated on it for nothing. Its models are the run's
        leaf models; where one was asked at several temperatures or with several prompts, each of
        these is a model of its own. Samples are numbered in the order of repeat and sample.

    Raises
    ------
    NotARunError, JournalCorruptError
        If the folder holds no run.
    """
    from crucible_ensemble.completion import Completion
    from crucible_ensemble.matrix import Cell, ResponseMatrix

    journal = Folder(Path(path)).open_journal()
    try:
        rows = [row for row in journal.calls() if row["status"] in ("ok", *_FAILED)]
    finally:
        journal.close()
    latest = {row["leaf_key"]: row for row in rows}  # a later attempt stands for an earlier one
    asked = {key: json.loads(row["request"]) for key, row in latest.items()}
    inputs = {item.id: item.input for item in load_items(Path(path))}
    names = _names(asked, {key: inputs[row["item"]] for key, row in latest.items()})
    order = sorted(latest, key=lambda key: (latest[key]["repeat"], latest[key]["sample"] or 0, key))
    numbers: dict[tuple[str, str], int] = defaultdict(int)
    cells = []
    for key in order:
        row, place = latest[key], (latest[key]["item"], names[key])
        answer = None if row["response"] is None else json.loads(row["response"])
        cells.append(
            Cell(
                item=row["item"],
                model=names[key],
                sample=numbers[place],
                status=_FAILED.get(row["status"], "ok"),
                completion=None if answer is None else Completion.from_dict(answer),
                error=None if answer is not None else str(row["error_class"]),
                latency_s=row["latency_s"],
                cost_usd=row["cost_usd"],
            )
        )
        numbers[place] += 1
    return ResponseMatrix(cells)


def _names(asked: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, str]:
    """Name the model of each call; ways of asking are told apart where one model has several."""
    ways: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    of: dict[str, tuple[str, tuple[str, str]]] = {}
    for key, request in asked.items():
        model = _model(request["model"])
        way = (json.dumps(request["temperature"]), _frame(request, inputs[key]))
        ways[model][way] = None
        of[key] = model, way
    return {
        key: model
        if not (told := _told(way, list(ways[model])))
        else f"{model} ({', '.join(told)})"
        for key, (model, way) in of.items()
    }


def _told(way: tuple[str, str], ways: list[tuple[str, str]]) -> list[str]:
    told = []
    if len({temperature for temperature, _ in ways}) > 1:
        told.append(f"temperature {way[0]}")
    frames = list(dict.fromkeys(frame for _, frame in ways))
    if 1 < len(frames) <= _MOST_PROMPTS:
        told.append(f"prompt {frames.index(way[1]) + 1}")
    return told


def _frame(request: Mapping[str, Any], text: str) -> str:
    """Return what stands around the text of the item."""
    return json.dumps(request["messages"]).replace(json.dumps(text)[1:-1], "{input}")


def _model(identity: Mapping[str, Any]) -> str:
    for field in ("model", "name", "function", "fingerprint"):
        if identity.get(field):
            return str(identity[field])
    return json.dumps(identity, sort_keys=True)
