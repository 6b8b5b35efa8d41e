"""Who sits at the table, how their answers are read, and what follows from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from crucible_ensemble.completion import Completion
from crucible_ensemble.confidence import ConfidenceSource, confidence_of
from crucible_ensemble.executions.machine import Execution, Finish, Seat, Table
from crucible_ensemble.member import Member
from crucible_ensemble.model import Equivalence, Normaliser, Vote
from crucible_ensemble.normalise.mcq import Mcq
from crucible_ensemble.prediction import (
    Ballot,
    Prediction,
    PredictionMetadata,
    Response,
    Tally,
)
from crucible_ensemble.seeds import derive

Tie = Literal["seeded", "priority", "abstain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Everything that both drivers need to know about an ensemble."""

    members: tuple[Member, ...]
    seats: tuple[Seat, ...]
    place_of: tuple[int, ...]  # from seat to member
    vote: Vote
    vote_name: str
    execution: Execution
    normalise: Normaliser
    equivalence: Equivalence | None
    tie: Tie
    quorum: int | None
    confidence: ConfidenceSource | None
    timeout_s: float
    deadline_s: float | None
    warning: str | None

    def table(self) -> Table:
        """Return an empty table for one question."""
        return Table(
            seats=self.seats,
            vote=self.vote,
            quorum=self.quorum,
            merged=self.equivalence is not None,
        )

    def member(self, place: int) -> Member:
        """Return who sits at a place."""
        return self.members[self.place_of[place]]

    def ballot(self, place: int, response: Response) -> Ballot:
        """Return what a response contributes to the vote."""
        seat, member = self.seats[place], self.member(place)
        confidence = None
        if response.key is not None and response.completion is not None:
            confidence = confidence_of(
                response.completion, self.confidence, key=response.key, letters=self._letters()
            )
            if confidence is not None and member.calibrator is not None:
                confidence = member.calibrator(confidence)
        return Ballot(
            member=seat.member,
            sample=seat.sample,
            key=response.key,
            confidence=confidence,
            weight=seat.weight,
            accuracy=seat.accuracy,
            calibrated=member.calibrator is not None,
        )

    def _letters(self) -> str:
        """Return the options of a multiple-choice question, "" for any other."""
        return self.normalise.letters() if isinstance(self.normalise, Mcq) else ""


@dataclass(slots=True)
class Course:
    """How one question went: a response for every place, and how it ended."""

    responses: list[Response]
    finish: Finish
    latency_s: float
    hedged: int = 0


def ended_at(response: Response, timeout_s: float) -> float:
    """Return when a call ended, in the time of the ensemble.

    Counted is what members report, and a time-out in full: recorded answers, which come at once,
    then give the times they gave live. How long another failure took is measured, shown with the
    response, and not counted: it would be a different number each time.
    """
    started = response.started_s or 0.0
    if response.completion is not None:
        return started + (response.latency_s or 0.0)
    late = response.status == "timeout" and response.latency_s == timeout_s
    return started + timeout_s if late else started


def conclude(
    panel: Panel, course: Course, table: Table, *, seed: int, item: str, shown_seed: int | None
) -> Prediction:
    """Count the votes of a finished course and account for what it cost.

    Parameters
    ----------
    seed, item
        Draw a tie, together with the tied keys.
    shown_seed
        As it stands in the metadata.
    """
    ballots, responses = _ballots(panel, course, table)
    if course.finish.winner is not None and panel.execution.name == "hedged":
        responses = _assumed(panel, responses, course.finish.winner)
    found = panel.vote(ballots)
    answer, confidence, reason, tie = found.winner, found.confidence, found.reason, None
    finish = course.finish
    if finish.winner is not None:
        answer, reason = responses[finish.winner].key, None
        confidence = finish.confidence
    elif finish.key is not None:
        answer, reason, confidence = finish.key, None, finish.confidence
    elif found.tied:
        answer, reason = broken(found.tied, ballots, panel.tie, seed, item)
        tie = panel.tie
    if answer is None:
        confidence = None
    return _prediction(
        panel, course, responses, found, answer=answer, confidence=confidence, reason=reason,
        tie=tie, item=item, seed=shown_seed,
    )  # fmt: skip


def _assumed(panel: Panel, responses: Sequence[Response], winner: int) -> list[Response]:
    """Bill a cancelled copy of the winning call like the copy that finished, and say so."""

    def asked(place: int) -> str:
        model = panel.member(place).model
        return str(getattr(model, "name", id(model)))

    won = responses[winner]
    return [
        replace(r, cost_usd=won.cost_usd, assumed=won.cost_usd is not None)
        if r.status == "cancelled" and r.cost_usd is None and asked(place) == asked(winner)
        else r
        for place, r in enumerate(responses)
    ]


def broken(
    tied: Sequence[str], ballots: Sequence[Ballot], tie: Tie, seed: int, item: str
) -> tuple[str | None, str | None]:
    """Return the answer that a tie is broken to, and how in words."""
    if tie == "abstain":
        return None, f"{len(tied)} answers are tied"
    if tie == "priority":
        return next(b.key for b in ballots if b.key in tied), "tie: the first member's answer"
    return drawn(tied, seed, item), "tie: drawn by the seed"


def drawn(tied: Sequence[str], seed: int, item: str) -> str:
    """Return one of the tied keys by hash; the order of members or arrivals plays no part."""
    keys = sorted(tied)
    place = (item,) if item else ()  # without one, the seed is the question's own
    return keys[derive(seed, "tie", *place, *keys) % len(keys)]


def _ballots(panel: Panel, course: Course, table: Table) -> tuple[list[Ballot], list[Response]]:
    """Return a ballot for each seat; equivalent keys are one key."""
    responses = course.responses
    if panel.equivalence is not None:
        responses = _merged(panel.equivalence, responses)
        table.ballots = {p: panel.ballot(p, responses[p]) for p in table.ballots}
    ballots = [
        table.ballots.get(seat.place)
        or Ballot(
            member=seat.member, sample=seat.sample, key=None, weight=seat.weight,
            accuracy=seat.accuracy,
        )
        for seat in panel.seats
    ]  # fmt: skip
    if panel.confidence == "self_consistency":
        ballots = [_self_consistent(b, ballots, panel.members[panel.place_of[n]]) for n, b in enumerate(ballots)]  # noqa: E501 # fmt: skip
    return ballots, responses


def _self_consistent(ballot: Ballot, ballots: Sequence[Ballot], member: Member) -> Ballot:
    """Return the ballot with the share of its member's valid samples that agree with it."""
    if ballot.key is None:
        return ballot
    own = [b.key for b in ballots if b.member == ballot.member and b.key is not None]
    share = own.count(ballot.key) / len(own)
    if member.calibrator is not None:
        share = member.calibrator(share)
    return replace(ballot, confidence=share)


def _merged(equivalence: Equivalence, responses: Sequence[Response]) -> list[Response]:
    keys = sorted({r.key for r in responses if r.key is not None})
    if len(keys) < 2:
        return list(responses)
    clusters: dict[int, list[str]] = {}
    for key, cluster in zip(keys, equivalence(keys), strict=True):
        clusters.setdefault(cluster, []).append(key)
    medoid = getattr(equivalence, "medoid", None)
    counts = {key: sum(r.key == key for r in responses) for key in keys}
    names: dict[str, str] = {}
    for alike in clusters.values():
        # Without distances, the key that most members gave stands for its cluster.
        name = medoid(alike) if medoid else min(alike, key=lambda k: (-counts[k], k))
        names |= dict.fromkeys(alike, name)
    return [r if r.key is None else replace(r, key=names[r.key]) for r in responses]


def _prediction(
    panel: Panel,
    course: Course,
    responses: list[Response],
    found: Tally,
    *,
    answer: str | None,
    confidence: float | None,
    reason: str | None,
    tie: str | None,
    item: str,
    seed: int | None,
) -> Prediction:
    done: list[Completion] = []
    costs: list[float | None] = []
    unpriced: list[str] = []
    billed: list[float | None] = []
    failures: dict[str, str] = {}
    winners: list[Response] = []
    known = 0.0
    valid = called = skipped = 0
    for r in responses:
        costs.append(r.cost_usd)
        completion = r.completion
        if completion is not None:
            done.append(completion)
            billed.append(completion.billed_usd)
        else:
            billed.append(r.cost_usd)
        if r.cost_usd is None:
            unpriced.append(r.member if r.sample == 0 else f"{r.member}/{r.sample}")
            known += _known(completion)
        else:
            known += r.cost_usd
        if r.key is not None:
            valid += 1
            if r.key == answer:
                winners.append(r)
        if r.status == "skipped":
            skipped += 1
        else:
            called += 1
        if r.error is not None:
            failures[r.member] = r.error
    consensus = len(winners) / valid if winners else None
    source: str | None
    if answer is not None and confidence is None and course.finish.winner is None:
        confidence, source = consensus, "self_consistency"
    else:
        source = None if confidence is None else "posterior"
    if course.finish.winner is not None and confidence is not None:
        source = "reported"
    first = winners[0].completion if winners else None
    return Prediction(
        answer=answer,
        text=None if first is None else first.text,
        abstained=answer is None,
        reason=reason,
        responses=tuple(responses),
        item=item,
        metadata=PredictionMetadata(
            strategy=found.decided_by or panel.vote_name,
            execution=panel.execution.name,
            ended=course.finish.ended,
            consensus=consensus,
            support=len(winners) / len(responses) if winners else None,
            margin=_margin(found.scores),
            votes=found.scores,
            tie=tie,
            tied=found.tied,
            confidence=confidence,
            confidence_source=source,
            asked=len(responses),
            called=called,
            answered=len(done),
            valid=valid,
            models_used=tuple(dict.fromkeys(c.model for c in done)),
            winners=tuple(r.member for r in winners),
            failures=failures,
            cost_usd=total(costs),
            known_cost_usd=known,
            billed_usd=total(billed),
            unpriced=tuple(unpriced),
            input_tokens=total([c.input_tokens for c in done]),
            output_tokens=total([c.output_tokens for c in done]),
            latency_s=course.latency_s,
            hedged=course.hedged,
            skipped=skipped,
            seed=seed,
            simulated=any(c.simulated for c in done),
            n_eff_warning=panel.warning,
            notes={**found.notes, **dict(course.finish.notes)},
        ),
    )


def _known(completion: Completion | None) -> float:
    """Return the part of an unknown cost that is known."""
    if completion is None:
        return 0.0
    return float(completion.extra.get("known_cost_usd") or 0.0)


def _margin(scores: Mapping[str, float]) -> float | None:
    if not scores:
        return None
    ranked = sorted(scores.values(), reverse=True)
    return ranked[0] - (ranked[1] if len(ranked) > 1 else 0.0)


def total(numbers: Sequence[Any]) -> Any:
    """Return the sum; None if any part is unknown."""
    return None if None in numbers else math.fsum(numbers) if _floats(numbers) else sum(numbers)


def _floats(numbers: Sequence[Any]) -> bool:
    return any(isinstance(n, float) for n in numbers)
