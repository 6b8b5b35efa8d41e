"""Ask the first; where it is late or fails, the next as well. The first valid answer wins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from crucible_ensemble.executions.machine import Action, Ask, Finish, Race, StartTimer, Table
from crucible_ensemble.prediction import Response


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedHedge:
    """The first member is primary, the others are its backups, in their order.

    Attributes
    ----------
    delay_s : float, >= 0
        After which the next backup is sent; a call that failed or gave no readable answer is
        backed up at once.
    max_backups : int, >= 0
    """

    delay_s: float = 1.0
    max_backups: int = 2
    name: ClassVar[str] = "hedged"

    def __post_init__(self) -> None:
        if not self.delay_s >= 0:
            raise ValueError(f"`delay_s` must be >= 0, got {self.delay_s}")
        if self.max_backups < 0:
            raise ValueError(f"`max_backups` must be >= 0, got {self.max_backups}")

    def check(self, table: Table, /) -> None:
        """Serve every vote: none is held."""

    def machine(self, table: Table, /) -> "_Hedge":
        """Return a machine for one question."""
        return _Hedge(table, self)


class _Hedge:
    __slots__ = ("_delay_s", "_next", "_open", "_places", "_table", "_timers")

    def __init__(self, table: Table, execution: FixedHedge) -> None:
        self._table, self._delay_s = table, execution.delay_s
        self._places = [s.place for s in table.seats][: execution.max_backups + 1]
        self._next, self._open, self._timers = 0, 0, 0

    def begin(self) -> Sequence[Action]:
        return self._send()

    def on_arrival(self, place: int, response: Response, /) -> Sequence[Action]:
        self._open -= 1
        if response.status == "ok":
            return (Finish(ended="winner", winner=place),)
        actions = self._send()
        if not actions and not self._open:
            return (Finish(ended="all"),)
        return actions

    def on_timer(self) -> Sequence[Action]:
        self._timers -= 1
        # Only the youngest timer counts: a failed call was backed up before its own ran out.
        return self._send() if self._timers == 0 else ()

    def _send(self) -> list[Action]:
        if self._next >= len(self._places):
            return []
        actions: list[Action] = [Ask(self._places[self._next])]
        self._next += 1
        self._open += 1
        if self._next < len(self._places):
            actions.append(StartTimer(self._delay_s))
            self._timers += 1
        return actions


@dataclass(frozen=True, slots=True)
class RacedHedge:
    """Like `FixedHedge`, with the ensemble's `hedger` deciding when a backup is sent."""

    name: ClassVar[str] = "hedged"

    def check(self, table: Table, /) -> None:
        """Serve every vote: none is held."""

    def machine(self, table: Table, /) -> "_Raced":
        """Return a machine for one question."""
        return _Raced(table)


class _Raced:
    __slots__ = ("_table",)

    def __init__(self, table: Table) -> None:
        self._table = table

    def begin(self) -> Sequence[Action]:
        return (Race(tuple(s.place for s in self._table.seats)),)

    def on_arrival(self, place: int, response: Response, /) -> Sequence[Action]:
        return ()  # the hedger decides

    def on_timer(self) -> Sequence[Action]:
        return ()
