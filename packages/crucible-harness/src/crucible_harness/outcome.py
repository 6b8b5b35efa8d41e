"""How a run ended."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crucible_harness.ledger import CostSummary
from crucible_harness.tables import CallKey

if TYPE_CHECKING:
    from crucible_ensemble.matrix import ResponseMatrix
    from crucible_harness.analysis import Analysis

Status = Literal["complete", "budget", "failure_rate", "stopped_early", "deadline", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended.

    Attributes
    ----------
    run_id : str
        Given to the run when its folder was made; it stays the same when it is resumed.
    path : run folder
    status : str
        "complete"; "budget" if the next call did not fit; "failure_rate" if too many cells failed;
        "stopped_early" if a sequential design had seen enough; "deadline"; "interrupted".
    planned, finished, failed, not_run : int
        Cells; failed ones are among the finished.
    surplus : int
        Finished cells beyond the item at which a sequential design stopped.
    calls_sent : int
        Calls that this process sent; the others were answered from the journal.
    possibly_billed : tuple of CallKey
        Calls whose end a crash hid. They were sent again.
    cost : CostSummary
    wall_s : float
        Of this process.
    analysis : Analysis or None
        None if the run was stopped before any cell was finished.
    warnings : tuple of str
    """

    run_id: str
    path: Path
    status: Status
    planned: int
    finished: int
    failed: int
    not_run: int
    surplus: int
    calls_sent: int
    possibly_billed: tuple[CallKey, ...]
    cost: CostSummary
    wall_s: float
    analysis: "Analysis | None"
    warnings: tuple[str, ...]

    def matrix(self) -> "ResponseMatrix":
        """Return every response of the run, on which other votes are evaluated for nothing.

        Returns
        -------
        crucible_ensemble.ResponseMatrix
        """
        from crucible_harness.responses import response_matrix

        return response_matrix(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping, without the analysis."""
        return {
            "schema": "crucible-harness/run-result/1",
            **{
                name: getattr(self, name)
                for name in self.__dataclass_fields__
                if name != "analysis"
            },
            "path": str(self.path),
            "possibly_billed": [key.to_dict() for key in self.possibly_billed],
            "cost": self.cost.to_dict(),
            "warnings": list(self.warnings),
        }
