"""Ask the cheap first, the dear only where the cheap is unsure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from crucible_ensemble.errors import UncalibratedError
from crucible_ensemble.executions.machine import Action, Ask, Finish, Table, check_order
from crucible_ensemble.prediction import Response

# Agreement among a stage's own members is its confidence by definition; nothing to calibrate.
_OWN = ("self_consistency", "posterior")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Members in turn; the first answer that is confident enough is the answer.

    Attributes
    ----------
    threshold : float or sequence of float, in [0, 1]
        For every stage, or one for each but the last, which is always accepted; see `fit_cascade`.
    min_models : int, >= 1
        Stages that are asked in any case.
    order : {"cheapest", "given"}
    calibration : {"refuse", "assume"}
        What to do with the confidence of a member that has no calibrator. The consensus of a stage
        that is an ensemble is taken as it is.
    """

    threshold: float | tuple[float, ...] = 0.9
    min_models: int = 1
    order: Literal["cheapest", "given"] = "cheapest"
    calibration: Literal["refuse", "assume"] = "refuse"
    name: ClassVar[str] = "cascade"

    def __post_init__(self) -> None:
        given = self.threshold if isinstance(self.threshold, tuple) else (self.threshold,)
        if not all(0 <= t <= 1 for t in given):
            raise ValueError(f"`threshold` must be in [0, 1], got {self.threshold}")
        if self.min_models < 1:
            raise ValueError(f"`min_models` must be >= 1, got {self.min_models}")
        if self.calibration not in ("refuse", "assume"):
            raise ValueError(f'`calibration` must be "refuse" or "assume", got {self.calibration!r}')  # fmt: skip # noqa: E501

    def check(self, table: Table, /) -> None:
        """Raise `ValueError` for members in an order or a number that cannot be served."""
        check_order(self.order, table)
        stages = len(table.seats)
        if len({s.member for s in table.seats}) < stages:
            raise ValueError(
                "`samples` must be 1 in a cascade; make a stage an Ensemble with samples instead"
            )
        if isinstance(self.threshold, tuple) and len(self.threshold) != stages - 1:
            raise ValueError(
                f"`threshold` must be one number or {stages - 1}, got {self.threshold}"
            )
        if self.min_models > stages:
            raise ValueError(f"`min_models` must be <= {stages}, got {self.min_models}")

    def machine(self, table: Table, /) -> "_Stages":
        """Return a machine for one question."""
        return _Stages(table, self)


class _Stages:
    __slots__ = ("_execution", "_last_valid", "_notes", "_order", "_stage", "_table")

    def __init__(self, table: Table, execution: Cascade) -> None:
        self._table, self._execution = table, execution
        self._order = table.ordered(execution.order)
        self._stage = 0
        self._last_valid: int | None = None
        self._notes: list[tuple[str, object]] = []

    def begin(self) -> Sequence[Action]:
        return (Ask(self._order[0]),)

    def on_arrival(self, place: int, response: Response, /) -> Sequence[Action]:
        last = self._stage == len(self._order) - 1
        if response.status == "ok":
            self._last_valid = place
            if last or self._confident(place, response):
                return (self._finish(place, "winner"),)
        if last:
            # Nobody is left to ask: the best that was said stands.
            return (self._finish(self._last_valid, "all"),)
        self._stage += 1
        return (Ask(self._order[self._stage]),)

    def on_timer(self) -> Sequence[Action]:
        return ()

    def _finish(self, place: int | None, ended: Literal["winner", "all"]) -> Finish:
        confidence = None if place is None else self._table.ballots[place].confidence
        notes = (("stage", self._stage), *self._notes)
        return Finish(ended=ended, winner=place, confidence=confidence, notes=notes)

    def _confident(self, place: int, response: Response) -> bool:
        ballot = self._table.ballots[place]
        if ballot.confidence is None:
            self._notes.append((f"no confidence at stage {self._stage}", response.member))
            return False
        source = response.completion.confidence_source if response.completion else None
        if not ballot.calibrated and source not in _OWN:
            if self._execution.calibration == "refuse":
                raise UncalibratedError(
                    f"the confidence of {response.member} is not calibrated: give its Member a "
                    'calibrator (see fit_calibrators), or say calibration="assume"'
                )
            self._notes.append((f"assumed calibrated at stage {self._stage}", response.member))
        threshold = self._execution.threshold
        if isinstance(threshold, tuple):
            threshold = threshold[self._stage]
        return self._stage + 1 >= self._execution.min_models and ballot.confidence >= threshold
