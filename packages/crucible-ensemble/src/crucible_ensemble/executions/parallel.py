"""Ask everybody at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from crucible_ensemble.executions.machine import Action, Ask, Finish, Table, check_decidable
from crucible_ensemble.prediction import Response


@dataclass(frozen=True, slots=True)
class Parallel:
    """Ask all, wait for all: as slow as the slowest."""

    name: ClassVar[str] = "parallel"

    def check(self, table: Table, /) -> None:
        """Serve every vote."""

    def machine(self, table: Table, /) -> "_AskAll":
        """Return a machine for one question."""
        return _AskAll(table, early=False)


@dataclass(frozen=True, slots=True)
class Quorum:
    """Ask all, return as soon as the answer cannot change, cancel the rest.

    Lossless: the answer is that of `Parallel`. Only votes that can tell are served.
    """

    name: ClassVar[str] = "quorum"

    def check(self, table: Table, /) -> None:
        """Raise `ValueError` for a vote that cannot say when it is decided."""
        check_decidable(table, "execution 'quorum'")

    def machine(self, table: Table, /) -> "_AskAll":
        """Return a machine for one question."""
        return _AskAll(table, early=True)


class _AskAll:
    __slots__ = ("_early", "_left", "_table")

    def __init__(self, table: Table, *, early: bool) -> None:
        self._table, self._early, self._left = table, early, len(table.seats)

    def begin(self) -> Sequence[Action]:
        return [Ask(seat.place) for seat in self._table.seats]

    def on_arrival(self, place: int, response: Response, /) -> Sequence[Action]:
        self._left -= 1
        if self._left == 0:
            return (Finish(ended="all"),)
        if self._early and self._table.enough():
            vote, table = self._table.vote, self._table
            if vote.decided(table.arrived(), table.still_open()):  # type: ignore[attr-defined]
                return (Finish(ended="decided"),)
        return ()

    def on_timer(self) -> Sequence[Action]:
        return ()
