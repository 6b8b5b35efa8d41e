"""When a sequential vote may stop."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from crucible_ensemble.executions.machine import Finish, Table, check_decidable
from crucible_ensemble.prediction import Ballot
from crucible_ensemble.votes.count import added, leaders
from crucible_ensemble.votes.weighted import log_odds_weight, posterior

Accuracies = float | Mapping[str, float] | None


class Stop(Protocol):
    """A rule that looks at the ballots so far. All rules compare keys, never raw texts."""

    def check(self, table: Table, /) -> None:
        """Raise `ValueError` if the rule cannot work at this table."""
        ...

    def reached(self, table: Table, /) -> Finish | None:
        """Return how to finish, or None to go on."""
        ...


@dataclass(frozen=True, slots=True)
class Decided:
    """Stop when the calls still open cannot change the answer: lossless curtailment."""

    name: ClassVar[str] = "decided"

    def check(self, table: Table, /) -> None:
        """Raise `ValueError` for a vote that cannot say when it is decided."""
        check_decidable(table, "the stop Decided()")

    def reached(self, table: Table, /) -> Finish | None:
        """Ask the vote."""
        vote = table.vote
        if vote.decided(table.arrived(), table.still_open()):  # type: ignore[attr-defined]
            return Finish(ended="decided")
        return None


@dataclass(frozen=True, slots=True)
class Consensus:
    """Stop when a share of the valid answers agrees. Not lossless.

    Attributes
    ----------
    threshold : float, in (0.5, 1]
    min_answers : int, >= 1
    """

    threshold: float = 0.7
    min_answers: int = 2
    name: ClassVar[str] = "consensus"

    def __post_init__(self) -> None:
        if not 0.5 < self.threshold <= 1:
            raise ValueError(f"`threshold` must be in (0.5, 1], got {self.threshold}")
        if self.min_answers < 1:
            raise ValueError(f"`min_answers` must be >= 1, got {self.min_answers}")

    def check(self, table: Table, /) -> None:
        """Work at every table."""

    def reached(self, table: Table, /) -> Finish | None:
        """Compare the leader's share of the valid answers."""
        valid = table.valid()
        if valid < self.min_answers:
            return None
        scores = added((b.key, 1.0) for b in table.arrived())
        first = leaders(scores)
        if scores[first[0]] / valid >= self.threshold:
            return Finish(ended="threshold", key=first[0])
        return None


@dataclass(frozen=True, slots=True)
class Posterior:
    """Stop when the leader's posterior probability reaches a target.

    Attributes
    ----------
    target : float, in (0.5, 1)
    accuracies : float, mapping of member to accuracy, or None
        None takes the members' own `accuracy`.
    classes : float, > 1
        Number of possible answers, over which errors are uniform.
    """

    target: float = 0.95
    accuracies: Accuracies = None
    classes: float = 2.0
    name: ClassVar[str] = "posterior"

    def __post_init__(self) -> None:
        if not 0.5 < self.target < 1:
            raise ValueError(f"`target` must be in (0.5, 1), got {self.target}")
        if not self.classes > 1:
            raise ValueError(f"`classes` must be > 1, got {self.classes}")

    def check(self, table: Table, /) -> None:
        """Raise `ValueError` where a member's accuracy is unknown."""
        _check_accuracies(table, self.accuracies)

    def reached(self, table: Table, /) -> Finish | None:
        """Compute the posterior of every key."""
        beliefs = posterior(_scores(table.arrived(), self.accuracies, self.classes), self.classes)
        first = leaders(beliefs)
        if len(first) == 1 and beliefs[first[0]] >= self.target - 1e-12:
            return Finish(ended="threshold", key=first[0], confidence=beliefs[first[0]])
        return None


@dataclass(frozen=True, slots=True)
class Sprt:
    """Wald's sequential test: stop when the log-odds of leader over runner-up reach the boundary.

    Attributes
    ----------
    alpha, beta : float, in (0, 0.5)
        Wanted error rates; the boundary is log((1 - beta) / alpha).
    accuracies, classes
        As in `Posterior`.

    References
    ----------
    .. [1] A. Wald, Annals of Mathematical Statistics 16(2), 117-186, 1945.
    """

    alpha: float = 0.05
    beta: float = 0.05
    accuracies: Accuracies = None
    classes: float = 2.0
    name: ClassVar[str] = "sprt"

    def __post_init__(self) -> None:
        for label, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0 < value < 0.5:
                raise ValueError(f"`{label}` must be in (0, 0.5), got {value}")
        if not self.classes > 1:
            raise ValueError(f"`classes` must be > 1, got {self.classes}")

    @property
    def boundary(self) -> float:
        """Log-odds at which the test stops."""
        return math.log((1 - self.beta) / self.alpha)

    def check(self, table: Table, /) -> None:
        """Raise `ValueError` where a member's accuracy is unknown."""
        _check_accuracies(table, self.accuracies)

    def reached(self, table: Table, /) -> Finish | None:
        """Compare the two best scores; an answer that nobody gave has 0."""
        scores = _scores(table.arrived(), self.accuracies, self.classes)
        ranked = sorted(scores.values(), reverse=True)
        if not ranked:
            return None
        second = ranked[1] if len(ranked) > 1 else 0.0
        if ranked[0] - second >= self.boundary - 1e-12:
            beliefs = posterior(scores, self.classes)
            key = leaders(scores)[0]
            return Finish(ended="threshold", key=key, confidence=beliefs[key])
        return None


def _scores(ballots: Sequence[Ballot], accuracies: Accuracies, classes: float) -> dict[str, float]:
    return added(
        (b.key, log_odds_weight(_accuracy(b.member, b.accuracy, accuracies), classes))
        for b in ballots
        if b.key is not None
    )


def _accuracy(member: str, own: float | None, accuracies: Accuracies) -> float:
    if isinstance(accuracies, Mapping):
        own = accuracies.get(member, own)
    elif accuracies is not None:
        own = accuracies
    if own is None:
        raise ValueError(f"`accuracies` must hold {member!r}, or its Member an `accuracy`")
    return own


def _check_accuracies(table: Table, accuracies: Accuracies) -> None:
    for seat in table.seats:
        p = _accuracy(seat.member, seat.accuracy, accuracies)
        if not 0 <= p <= 1:
            raise ValueError(f"`accuracies` must be in [0, 1], got {p} for {seat.member!r}")
