"""Many models, one answer; the ensemble is itself a model."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Literal, Self, Unpack

from crucible_ensemble.asking import Asker
from crucible_ensemble.choices import AllOptions
from crucible_ensemble.completion import Completion
from crucible_ensemble.confidence import ConfidenceSource
from crucible_ensemble.estimate import estimate
from crucible_ensemble.executions import EXECUTIONS, ExecutionName, FixedHedge
from crucible_ensemble.executions.hedged import RacedHedge
from crucible_ensemble.executions.machine import Execution
from crucible_ensemble.identity import identity_of
from crucible_ensemble.member import Member
from crucible_ensemble.model import Equivalence, Hedger, Model, Normaliser, Prompt, Vote
from crucible_ensemble.normalise import NORMALISERS, NormaliserName
from crucible_ensemble.outcome import completion_of
from crucible_ensemble.panel import Panel, Tie
from crucible_ensemble.prediction import Prediction
from crucible_ensemble.quorum import below_quorum, checked
from crucible_ensemble.seating import chosen, panel_of
from crucible_ensemble.stream import Event
from crucible_ensemble.votes import VOTES, VoteName


class Ensemble:
    """Asks several models and lets them vote.

    Parameters
    ----------
    models : sequence of Model, model name or Member
        A model that stands here n times is asked n times, each time with another seed.
    vote : name or Vote
        "majority", "weighted_majority", "weighted", "confidence_sum", "best_confidence",
        "unanimous", "dawid_skene" (only in `predict_many`), or a vote object such as
        `votes.Weighted(by="accuracy")`.
    execution : name or Execution
        "parallel", "quorum", "sequential", "hedged", "cascade", or an execution object such as
        `executions.Sequential(stop=Posterior(0.95))`.
    normalise : name or Normaliser
        Reads the answer that is voted on. A text without an answer is no vote, and None never wins.
    equivalence : Equivalence, optional
        Merges keys that mean the same before they are counted.
    samples : int, >= 1
        Answers per model; they differ only above temperature 0.
    quorum : int, optional
        Valid answers needed; by default half of what was asked, rounded up.
    timeout_s : float, > 0
        For each member's answer, in a queue or not.
    deadline_s : float, > 0, optional
        For the whole question; open calls are then cancelled and the rest votes.
    tie : {"seeded", "priority", "abstain"}
        "seeded" draws by hash of seed, item and keys, whatever the order of members; "priority"
        takes the answer of the first member.
    seed : int
        Of ties and, through a hash of item, member and sample, of every call.
    confidence : source, optional
        Where a ballot's confidence is from; by default what the model reports.
    hedger : Hedger, optional
        Races the calls of execution "hedged".
    unsupported : {"raise", "record"}
        What happens to an option that a member does not have. Seeds that the ensemble made itself
        are always only recorded.
    weights : sequence of float, optional
        One for each model; the same as `Member(weight=...)`.
    name : str

    Notes
    -----
    A failed member does not fail the ensemble: it is recorded, and the others vote, as long as
    there are `quorum` valid answers. Cost, tokens and latency count every call.
    """

    def __init__(
        self,
        models: Sequence[Model | str | Member],
        *,
        vote: VoteName | Vote = "majority",
        execution: ExecutionName | Execution = "parallel",
        normalise: NormaliserName | Normaliser = "text",
        equivalence: Equivalence | None = None,
        samples: int = 1,
        quorum: int | None = None,
        timeout_s: float = 30.0,
        deadline_s: float | None = None,
        tie: Tie = "seeded",
        seed: int = 0,
        confidence: ConfidenceSource | None = None,
        hedger: Hedger | None = None,
        unsupported: Literal["raise", "record"] = "raise",
        weights: Sequence[float] | None = None,
        name: str = "ensemble",
    ) -> None:
        if unsupported not in ("raise", "record"):
            raise ValueError(f'`unsupported` must be "raise" or "record", got {unsupported!r}')
        self.name = name
        # For `with_members`: everything as it was given.
        self._options: dict[str, Any] = {
            "vote": vote, "execution": execution, "normalise": normalise,
            "equivalence": equivalence, "samples": samples, "quorum": quorum,
            "timeout_s": timeout_s, "deadline_s": deadline_s, "tie": tie, "seed": seed,
            "confidence": confidence, "hedger": hedger, "unsupported": unsupported, "name": name,
        }  # fmt: skip
        batch = vote == "dawid_skene"
        vote_name, counted = chosen("vote", "majority" if batch else vote, VOTES)
        _, execute = chosen("execution", execution, EXECUTIONS)
        _, read = chosen("normalise", normalise, NORMALISERS)
        if hedger is not None:
            execute = _raced(hedger, execute)
        self._panel = panel_of(
            models, weights=weights, samples=samples, vote=counted,
            vote_name="dawid_skene" if batch else vote_name, execution=execute,
            normalise=read, equivalence=equivalence, tie=tie, quorum=quorum, confidence=confidence,
            timeout_s=timeout_s, deadline_s=deadline_s,
        )  # fmt: skip
        self._asker = Asker(
            self._panel, samples=samples, seed=seed, hedger=hedger, unsupported=unsupported,
            batch=batch,
        )  # fmt: skip
        self.supports = frozenset({"seed", "stop", "temperature"})

    def __repr__(self) -> str:
        panel = self._panel
        return (
            f"Ensemble({len(panel.members)} models x {self._options['samples']}, "
            f"vote={panel.vote_name!r}, execution={panel.execution.name!r})"
        )

    @property
    def panel(self) -> Panel:
        """Members, vote and execution, as the drivers see them."""
        return self._panel

    def members(self) -> Sequence[Model]:
        """Return the models that vote."""
        return tuple(m.model for m in self._panel.members)  # type: ignore[misc]

    def with_members(self, models: Sequence[Model]) -> "Ensemble":
        """Return the same vote over other models, in the order of `members`.

        Raises
        ------
        ValueError
            If their number differs.
        """
        old = self._panel.members
        if len(models) != len(old):
            raise ValueError(f"`models` must be {len(old)} models, got {len(models)}")
        seated = [replace(m, model=model) for m, model in zip(old, models, strict=True)]
        return Ensemble(seated, **self._options)

    def with_options(self, **options: Unpack[AllOptions]) -> "Ensemble":
        """Return the same members under other options of this class."""
        return Ensemble(self._panel.members, **{**self._options, **options})

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the structure in an experiment's design."""
        return identity_of(self._panel, self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the members that can be closed."""
        for model in {id(m): m for m in self.members()}.values():
            close = getattr(model, "aclose", None)
            if close is not None:
                await close()

    def estimate(self, input_tokens: int, output_tokens: int) -> dict[str, Any]:
        """Return what a prompt costs at least (one member) and at most (all calls).

        Returns
        -------
        dict
            "low_usd" and "high_usd", None if no price is known; "unpriced" lists the members whose
            price is not, and whose part is missing.
        """
        return estimate(self._panel, input_tokens, output_tokens)

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

        The vote is in `extra`. Without a winner, or below a quorum that was given, the text is
        empty; without one, one answer that can be read is enough here, and `extra["support"]` says
        how few they were.
        """
        prediction = await self._asker.predict(
            prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop, item=None
        )
        return completion_of(below_quorum(prediction, self._panel.quorum or 1)[0], self.name)

    async def predict(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
        item: str | None = None,
    ) -> Prediction:
        """Ask, and count.

        Parameters
        ----------
        seed : int, optional
            For this question; the first sample of the first member is then asked with this very
            seed. By default every call's seed is a hash of the ensemble's seed, item, member and
            sample.
        item : str, optional
            What the question is called, in seeds and records; by default a hash of it.

        Raises
        ------
        ValueError
            For a prompt or option that cannot be sent, and for several samples at temperature 0.
        AllModelsFailedError
            If no member answered.
        QuorumNotReachedError
            If there are fewer valid answers than the quorum.
        UncalibratedError
            If a vote needs probabilities and has none. What was paid for is in its `responses`.
        """
        prediction = await self._asker.predict(
            prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop, item=item
        )
        return checked(prediction, self._panel.quorum)

    def stream(
        self,
        prompt: Prompt,
        /,
        *,
        early_stop_threshold: float = 1.0,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
        item: str | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Return a context whose iterator tells of answers as they arrive.

        Parameters
        ----------
        early_stop_threshold : float, in (0, 1]
            Stop as soon as that share of all that were asked agrees; 1.0 waits for the execution.

        Yields
        ------
        MemberArrived, Consensus
            After every response, and how the vote stands then.
        Complete
            Last, with the prediction.
        """
        from crucible_ensemble.stream import open_stream

        return open_stream(
            self._asker, prompt, early_stop_threshold=early_stop_threshold, temperature=temperature,
            max_tokens=max_tokens, seed=seed, stop=stop, item=item,
        )  # fmt: skip

    async def predict_many(
        self,
        prompts: Mapping[str, Prompt] | Sequence[Prompt],
        *,
        concurrency: int = 10,
        on_error: Literal["record", "raise"] = "record",
        on_result: Callable[[Prediction], None] | None = None,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        stop: Sequence[str] = (),
    ) -> list[Prediction]:
        """Answer many prompts, some at a time; see `crucible_ensemble.many`.

        Parameters
        ----------
        prompts : mapping of item to prompt, or sequence of prompts
        concurrency : int, >= 1
        on_error : {"record", "raise"}
            "record" makes an abstention of a prompt without quorum or without any answer.
        on_result : callable, optional
            Told of every prediction as it is made; with "dawid_skene" at the end.

        Raises
        ------
        Exception
            A fault of a vote, normaliser or `on_result`; with "raise" also of a prompt. What was
            answered until then is in its `predictions`.

        Returns
        -------
        list of Prediction
            In the order of the prompts.
        """
        from crucible_ensemble.many import predict_many

        return await predict_many(
            self._asker, prompts, concurrency=concurrency, on_error=on_error,
            on_result=on_result, temperature=temperature, max_tokens=max_tokens, stop=stop,
        )  # fmt: skip


def _raced(hedger: Hedger, execution: Execution) -> Execution:
    if isinstance(hedger, str) or not hasattr(hedger, "race"):
        raise TypeError(
            f"`hedger` must be an object with race(), such as crucible_hedging.Hedger({hedger!r})"
        )
    if not isinstance(execution, FixedHedge):
        raise ValueError(f'`hedger` must be None unless execution is "hedged", got {hedger!r}')
    return RacedHedge()
