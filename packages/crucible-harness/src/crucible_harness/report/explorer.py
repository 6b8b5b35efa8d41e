"""Every item with every answer, to be read one by one."""

import json
from collections.abc import Sequence
from urllib.parse import quote

from crucible_harness.measured import value_of
from crucible_harness.metrics import Metric
from crucible_harness.recorded import RecordedCell, RecordedRun
from crucible_harness.report.model import (
    Explorer,
)
from crucible_harness.report.values import dollars, seconds

EXPLORER_BYTES = 20_000_000


def explorer(run: RecordedRun, *, traced: bool) -> Explorer:
    """Collect the items; where they are too many, those on which conditions differ or fail."""
    cells: dict[str, list[RecordedCell]] = {}
    for cell in run.cells:
        cells.setdefault(cell.item, []).append(cell)
    metric = run.metrics[0]
    entries: list[dict[str, object]] = []
    for item in run.items:
        rows = [_explorer_cell(cell, metric) for cell in cells.get(item.id, ())]
        outcomes = [str(row["outcome"]) for row in rows]
        right = outcomes.count("right")
        entries.append(
            {
                "id": item.id,
                "input": item.input,
                "expected": None if item.expected is None else str(item.expected),
                "metadata": {
                    k: v
                    for k, v in item.metadata.items()
                    if isinstance(v, str | int | float | bool)
                },
                "prompt": _prompt(cells.get(item.id, ())),
                "trace": f"trace.html#q={quote(item.id)}&all=1" if traced else None,
                "cells": rows,
                "right": right,
                "discordance": min(right, len(rows) - right),
            }
        )
    kept, left_out = _within(entries, EXPLORER_BYTES)
    fields = sorted({key for entry in kept for key in entry["metadata"]})  # type: ignore[attr-defined]
    return Explorer(
        conditions=run.conditions,
        fields=tuple(fields),
        items=tuple(kept),
        total=len(entries),
        left_out=left_out,
    )


def _explorer_cell(cell: RecordedCell, metric: Metric) -> dict[str, object]:
    votes = cell.votes
    return {
        "condition": cell.condition,
        "repeat": cell.repeat,
        "outcome": _outcome(cell, metric),
        "output": cell.output,
        "answer": cell.answer,
        "votes": None if not votes else ", ".join(f"{a}: {n:g}" for a, n in sorted(votes.items())),
        "calls": cell.calls,
        "latency": None if cell.latency_s is None else seconds("", cell.latency_s).text,
        "cost": None if cell.cost_usd is None else dollars("", cell.cost_usd).text,
        "error": cell.error_message and f"{cell.error_class}: {cell.error_message}",
    }


def _outcome(cell: RecordedCell, metric: Metric) -> str:
    """Say how a cell did on the first metric; only a share can be right or wrong."""
    score = value_of(cell, metric.name)
    if cell.status != "ok":
        return "failed"
    if score is None:
        return "unscored"
    if metric.bounds is None:
        return "answered"
    worst, best = metric.bounds if metric.higher_is_better else metric.bounds[::-1]
    return "right" if score == best else "wrong" if score == worst else "partly"


def _prompt(cells: Sequence[RecordedCell]) -> str | None:
    for cell in cells:
        if isinstance(cell.messages, str):
            return cell.messages
        if cell.messages:
            return "\n\n".join(f"{m['role']}: {m['content']}" for m in cell.messages)
    return None


def _within(entries: list[dict[str, object]], limit: int) -> tuple[list[dict[str, object]], int]:
    """Keep what fits: items on which conditions disagree or fail come before the others."""
    sizes = [len(json.dumps(entry)) for entry in entries]
    if sum(sizes) <= limit:
        return entries, 0
    telling = [bool(e["discordance"]) or '"failed"' in json.dumps(e["cells"]) for e in entries]
    kept: set[int] = set()
    room = limit
    for n in sorted(range(len(entries)), key=lambda n: (not telling[n], n)):
        if sizes[n] <= room:
            room -= sizes[n]
            kept.add(n)
    return [entry for n, entry in enumerate(entries) if n in kept], len(entries) - len(kept)
