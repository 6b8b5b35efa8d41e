"""An execution is a state machine without input or output: it says whom to ask and when to stop.

Two drivers run it: `live` on real calls, `replay` on recorded ones in virtual time. What a strategy
would have done on recorded answers is therefore what it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from crucible_ensemble.model import Vote
from crucible_ensemble.prediction import Ballot, Ended, Response


@dataclass(frozen=True, slots=True)
class Ask:
    """Send the call at this place of the plan."""

    place: int


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Come back after so many seconds."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give up the call at this place."""

    place: int


@dataclass(frozen=True, slots=True)
class Race:
    """Let the ensemble's hedger race the calls at these places."""

    places: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Stop; open calls are cancelled.

    `winner` is the place whose answer counts, `key` the answer itself; without either the vote
    decides.
    """

    ended: Ended
    winner: int | None = None
    key: str | None = None
    confidence: float | None = None
    notes: tuple[tuple[str, object], ...] = ()


Action = Ask | StartTimer | Cancel | Race | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One call of the plan.

    `rank` orders by price, where the order is by price; `weight` is already divided by the member's
    samples.
    """

    place: int
    member: str
    sample: int
    weight: float = 1.0
    accuracy: float | None = None
    rank: float | None = None


@dataclass(slots=True)
class Table:
    """What a machine may look at: the plan, the vote, and the ballots that have arrived."""

    seats: tuple[Seat, ...]
    vote: Vote
    quorum: int | None = None
    merged: bool = False
    by_price: bool = True
    ballots: dict[int, Ballot] = field(default_factory=dict)

    def arrived(self) -> list[Ballot]:
        """Return the ballots so far, in the order of the plan."""
        return [self.ballots[place] for place in sorted(self.ballots)]

    def still_open(self) -> list[Ballot]:
        """Return empty ballots for the calls that have not come back, with their weights."""
        return [
            Ballot(member=s.member, sample=s.sample, key=None, weight=s.weight, accuracy=s.accuracy)
            for s in self.seats
            if s.place not in self.ballots
        ]

    def valid(self) -> int:
        """Return the number of answers that could be read."""
        return sum(b.key is not None for b in self.ballots.values())

    def enough(self) -> bool:
        """Say whether an explicit quorum is reached."""
        return self.quorum is None or self.valid() >= self.quorum

    def ordered(self, order: str) -> list[int]:
        """Return the places as given, or the cheapest first."""
        places = [seat.place for seat in self.seats]
        if order == "given":
            return places
        return sorted(places, key=lambda place: (self.seats[place].rank or 0.0, place))


class Machine(Protocol):
    """One question on its way to an answer."""

    def begin(self) -> Sequence[Action]:
        """Return what to do first."""
        ...

    def on_arrival(self, place: int, response: Response, /) -> Sequence[Action]:
        """Return what to do now that a call has ended; its ballot is on the table."""
        ...

    def on_timer(self) -> Sequence[Action]:
        """Return what to do now that the timer has run out."""
        ...


class Execution(Protocol):
    """How members are asked."""

    @property
    def name(self) -> str:
        """Return the name in predictions."""
        ...

    def check(self, table: Table, /) -> None:
        """Raise `ValueError` for a vote or members that this execution cannot serve."""
        ...

    def machine(self, table: Table, /) -> Machine:
        """Return a machine for one question."""
        ...


def check_order(order: str, table: Table) -> None:
    """Raise `ValueError` unless the members can be ordered so."""
    if order not in ("given", "cheapest"):
        raise ValueError(f'`order` must be "given" or "cheapest", got {order!r}')
    if order == "cheapest" and len({s.member for s in table.seats}) > 1:
        for seat in table.seats:
            if seat.rank is None:
                raise ValueError(
                    f"the price of {seat.member!r} is not known: give every Member a `price_rank`, "
                    'or order="given"'
                )


def check_decidable(table: Table, name: str) -> None:
    """Raise `ValueError` unless the vote can say when it is decided."""
    if not hasattr(table.vote, "decided"):
        raise ValueError(
            f"`vote` must be majority, weighted_majority or unanimous for {name}, whose early end "
            f"cannot change the answer; got {getattr(table.vote, 'name', 'a custom vote')!r}"
        )
    if table.merged:
        raise ValueError(f"`equivalence` must be None for {name}: a late answer can merge keys")
