"""The driver of real calls: runs an execution's machine on the event loop."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio

from crucible_ensemble.completion import Completion
from crucible_ensemble.confidence import Verified
from crucible_ensemble.errors import ModelTimeoutError
from crucible_ensemble.executions.machine import Action, Ask, Cancel, Finish, Race, StartTimer
from crucible_ensemble.matrix import key_of
from crucible_ensemble.model import Hedger, Prompt
from crucible_ensemble.panel import Course, Panel, ended_at
from crucible_ensemble.prediction import Response, Status
from crucible_ensemble.spans import span

Seeds = Callable[[int], int | None]


class LiveRun:
    """One question on real models.

    Parameters
    ----------
    panel : Panel
    prompt : Prompt
    options : mapping
        temperature, max_tokens and stop of every call.
    seeds : callable
        From a place to the seed of its call.
    drops : sequence of tuple of str
        For each place the options that its model does not have.
    hedger : Hedger, optional
        For an execution that races.
    on_response : callable, optional
        Told of every response as it arrives.
    enough : callable, optional
        Asked after every response whether to stop.

    Notes
    -----
    Calls that are not needed any more are cancelled and awaited. Time is counted in the members'
    own latencies, so that recorded answers, which come at once, give the times they gave then.
    """

    def __init__(
        self,
        panel: Panel,
        prompt: Prompt,
        *,
        options: Mapping[str, Any],
        seeds: Seeds,
        drops: Sequence[tuple[str, ...]],
        item: str,
        hedger: Hedger | None = None,
        on_response: "OnResponse | None" = None,
        enough: "Callable[[LiveRun], bool] | None" = None,
    ) -> None:
        self._panel, self._prompt, self._options = panel, prompt, options
        self._seeds, self._drops, self._item = seeds, drops, item
        self._hedger, self._on_response, self._enough = hedger, on_response, enough
        self.table = panel.table()
        self.causes: list[Exception] = []
        self._machine = panel.execution.machine(self.table)
        self._responses: dict[int, Response] = {}
        self._scopes: dict[int, anyio.CancelScope] = {}
        self._late: set[int] = set()
        self._finish: Finish | None = None
        self._fault: Exception | None = None
        self._now = 0.0
        self._hedged = 0

    async def run(self) -> Course:
        """Ask until the machine is satisfied, or the deadline comes.

        Raises
        ------
        Exception
            What a custom vote, normaliser or calibrator raised, with the member in a note and what
            was answered so far as `responses`.
        """
        deadline_s = self._panel.deadline_s
        limit = float("inf") if deadline_s is None else deadline_s
        with anyio.move_on_after(limit) as clock:
            async with anyio.create_task_group() as self._group:
                self._perform(self._machine.begin, 0.0)
        if self._fault is not None:
            self._fault.responses = tuple(self._everybody())  # type: ignore[attr-defined]
            raise self._fault
        if self._finish is None:
            late = clock.cancelled_caught
            self._finish = Finish(ended="deadline" if late else "all")
            if late:
                self._now = limit
        latency_s = self._now
        if self._finish.winner is not None:
            won = self._responses[self._finish.winner]
            latency_s = (won.started_s or 0.0) + (won.latency_s or 0.0)
        return Course(
            responses=self._everybody(), finish=self._finish, latency_s=latency_s,
            hedged=self._hedged,
        )  # fmt: skip

    def _everybody(self) -> list[Response]:
        """Return a response for each seat: who was never asked was skipped, at no cost."""
        return [
            self._responses.get(seat.place)
            or Response(
                member=seat.member, sample=seat.sample, status="skipped", cost_usd=0.0,
                weight=seat.weight,
            )
            for seat in self._panel.seats
        ]  # fmt: skip

    def _perform(self, decide: Callable[[], Sequence[Action]], now: float) -> None:
        """Do what the machine says; a fault of a vote ends the question."""
        try:
            actions = decide()
        except Exception as error:  # noqa: BLE001 - raised by `run`, outside the group
            error.add_note(f"while counting votes for item {self._item}")
            self._broken(error)
            return
        for action in actions:
            if self._finish is not None:
                return
            if isinstance(action, Ask):
                self._hedged += self._panel.execution.name == "hedged" and action.place > 0
                self._group.start_soon(self._call, action.place, now)
            elif isinstance(action, StartTimer):
                self._group.start_soon(self._timer, action.after_s, now)
            elif isinstance(action, Cancel):
                self._scopes[action.place].cancel()
            elif isinstance(action, Race):
                self._group.start_soon(self._race, action.places)
            else:
                self._finish = action
                self._group.cancel_scope.cancel()

    def _broken(self, error: Exception) -> None:
        self._fault = self._fault or error
        self._group.cancel_scope.cancel()

    async def _timer(self, after_s: float, now: float) -> None:
        await anyio.sleep(after_s)
        self._perform(self._machine.on_timer, now + after_s)

    async def _call(self, place: int, now: float) -> None:
        response = await self._ask(place, now)
        await self._arrived(place, response)

    def _is_over(self) -> bool:
        return self._finish is not None or self._fault is not None

    async def _arrived(self, place: int, response: Response) -> None:
        if self._is_over():
            return
        self._now = max(self._now, ended_at(response, self._panel.timeout_s))
        try:
            self.table.ballots[place] = self._panel.ballot(place, response)
        except Exception as error:  # noqa: BLE001 - as above
            error.add_note(f"while calibrating {response.member} at item {self._item}")
            self._broken(error)
            return
        if self._on_response is not None:
            await self._on_response(response, self)
            if self._is_over():
                return
        self._perform(lambda: self._machine.on_arrival(place, response), self._now)
        if self._enough is not None and not self._is_over() and self._enough(self):
            self._perform(lambda: (Finish(ended="threshold"),), self._now)

    async def _ask(self, place: int, now: float) -> Response:
        """Make one call; whatever becomes of it is a response."""
        seat = self._panel.seats[place]
        facts: dict[str, Any] = {
            "member": seat.member, "sample": seat.sample, "started_s": now, "weight": seat.weight,
        }  # fmt: skip
        marks = {"member": seat.member, "sample": seat.sample, "weight": seat.weight}
        with span("member", marks) as current, anyio.CancelScope() as scope:
            self._scopes[place] = scope
            self._responses[place] = Response(status="cancelled", **facts)
            began = anyio.current_time()
            try:
                completion = await self._answer(place)
            except Exception as error:  # noqa: BLE001 - a member's failure, of whatever class
                timeout = isinstance(error, TimeoutError)
                self.causes.append(error)
                response = Response(
                    status="timeout" if timeout else "error",
                    error=f"{type(error).__name__}: {error}",
                    # Our own time-out is as long as it says, not as long as it took to notice.
                    latency_s=self._panel.timeout_s
                    if place in self._late
                    else anyio.current_time() - began,
                    cost_usd=getattr(error, "cost_usd", None),
                    **facts,
                )
            else:
                key, status = self._read(completion, seat.member)
                latency_s = completion.latency_s
                response = Response(
                    status=status,
                    key=key,
                    completion=completion,
                    latency_s=anyio.current_time() - began if latency_s is None else latency_s,
                    cost_usd=completion.cost_usd,
                    **facts,
                )
            self._responses[place] = response
            if current.is_recording():
                _mark(current, response)
        return self._responses[place]

    async def _answer(self, place: int) -> Completion:
        seat, model = self._panel.seats[place], self._panel.member(place).model
        options, dropped = dict(self._options), self._drops[place]
        seed = self._seeds(place)
        if seed is not None and "seed" not in dropped:
            options["seed"] = seed
        for name in dropped:
            options[name] = () if name == "stop" else None
        timeout_s = self._panel.timeout_s
        try:
            with anyio.fail_after(timeout_s):
                answer = await model.generate(self._prompt, **options)  # type: ignore[union-attr]
        except TimeoutError as error:
            if isinstance(error, ModelTimeoutError):
                raise
            self._late.add(place)
            said = f"no answer within {timeout_s:g} s"
            raise ModelTimeoutError(said, model=seat.member) from error
        completion = Completion.of(answer, model=seat.member)
        lacking = [name for name in dropped if name not in completion.dropped]
        if lacking:
            completion = replace(completion, dropped=(*completion.dropped, *lacking))
        if isinstance(self._panel.confidence, Verified):
            said = self._prompt if isinstance(self._prompt, str) else str(self._prompt[-1]["content"])  # noqa: E501 # fmt: skip
            judged = await self._panel.confidence.verifier(said, completion.text)
            completion = replace(completion, confidence=judged, confidence_source="verifier")
        return completion

    def _read(self, completion: Completion, member: str) -> tuple[str | None, Status]:
        if completion.finish == "filtered":
            return None, "filtered"
        try:
            key = read_key(completion, self._panel)
        except Exception as error:  # noqa: BLE001 - as above
            error.add_note(f"while reading the answer of {member} to item {self._item}")
            self._broken(error)
            return None, "no_answer"
        return key, "no_answer" if key is None else "ok"

    async def _race(self, places: Sequence[int]) -> None:
        """Let the hedger decide; an answer that cannot be read counts as a failure."""
        assert self._hedger is not None
        began = anyio.current_time()

        def call(place: int) -> Callable[[], Awaitable[int]]:
            async def one() -> int:
                self._hedged += place > 0
                response = await self._ask(place, anyio.current_time() - began)
                self._now = max(self._now, ended_at(response, self._panel.timeout_s))
                self.table.ballots[place] = self._panel.ballot(place, response)
                if response.status != "ok":
                    raise _NoAnswer(response.error or "no answer that can be read")
                return place

            return one

        try:
            winner, _ = await self._hedger.race(
                [call(p) for p in places], key=self._panel.vote_name
            )
        except _NoAnswer:
            self._perform(lambda: (Finish(ended="all"),), self._now)
            return
        except ExceptionGroup as group:
            if group.split(_NoAnswer)[1] is not None:
                raise
            self._perform(lambda: (Finish(ended="all"),), self._now)
            return
        self._perform(lambda: (Finish(ended="winner", winner=winner),), self._now)


OnResponse = Callable[[Response, LiveRun], Awaitable[None]]


class _NoAnswer(Exception):
    """A call of a race that did not give a valid answer."""


def read_key(completion: Completion, panel: Panel) -> str | None:
    """Return the answer of a completion; None for an ensemble that abstained."""
    return key_of(completion, panel.normalise)


def _mark(current: Any, response: Response) -> None:
    current.set_attribute("crucible.ensemble.status", response.status)
    current.set_attribute(
        "crucible.outcome",
        "ok" if response.completion else "timeout" if response.status == "timeout" else "error",
    )
    if response.completion is not None:
        current.set_attribute("crucible.ensemble.attempts", response.completion.attempts)
        queued_s = response.completion.extra.get("queued_s")
        if queued_s is not None:
            current.set_attribute("crucible.ensemble.queued_s", queued_s)
    if response.cost_usd is not None:
        current.set_attribute("crucible.cost_usd", response.cost_usd)
