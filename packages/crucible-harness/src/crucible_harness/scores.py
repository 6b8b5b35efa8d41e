"""Scores follow from answers: computed again from what was written down."""

from crucible_datasets import extract, is_right
from crucible_harness.journal import Journal
from crucible_harness.recorded import RecordedRun


def rescored(run: RecordedRun) -> tuple[str, ...]:
    """Return the cells whose recorded score is not that of their recorded answer."""
    task = run.design["dataset"]["task"]
    expected = {item.id: item.expected for item in run.items}
    journal = Journal(run.path / "journal.sqlite")
    try:
        cells = journal.cells()
    finally:
        journal.close()
    different = []
    for (condition, item, repeat), (status, record) in cells.items():
        if status != "ok" or "accuracy" not in record["scores"]:
            continue
        value = extract(record["output"], task=task).value
        if record.get("votes") is not None and record.get("winner") is None:
            value = None  # a vote without a winner has no answer
        if record["scores"]["accuracy"] != float(is_right(value, expected[item], task=task)):
            different.append(f"{condition} on {item}, repeat {repeat}")
    return tuple(different)
