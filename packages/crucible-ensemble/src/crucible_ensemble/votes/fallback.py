"""A second vote for where the first abstains."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from crucible_ensemble.prediction import Ballot, Tally

if TYPE_CHECKING:
    from crucible_ensemble.model import Vote


@dataclass(frozen=True, slots=True)
class Fallback:
    """`second` decides where `first` abstains; the prediction's strategy names who did."""

    first: "Vote"
    second: "Vote"
    name: ClassVar[str] = "fallback"

    def __call__(self, ballots: Sequence[Ballot], /) -> Tally:
        """Count."""
        found = self.first(ballots)
        decider = self.first
        if found.winner is None and not found.tied:
            found, decider = self.second(ballots), self.second
        name = getattr(decider, "name", type(decider).__name__)
        return replace(found, decided_by=found.decided_by or str(name))


def fallback(first: "Vote", second: "Vote") -> Fallback:
    """Return a vote in which `second` decides where `first` abstains."""
    return Fallback(first, second)
