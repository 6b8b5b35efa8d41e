"""Quality gates: a target that a metric must reach, and what was found about it."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from crucible_lora.records import Record

Direction = Literal["min", "max"]
Verdict = Literal["pass", "fail", "inconclusive", "not_computed"]


@dataclass(frozen=True, slots=True)
class Gate(Record):
    """What a metric must reach.

    Parameters
    ----------
    metric : str
    target : float
        The least ("min") or the most ("max") that is good enough.
    direction : {"min", "max"}
    alpha : float, in (0, 1)
        The chance of passing a model that is exactly at the target.
    primary : bool
        Whether the report passes only if this gate does.

    Raises
    ------
    ValueError
        For a target of exactly 1 ("min") or 0 ("max"), which no finite sample can show.
    """

    metric: str
    target: float
    _: KW_ONLY
    direction: Direction = "min"
    alpha: float = 0.05
    primary: bool = True

    def __post_init__(self) -> None:
        if not self.metric:
            raise ValueError(f"`metric` must be a name, got {self.metric!r}")
        if self.direction not in ("min", "max"):
            raise ValueError(f"`direction` must be min or max, got {self.direction!r}")
        if not math.isfinite(self.target):
            raise ValueError(f"`target` must be a number, got {self.target}")
        limit = 1.0 if self.direction == "min" else 0.0
        if self.target == limit:
            raise ValueError(
                f"`target` must not be exactly {limit:g}, which no finite sample can show, "
                f"got {self.target} for {self.metric!r}"
            )
        if not 0 < self.alpha < 1:
            raise ValueError(f"`alpha` must be in (0, 1), got {self.alpha}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult(Record):
    """What the outputs say about a gate.

    `bound_low` and `bound_high` are each one-sided at level 1 - alpha. `needed_n` is the number of
    items from which a rate like the observed one passes in 4 of 5 studies; None where it is not
    beyond the target or more than 5,000 are needed. `reason` says why nothing was computed.
    """

    metric: str
    target: float
    direction: Direction
    observed: float | None
    n: int
    bound_low: float | None
    bound_high: float | None
    method: str | None
    verdict: Verdict
    needed_n: int | None = None
    proxy: bool = False
    reason: str | None = None
    primary: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport(Record):
    """All gates of one adapter.

    `n_expected` outputs were asked for and `n_produced` came; `n_failed` of the expected were
    missing, empty or cut off, and count as wrong. `joint_pass_rate` is the share of items that are
    right by every primary gate at once, with its one-sided lower bound, where all are 0 or 1.
    """

    gates: tuple[GateResult, ...]
    verdict: Verdict
    passed: bool
    n_expected: int
    n_produced: int
    n_failed: int
    joint_pass_rate: float | None
    joint_bound_low: float | None
    checkpoint: str

    def markdown(self) -> str:
        """Return the gates as a Markdown table."""
        from crucible_lora.tables import markdown_table

        return markdown_table(*gate_table(self))


def gate_table(report: QualityReport) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows that show a report's gates."""
    columns = ["gate", "observed", "bounds", "n", "verdict", "n needed"]
    rows = []
    for g in report.gates:
        sign = "≥" if g.direction == "min" else "≤"
        bounds = "unknown" if g.bound_low is None else f"{g.bound_low:.3f} to {g.bound_high:.3f}"
        verdict = g.verdict.replace("_", " ") + (" (by word overlap)" if g.proxy else "")
        if g.reason is not None:
            verdict += f": {g.reason}"
        rows.append(
            [
                f"{g.metric} {sign} {g.target:g}" + ("" if g.primary else " (secondary)"),
                "unknown" if g.observed is None else f"{g.observed:.3f}",
                bounds,
                str(g.n),
                verdict,
                "" if g.needed_n is None or g.verdict != "inconclusive" else str(g.needed_n),
            ]
        )
    return columns, rows
