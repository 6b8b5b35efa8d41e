"""The answer that most ballots name, or that those with most weight name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from crucible_ensemble.prediction import Ballot, Tally
from crucible_ensemble.votes.count import NOBODY, added, beaten, tally


@dataclass(frozen=True, slots=True)
class Majority:
    """One vote per ballot.

    Attributes
    ----------
    threshold : {"plurality", "absolute"}
        "absolute" abstains unless more than half of all that were asked agree.

    Examples
    --------
    >>> Majority()([Ballot(member=m, key=k) for m, k in zip("abc", "xyx")]).winner
    'x'
    """

    threshold: Literal["plurality", "absolute"] = "plurality"
    name: ClassVar[str] = "majority"

    def __post_init__(self) -> None:
        if self.threshold not in ("plurality", "absolute"):
            raise ValueError(
                f'`threshold` must be "plurality" or "absolute", got {self.threshold!r}'
            )

    def __call__(self, ballots: Sequence[Ballot], /) -> Tally:
        """Count."""
        counts: dict[str, float] = {}
        for ballot in ballots:
            if ballot.key is not None:
                counts[ballot.key] = counts.get(ballot.key, 0.0) + 1.0
        scores = dict(sorted(counts.items())) if len(counts) > 1 else counts
        if not scores:
            return Tally(scores=scores, reason=NOBODY)
        if self.threshold == "absolute" and max(scores.values()) * 2 <= len(ballots):
            return Tally(scores=scores, reason=f"no answer has more than half of {len(ballots)}")
        best = max(scores.values())
        first = [key for key, score in scores.items() if score == best]
        if len(first) > 1:
            return Tally(scores=scores, tied=tuple(first))
        return Tally(scores=scores, winner=first[0])

    def decided(self, ballots: Sequence[Ballot], still_open: Sequence[Ballot], /) -> bool:
        """Say whether the ballots still open can no longer change the answer."""
        scores = added((b.key, 1.0) for b in ballots)
        if self.threshold == "absolute":
            asked, most = len(ballots) + len(still_open), max(scores.values(), default=0.0)
            return most * 2 > asked or (most + len(still_open)) * 2 <= asked
        return beaten(scores, float(len(still_open)))


@dataclass(frozen=True, slots=True)
class WeightedMajority:
    """The members' static weights are added, each divided among the member's samples."""

    name: ClassVar[str] = "weighted_majority"

    def __call__(self, ballots: Sequence[Ballot], /) -> Tally:
        """Count.

        Raises
        ------
        ValueError
            If every weight is 0.
        """
        if ballots and not any(ballot.weight > 0 for ballot in ballots):
            raise ValueError("`weight` must be > 0 for at least one member, got 0 for all")
        scores = added((b.key, b.weight) for b in ballots)
        if scores and max(scores.values()) <= 0:
            return Tally(scores=scores, reason="no answer has any weight")
        return tally(scores)

    def decided(self, ballots: Sequence[Ballot], still_open: Sequence[Ballot], /) -> bool:
        """Say whether the ballots still open can no longer change the answer."""
        scores = added((b.key, b.weight) for b in ballots)
        return beaten(scores, sum(b.weight for b in still_open))
