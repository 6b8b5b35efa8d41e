"""What the voters of a run answered, as a response matrix with the voters' own names."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crucible_harness.folder import Folder
from crucible_harness.recorded import load_run

if TYPE_CHECKING:
    from crucible_ensemble.matrix import ResponseMatrix
    from crucible_harness.recorded import RecordedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Responses:
    """A response matrix and how its answers are read and scored.

    Attributes
    ----------
    matrix : ResponseMatrix
        One model per voter; only the first sample of each is used.
    labels : mapping of item to right answer, optional
        Or what the matrix knows itself.
    scorer : function of item and text, optional
        Instead of labels.
    normalise : name or function
        From text to answer.
    simulated : bool
    """

    matrix: "ResponseMatrix"
    labels: Mapping[str, str] | None = None
    scorer: Callable[[str, str], bool] | None = None
    normalise: Any = "text"
    simulated: bool = False

    @property
    def known(self) -> dict[str, Any]:
        """Return the arguments that the analyses of crucible_ensemble take."""
        return {"labels": self.labels, "scorer": self.scorer, "normalise": self.normalise}


def responses_of(source: "Path | str | RecordedRun") -> Responses:
    """Return what the conditions of a run answered, each a voter.

    Parameters
    ----------
    source : path of a run folder, or a run that was read from it

    Notes
    -----
    Items that not every condition finished are left out. Answers are read and scored as the run
    itself scores accuracy; of repeats the first counts.

    Raises
    ------
    NotARunError
        If the folder holds no run.
    """
    from crucible_datasets import extract
    from crucible_datasets.metrics.exact import is_right
    from crucible_ensemble.completion import Completion
    from crucible_ensemble.matrix import Cell, ResponseMatrix

    run = load_run(source) if isinstance(source, Path | str) else source
    journal = Folder(run.path).open_journal()
    try:
        calls = {
            row["leaf_key"]: row["response"] for row in journal.calls() if row["status"] == "ok"
        }
        keys = {key: record["call_keys"] for key, (_, record) in journal.cells().items()}
    finally:
        journal.close()
    cells, seen = [], {item.id: 0 for item in run.items}
    for cell in run.cells:
        if cell.repeat:
            continue
        seen[cell.item] += 1
        used = keys[cell.condition, cell.item, cell.repeat]
        said: Completion | None = None
        if cell.status == "ok" and len(used) == 1 and used[0] in calls:
            said = Completion.from_dict(json.loads(calls[used[0]]))
        elif cell.status == "ok":  # a voter of several calls: its answer, without a confidence
            said = Completion(
                text=cell.output or "", model=cell.condition, cost_usd=cell.cost_usd,
                latency_s=cell.latency_s, confidence=cell.consensus,
            )  # fmt: skip
        cells.append(
            Cell(
                item=cell.item,
                model=cell.condition,
                status="ok" if said is not None else "error",
                completion=said,
                error=None if said is not None else str(cell.error_class),
                latency_s=cell.latency_s,
                cost_usd=cell.cost_usd,
            )
        )
    task: Any = run.design["dataset"]["task"]
    items = {item.id: item for item in run.items}

    def read(text: str) -> str | None:
        value = extract(text, task=task).value
        return None if value is None else str(value)

    def right(item: str, text: str) -> bool:
        asked = items[item]
        return is_right(
            extract(text, task=task, choices=asked.choices).value, asked.expected, task=task
        )

    whole = [item for item, n in seen.items() if n == len(run.conditions)]
    matrix = ResponseMatrix(cells, items=list(items), models=run.conditions)
    return Responses(
        matrix=matrix if len(whole) == len(items) else matrix.subset(items=whole),
        scorer=right,
        normalise=read,
        simulated=run.simulated,
    )
