"""The driver of recorded calls: runs an execution's machine in virtual time."""

import heapq
from collections.abc import Callable, Sequence

from crucible_ensemble.executions.machine import (
    Action,
    Ask,
    Cancel,
    Finish,
    StartTimer,
    Table,
)
from crucible_ensemble.panel import Course, Panel, ended_at
from crucible_ensemble.prediction import Response

Recorded = Callable[[int], Response]


def replay(panel: Panel, recorded: Recorded) -> tuple[Course, Table]:
    """Ask recorded responses as an execution would have asked models.

    Parameters
    ----------
    panel : Panel
    recorded : callable
        From a place to what was answered there; a latency that is unknown counts as 0.

    Returns
    -------
    Course, Table
        As the live driver gives them.

    Raises
    ------
    ValueError
        For an execution that a hedger decides: what it would have done is not recorded.
    """
    table = panel.table()
    return _Replay(panel, recorded, table).run(), table


class _Replay:
    __slots__ = (
        "_asked", "_cancelled", "_events", "_finish", "_hedged", "_machine", "_now", "_order",
        "_panel", "_recorded", "_responses", "_table",
    )  # fmt: skip

    def __init__(self, panel: Panel, recorded: Recorded, table: Table) -> None:
        self._panel, self._recorded, self._table = panel, recorded, table
        self._machine = panel.execution.machine(table)
        self._events: list[tuple[float, int, int]] = []  # time, order, place or -1 for a timer
        self._asked: dict[int, tuple[float, Response]] = {}
        self._responses: dict[int, Response] = {}
        self._cancelled: set[int] = set()
        self._finish: Finish | None = None
        self._now = 0.0
        self._order = self._hedged = 0

    def run(self) -> Course:
        self._perform(self._machine.begin(), 0.0)
        limit = self._panel.deadline_s
        last = 0.0
        while self._events and self._finish is None:
            at, _, place = heapq.heappop(self._events)
            if limit is not None and at > limit:
                self._finish = Finish(ended="deadline")
                last = limit
                break
            if place < 0:
                self._perform(self._machine.on_timer(), at)
            elif place not in self._cancelled:
                response = self._arrive(place)
                last = max(last, ended_at(response, self._panel.timeout_s))
                self._perform(self._machine.on_arrival(place, response), last)
        finish = self._finish or Finish(ended="all")
        if finish.winner is not None:
            won = self._responses[finish.winner]
            last = (won.started_s or 0.0) + (won.latency_s or 0.0)
        return Course(
            responses=self._everybody(), finish=finish, latency_s=last, hedged=self._hedged
        )

    def _arrive(self, place: int) -> Response:
        response = self._responses[place] = self._asked[place][1]
        self._table.ballots[place] = self._panel.ballot(place, response)
        return response

    def _perform(self, actions: Sequence[Action], now: float) -> None:
        for action in actions:
            if isinstance(action, Ask):
                self._ask(action.place, now)
            elif isinstance(action, Finish):
                self._finish = action
                return
            elif isinstance(action, StartTimer):
                heapq.heappush(self._events, (now + action.after_s, self._order, -1))
                self._order += 1
            elif isinstance(action, Cancel):
                self._cancelled.add(action.place)
            else:
                raise ValueError("`hedger` must be None in an evaluation; use FixedHedge")

    def _ask(self, place: int, now: float) -> None:
        self._hedged += self._panel.execution.name == "hedged" and place > 0
        seat = self._panel.seats[place]
        said = self._recorded(place)
        latency_s, status = said.latency_s, said.status
        timeout_s = self._panel.timeout_s
        completion, key, error, cost = said.completion, said.key, said.error, said.cost_usd
        if latency_s is not None and latency_s > timeout_s and completion is not None:
            latency_s, status, completion, key, cost = timeout_s, "timeout", None, None, None
            error = f"ModelTimeoutError: no answer within {timeout_s:g} s"
        response = Response(
            member=seat.member, sample=seat.sample, status=status, key=key, completion=completion,
            error=error, started_s=now, latency_s=latency_s, cost_usd=cost, weight=seat.weight,
        )  # fmt: skip
        self._asked[place] = now, response
        heapq.heappush(self._events, (now + (latency_s or 0.0), self._order, place))
        self._order += 1

    def _everybody(self) -> list[Response]:
        found = []
        for seat in self._panel.seats:
            response = self._responses.get(seat.place)
            if response is None:
                asked = self._asked.get(seat.place)
                response = Response(
                    member=seat.member, sample=seat.sample, weight=seat.weight,
                    status="skipped" if asked is None else "cancelled",
                    started_s=None if asked is None else asked[0],
                    cost_usd=0.0 if asked is None else None,
                )  # fmt: skip
            found.append(response)
        return found
