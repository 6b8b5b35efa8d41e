"""What is missing from a run, per condition, and whether failures depend on the condition."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from crucible_harness.recorded import RecordedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingRow:
    """Cells of one condition: planned = finished + not_run; failures are among the finished."""

    condition: str
    planned: int
    finished: int
    failed: Mapping[str, int]
    unextracted: int
    not_run: int
    scorer_errors: int = 0

    @property
    def failures(self) -> int:
        """Number of cells that ended without an answer."""
        return sum(self.failed.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingTable:
    """Missing outcomes of a run."""

    rows: tuple[MissingRow, ...]
    warnings: tuple[str, ...]


def missing_table(run: RecordedRun) -> MissingTable:
    """Count what is missing and test, for each pair of conditions, whether failures differ.

    Notes
    -----
    Fisher's exact test, two-sided, on failed against answered cells; p < .05 warns. It is a
    warning and not a finding: no correction is applied.
    """
    rows = tuple(
        _row(run, condition, run.planned_per_condition[condition]) for condition in run.conditions
    )
    warnings = tuple(
        text for one, other in combinations(rows, 2) if (text := _difference(one, other))
    )
    return MissingTable(rows=rows, warnings=warnings)


def _row(run: RecordedRun, condition: str, planned: int) -> MissingRow:
    cells = [cell for cell in run.cells if cell.condition == condition]
    failed = Counter(cell.error_class or cell.status for cell in cells if cell.status != "ok")
    return MissingRow(
        condition=condition,
        planned=planned,
        finished=len(cells),
        failed=dict(sorted(failed.items())),
        unextracted=sum(cell.unextracted for cell in cells if cell.status == "ok"),
        not_run=planned - len(cells),
        scorer_errors=sum(bool(cell.scorer_errors) for cell in cells),
    )


def _difference(one: MissingRow, other: MissingRow) -> str | None:
    if one.failures == other.failures == 0 or not (one.finished and other.finished):
        return None
    from scipy.stats import fisher_exact

    table = [[row.failures, row.finished - row.failures] for row in (one, other)]
    p = float(fisher_exact(table).pvalue)
    if p >= 0.05:
        return None
    return (
        f"Failures depend on the condition: {one.failures} of {one.finished} under "
        f"{one.condition}, {other.failures} of {other.finished} under {other.condition} "
        f"(Fisher's exact test, p = {p:.2g}). Counted as wrong, they are part of the difference."
    )
