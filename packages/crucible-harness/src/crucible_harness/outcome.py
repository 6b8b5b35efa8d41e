"""How a run ended."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from crucible_harness.analysis import Analysis

Status = Literal["complete", "failure_rate", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended.

    Attributes
    ----------
    path : run folder
    status : {"complete", "failure_rate", "interrupted"}
    planned, finished, failed, not_run : int
        Cells; failed ones are among the finished.
    calls_sent : int
        Calls that this process sent; the others were answered from the journal.
    possibly_billed : tuple of str
        Keys of calls whose end a crash hid. They were sent again.
    known_cost_usd : float
        Sum of the known costs; `cost_usd` is None if any is unknown.
    analysis : Analysis or None
        None if the run was stopped before any item was finished under every condition.
    """

    path: Path
    status: Status
    planned: int
    finished: int
    failed: int
    not_run: int
    calls_sent: int
    possibly_billed: tuple[str, ...]
    cost_usd: float | None
    known_cost_usd: float
    wall_s: float
    analysis: "Analysis | None"

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
            "possibly_billed": list(self.possibly_billed),
        }
