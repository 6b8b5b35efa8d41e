"""Many models, one answer; the ensemble is itself a model."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from crucible_ensemble.completion import Completion
from crucible_ensemble.errors import AllMembersFailedError, TimedOutError
from crucible_ensemble.model import Model, Normaliser, Prompt, Vote
from crucible_ensemble.normalise import NORMALISERS
from crucible_ensemble.prediction import Ballot, Prediction, PredictionMetadata, Response
from crucible_ensemble.seeds import derive, sample_seed
from crucible_ensemble.tracing import span
from crucible_ensemble.votes import VOTES

Tie = Literal["seeded", "priority", "abstain"]


class Ensemble:
    """Asks its members in parallel and lets them vote.

    Parameters
    ----------
    models : sequence of Model or model name
        A model that stands here n times is asked n times, each time with another seed.
    vote : {"majority", "weighted_majority"} or Vote
    normalise : {"exact", "numeric", "text"} or Normaliser
        Reads the answer that is voted on. A text without an answer is no vote, and None never wins.
    samples : int, >= 1
        Answers per model; they differ only above temperature 0.
    weights : sequence of float, optional
        One per model, >= 0, for "weighted_majority"; divided among a model's samples.
    tie : {"seeded", "priority", "abstain"}
        "seeded" draws by hash of seed and keys, whatever the order of members; "priority" takes the
        answer of the first member.
    timeout_s : float, > 0
        For each member's answer.

    Notes
    -----
    A failed member does not fail the ensemble: it is recorded, and the others vote. Only if nobody
    answers does `predict` raise. Cost, tokens and latency count every answer.
    """

    def __init__(
        self,
        models: Sequence[Model | str],
        *,
        vote: Literal["majority", "weighted_majority"] | Vote = "majority",
        normalise: Literal["exact", "numeric", "text"] | Normaliser = "text",
        samples: int = 1,
        weights: Sequence[float] | None = None,
        tie: Tie = "seeded",
        timeout_s: float = 120.0,
        name: str = "ensemble",
    ) -> None:
        if not models:
            raise ValueError("`models` must not be empty")
        if samples < 1:
            raise ValueError(f"`samples` must be >= 1, got {samples}")
        if not timeout_s > 0:
            raise ValueError(f"`timeout_s` must be > 0, got {timeout_s}")
        if tie not in ("seeded", "priority", "abstain"):
            raise ValueError(f'`tie` must be "seeded", "priority" or "abstain", got {tie!r}')
        if weights is not None and (len(weights) != len(models) or min(weights) < 0):
            raise ValueError(f"`weights` must be one number >= 0 per model, got {list(weights)}")
        self.name = name
        self._models = tuple(_opened(model) for model in models)
        self._vote_name, self._vote = _named("vote", vote, VOTES)
        self._normalise_name, self._normalise = _named("normalise", normalise, NORMALISERS)
        self._samples, self._tie, self._timeout_s = samples, tie, timeout_s
        self._weights = tuple(weights) if weights is not None else (1.0,) * len(models)

    def __repr__(self) -> str:
        return f"Ensemble({len(self._models)} models x {self._samples}, vote={self._vote_name!r})"

    def members(self) -> Sequence[Model]:
        """Return the models that vote."""
        return self._models

    def with_members(self, models: Sequence[Model]) -> "Ensemble":
        """Return the same vote over other models, in the order of `members`.

        Raises
        ------
        ValueError
            If their number differs.
        """
        if len(models) != len(self._models):
            raise ValueError(f"`models` must be {len(self._models)} models, got {len(models)}")
        return Ensemble(
            models,
            vote=self._vote if self._vote_name == "custom" else self._vote_name,  # type: ignore[arg-type]
            normalise=self._normalise,
            samples=self._samples,
            weights=self._weights,
            tie=self._tie,
            timeout_s=self._timeout_s,
            name=self.name,
        )

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the structure in an experiment's design."""
        return {
            "ensemble": self.name,
            "vote": self._vote_name,
            "normalise": self._normalise_name,
            "samples": self._samples,
            "weights": list(self._weights),
            "tie": self._tie,
        }

    async def aclose(self) -> None:
        """Close the members that can be closed."""
        for model in self._models:
            close = getattr(model, "aclose", None)
            if close is not None:
                await close()

    async def generate(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """Answer with the first text that gave the winning answer.

        The vote is in `extra`. Without a winner the text is empty.
        """
        prediction = await self.predict(
            prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
        )
        facts = prediction.metadata
        return Completion(
            text=prediction.text or "",
            model=self.name,
            served_by=",".join(facts.models_used) or None,
            input_tokens=facts.input_tokens,
            output_tokens=facts.output_tokens,
            cost_usd=facts.cost_usd,
            billed_usd=facts.billed_usd,
            confidence=facts.consensus,
            confidence_source=None if facts.consensus is None else "self_consistency",
            latency_s=facts.latency_s,
            finish="stop",
            simulated=facts.simulated,
            extra={
                "answer": prediction.answer,
                "votes": dict(facts.votes),
                "tied": list(facts.tied),
                "consensus": facts.consensus,
                "support": facts.support,
                "failures": dict(facts.failures),
            },
        )

    async def predict(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Prediction:
        """Ask every member at once, wait for all, and count.

        Raises
        ------
        AllMembersFailedError
            If no member answered.
        """
        import anyio

        asked = self._plan()
        responses: list[Response | None] = [None] * len(asked)
        started = time.monotonic()

        async def ask(place: int) -> None:
            model, label, sample, occurrence = asked[place]
            with span("member", member=label, sample=sample) as current:
                response = await self._ask(
                    model, label, sample, prompt, temperature=temperature, max_tokens=max_tokens,
                    seed=sample_seed(seed, occurrence), stop=stop,
                )  # fmt: skip
                current.set_attribute("crucible.outcome", "ok" if response.completion else "error")
                responses[place] = response

        with span("predict", strategy=self._vote_name, asked=len(asked)):
            async with anyio.create_task_group() as group:
                for place in range(len(asked)):
                    group.start_soon(ask, place)
            arrived = tuple(response for response in responses if response is not None)
            if not any(response.completion for response in arrived):
                raise AllMembersFailedError({r.member: r.error or r.status for r in arrived})
            return self._count(arrived, seed=seed, wall_s=time.monotonic() - started)

    def _plan(self) -> list[tuple[Model, str, int, int]]:
        """List the calls: model, member's label, sample, and how often this model came before."""
        names = [str(getattr(model, "name", type(model).__name__)) for model in self._models]
        plan: list[tuple[Model, str, int, int]] = []
        seen: dict[str, int] = {}
        for n, (model, name) in enumerate(zip(self._models, names, strict=True)):
            label = name if names.count(name) == 1 else f"{name}#{names[:n].count(name) + 1}"
            for sample in range(self._samples):
                occurrence = seen.get(name, 0)
                seen[name] = occurrence + 1
                plan.append((model, label, sample, occurrence))
        return plan

    async def _ask(
        self,
        model: Model,
        member: str,
        sample: int,
        prompt: Prompt,
        *,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
        stop: Sequence[str],
    ) -> Response:
        import anyio

        try:
            with anyio.fail_after(self._timeout_s):
                answer = await model.generate(
                    prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
                )
        except TimeoutError:
            return Response(member=member, sample=sample, status="timeout", error="timed out")
        except TimedOutError as error:
            return Response(member=member, sample=sample, status="timeout", error=str(error))
        except Exception as error:  # noqa: BLE001 - a member's failure, of whatever class
            said = f"{type(error).__name__}: {error}"
            return Response(member=member, sample=sample, status="error", error=said)
        completion = Completion.of(answer, model=member)
        key = self._normalise(completion.text)
        return Response(
            member=member,
            sample=sample,
            status="no_answer" if key is None else "ok",
            key=key,
            completion=completion,
        )

    def _count(
        self, responses: Sequence[Response], *, seed: int | None, wall_s: float
    ) -> Prediction:
        weights = dict(zip(dict.fromkeys(r.member for r in responses), self._weights, strict=True))
        ballots = [
            Ballot(member=r.member, sample=r.sample, key=r.key,
                   weight=weights[r.member] / self._samples)
            for r in responses
            if r.completion is not None
        ]  # fmt: skip
        valid = [ballot for ballot in ballots if ballot.key is not None]
        with span("vote", strategy=self._vote_name) as current:
            tally = self._vote(valid)
            answer, reason = self._break_tie(tally.winners, valid, seed)
            counted = sum(tally.scores.values())
            share = None if answer is None or counted == 0 else tally.scores[answer] / counted
            current.set_attribute("crucible.ensemble.answer_count", len(tally.scores))
            current.set_attribute("crucible.ensemble.tied", len(tally.winners) > 1)
        winners = [r for r in responses if answer is not None and r.key == answer]
        done = [r.completion for r in responses if r.completion is not None]
        costs = [c.cost_usd for c in done] + [None] * (len(responses) - len(done))
        support = None if answer is None else len(winners) / len(responses)
        reported = [c.latency_s for c in done if c.latency_s is not None]
        return Prediction(
            answer=answer,
            text=winners[0].completion.text if winners and winners[0].completion else None,
            abstained=answer is None,
            reason=reason,
            responses=tuple(responses),
            metadata=PredictionMetadata(
                strategy=self._vote_name,
                execution="parallel",
                consensus=share,
                support=support,
                votes=tally.scores,
                tied=tally.winners if len(tally.winners) > 1 else (),
                asked=len(responses),
                answered=len(done),
                valid=len(valid),
                models_used=tuple(dict.fromkeys(c.model for c in done)),
                winners=tuple(r.member for r in winners),
                failures={r.member: r.error for r in responses if r.error is not None},
                cost_usd=_total(costs),
                known_cost_usd=sum(c for c in costs if c is not None),
                billed_usd=_total([c.billed_usd for c in done]),
                input_tokens=_total([c.input_tokens for c in done]),
                output_tokens=_total([c.output_tokens for c in done]),
                # Asked at once, an ensemble is as slow as its slowest member; members that were
                # replayed took no time now, but that long then.
                latency_s=max(reported) if len(reported) == len(done) else wall_s,
                seed=seed,
                simulated=any(c.simulated for c in done),
            ),
        )

    def _break_tie(
        self, winners: tuple[str, ...], ballots: Sequence[Ballot], seed: int | None
    ) -> tuple[str | None, str | None]:
        if not winners:
            return None, "no member gave an answer that could be read"
        if len(winners) == 1:
            return winners[0], None
        if self._tie == "abstain":
            return None, f"{len(winners)} answers are tied"
        if self._tie == "priority":
            first = next(b.key for b in ballots if b.key in winners)
            return first, "tie: the first member's answer"
        drawn = derive(seed or 0, "tie", *winners) % len(winners)
        return winners[drawn], "tie: drawn by the seed"


def _opened(model: Model | str) -> Model:
    if not isinstance(model, str):
        return model
    from crucible_ensemble.open_model import open_model

    return open_model(model)


def _named(
    label: str, choice: "str | Callable[..., Any]", known: Mapping[str, Any]
) -> tuple[str, Any]:
    if not isinstance(choice, str):
        name = next((n for n, value in known.items() if value is choice), "custom")
        return name, choice
    if choice not in known:
        raise ValueError(f"`{label}` must be one of {', '.join(known)}, got {choice!r}")
    return choice, known[choice]


def _total(numbers: Sequence[Any]) -> Any:
    return None if None in numbers else sum(numbers)
