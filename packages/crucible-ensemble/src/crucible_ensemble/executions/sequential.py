"""Ask one after another, and stop when it is enough."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from crucible_ensemble.executions.machine import Action, Ask, Finish, Table, check_order
from crucible_ensemble.executions.stops import Decided, Stop
from crucible_ensemble.prediction import Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequential:
    """One call at a time, until the stop rule is satisfied or everybody was asked.

    Attributes
    ----------
    stop : Decided, Consensus, Posterior, Sprt or your own Stop
        The default is lossless; the others trade accuracy for calls.
    order : {"given", "cheapest"}
    """

    stop: Stop = field(default_factory=Decided)
    order: Literal["given", "cheapest"] = "given"
    name: ClassVar[str] = "sequential"

    def check(self, table: Table, /) -> None:
        """Raise `ValueError` for what the order or the stop rule cannot serve."""
        check_order(self.order, table)
        self.stop.check(table)

    def machine(self, table: Table, /) -> "_OneByOne":
        """Return a machine for one question."""
        return _OneByOne(table, self)


class _OneByOne:
    __slots__ = ("_next", "_rule", "_table")

    def __init__(self, table: Table, execution: Sequential) -> None:
        self._table, self._rule = table, execution.stop
        self._next = iter(table.ordered(execution.order))

    def begin(self) -> Sequence[Action]:
        return [Ask(next(self._next))]

    def on_arrival(self, place: int, response: Response, /) -> Sequence[Action]:
        following = next(self._next, None)
        if self._table.enough():
            finish = self._rule.reached(self._table)
            if finish is not None and (following is not None or finish.ended != "decided"):
                return (finish,)
        if following is None:
            return (Finish(ended="all"),)
        return (Ask(following),)

    def on_timer(self) -> Sequence[Action]:
        return ()
