"""Where two conditions disagree: in which blocks of items, or stretches of the schedule."""

from collections.abc import Iterator, Mapping

import numpy as np

from crucible_harness.analysis import Analysis
from crucible_harness.criteria import metric_named
from crucible_harness.hypotheses import HypothesisResult
from crucible_harness.observations import Array, observe
from crucible_harness.recorded import RecordedRun
from crucible_harness.report import charts
from crucible_harness.report.model import Chart

_STRETCHES = 10
_MOST = 2  # hypotheses that are drawn


def discordance(run: RecordedRun, analysis: Analysis) -> Iterator[Chart]:
    """Draw the discordant items of each planned difference of 0/1 scores, block by block."""
    drawn = 0
    for result in analysis.hypotheses:
        comparison = result.contrast.comparison
        if comparison is None or comparison.outcome != "binary" or not run.layout.within:
            continue
        chart = _chart(run, result)
        if chart is not None and drawn < _MOST:
            drawn += 1
            yield chart


def _chart(run: RecordedRun, result: HypothesisResult) -> Chart | None:
    h = result.hypothesis
    if h.treatment not in run.conditions or h.control not in run.conditions:
        return None
    data = observe(run, metric_named(run, h.metric)).counted
    control, treatment = data[str(h.control)][:, 0], data[str(h.treatment)][:, 0]
    blocks, what = _blocks(run)
    rows = [
        {
            "block": name,
            "treatment_only": _only(treatment, control, at),
            "control_only": _only(control, treatment, at),
        }
        for name, at in blocks.items()
    ]
    one, other = (sum(int(str(row[k])) for row in rows) for k in ("treatment_only", "control_only"))
    if one + other == 0:
        return None
    return Chart(
        id=f"discordance-{_safe(h.id)}",
        title=f"{h.id}: {one:,} items only {h.treatment} got right, {other:,} only {h.control} "
        f"(n = {result.contrast.n:,} items, by {what})",
        alt=f"Discordant items by {what}: "
        + "; ".join(
            f"{row['block']} {row['treatment_only']} against {row['control_only']}" for row in rows
        )
        + ".",
        spec=charts.discordance(rows, treatment=str(h.treatment), control=str(h.control)),
    )


def _blocks(run: RecordedRun) -> tuple[Mapping[str, list[int]], str]:
    """Return the rows of each block of the design, or of tenths of the schedule without blocks."""
    field = run.layout.block_by
    blocks: dict[str, list[int]] = {}
    if field is not None:
        for row, item in enumerate(run.items):
            blocks.setdefault(str(item.metadata.get(field)), []).append(row)
        return blocks, field
    first: dict[str, int] = {}
    for cell in run.cells:
        first[cell.item] = min(cell.position, first.get(cell.item, cell.position))
    order = sorted(range(len(run.items)), key=lambda row: first.get(run.items[row].id, 0))
    for stretch in np.array_split(np.arange(len(order)), min(_STRETCHES, len(order))):
        low, high = int(stretch[0]) + 1, int(stretch[-1]) + 1
        blocks[f"items {low}\u2013{high}"] = [order[place] for place in stretch]
    return blocks, "place in the schedule"


def _only(one: Array, other: Array, rows: list[int]) -> int:
    return int(((one[rows] >= 0.5) & (other[rows] < 0.5)).sum())


def _safe(id: str) -> str:
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in id)
    return kept.strip("-").lower() or "h"
