"""What is different about the analysis of a run that another tool made."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from crucible_harness.importers.samples import sources
from crucible_harness.recorded import RecordedRun

_NAMED = 5


def keep_shared_items(run: RecordedRun) -> RecordedRun:
    """Keep the items that every condition has, however often it answered them."""
    conditions: dict[str, set[str]] = defaultdict(set)
    for cell in run.cells:
        conditions[cell.item].add(cell.condition)
    shared = {item for item, seen in conditions.items() if len(seen) == len(run.conditions)}
    return replace(
        run,
        items=tuple(item for item in run.items if item.id in shared),
        cells=tuple(cell for cell in run.cells if cell.item in shared),
    )


def deviations_of_import(run: RecordedRun) -> Iterator[str]:
    """Say what was not planned here, and which items could not be compared."""
    about = run.imported
    assert about is not None  # asked only of imported runs
    logs = about["logs"]
    yield (
        f"Imported from {sources((log['tool'], log['version']) for log in logs)}: not designed "
        "here, not preregistered."
        + (
            " Hypothesis and smallest effect of interest were named when the answers were already "
            "there."
            if run.hypotheses
            else ""
        )
    )
    if run.hypotheses and not about["sesoi_declared"]:
        yield f"The smallest effect of interest, {run.hypotheses[0].sesoi:g}, is only a default."
    if about["matched_by"] == "content" and len(logs) > 1:
        yield "Items were matched by what was asked, since their identities do not agree."
    for log in logs:
        if log["unmatched"]:
            names = ", ".join(log["unmatched_items"][:_NAMED])
            more = "" if log["unmatched"] <= _NAMED else ", ..."
            yield (
                f"{log['unmatched']:,} items of {log['condition']} are not in every log and are "
                f"left out: {names}{more}."
            )
    repeats = {
        log["condition"]: sum(cell.condition == log["condition"] for cell in run.cells)
        for log in logs
    }
    if len(set(repeats.values())) > 1:
        listed = ", ".join(f"{n:,} of {name}" for name, n in repeats.items())
        yield f"The logs hold different numbers of answers to the items compared: {listed}."
