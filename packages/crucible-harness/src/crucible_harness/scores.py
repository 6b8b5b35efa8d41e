"""Scores follow from answers: computed again from what was written down."""

from crucible_datasets import extract
from crucible_harness.folder import Folder
from crucible_harness.judging import Answered
from crucible_harness.recorded import RecordedRun
from crucible_harness.scoring import score


def rescored(run: RecordedRun) -> tuple[str, ...]:
    """Return the cells whose recorded accuracy is not that of their recorded answer.

    Scores by functions of the user and by judges are computed again by the replay.
    """
    task = run.design["dataset"]["task"]
    own = [m for m, d in zip(run.metrics, run.design["metrics"], strict=True) if not d["scorer"]]
    items = {item.id: item for item in run.items}
    journal = Folder(run.path).open_journal()
    try:
        cells = journal.cells()
    finally:
        journal.close()
    different = []
    for (condition, item, repeat), (status, record) in cells.items():
        if status != "ok":
            continue
        value = extract(record["output"], task=task).value
        if record.get("votes") is not None and record.get("winner") is None:
            value = None  # a vote without a winner has no answer
        answered = Answered(text=record["output"], value=value)
        again, _ = score(answered, items[item], task=task, metrics=own)
        if any(record["scores"].get(name) != found for name, found in again.items()):
            different.append(f"{condition} on {item}, repeat {repeat}")
    return tuple(different)
