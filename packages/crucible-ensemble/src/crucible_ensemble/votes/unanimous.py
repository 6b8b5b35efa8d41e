"""The answer that everybody gives, or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from crucible_ensemble.prediction import Ballot, Tally
from crucible_ensemble.votes.count import NOBODY, added


@dataclass(frozen=True, slots=True)
class Unanimous:
    """Abstains unless all agree.

    Attributes
    ----------
    scope : {"asked", "answered"}
        Whether those count that were asked and gave no answer; with "answered" the last survivor
        is unanimous with itself.
    """

    scope: Literal["asked", "answered"] = "asked"
    name: ClassVar[str] = "unanimous"

    def __post_init__(self) -> None:
        if self.scope not in ("asked", "answered"):
            raise ValueError(f'`scope` must be "asked" or "answered", got {self.scope!r}')

    def __call__(self, ballots: Sequence[Ballot], /) -> Tally:
        """Count."""
        scores = added((b.key, 1.0) for b in ballots)
        if not scores:
            return Tally(scores=scores, reason=NOBODY)
        if len(scores) > 1:
            return Tally(scores=scores, reason=f"{len(scores)} different answers")
        silent = sum(b.key is None for b in ballots)
        if silent and self.scope == "asked":
            return Tally(scores=scores, reason=f"{silent} of {len(ballots)} gave no answer")
        return Tally(scores=scores, winner=next(iter(scores)))

    def decided(self, ballots: Sequence[Ballot], still_open: Sequence[Ballot], /) -> bool:
        """Say whether the ballots still open can no longer change the answer."""
        keys = {b.key for b in ballots if b.key is not None}
        silent = self.scope == "asked" and any(b.key is None for b in ballots)
        return len(keys) > 1 or silent or not still_open
