"""What an ensemble said, and how it came to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from crucible_ensemble.completion import Completion

Status = Literal["ok", "no_answer", "error", "timeout", "cancelled", "filtered", "skipped"]
Ended = Literal["all", "decided", "threshold", "quorum", "deadline", "winner"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """What one asked call contributes to a vote.

    Attributes
    ----------
    member : str
    sample : int
    key : str or None
        The normalised answer; None is a ballot without an answer, which never wins.
    confidence : float in [0, 1], or None
        Probability that the answer is right, calibrated if `calibrated`.
    weight : float, >= 0
        The member's, divided by its samples.
    accuracy : float in [0, 1], or None
        The member's, as declared.
    """

    member: str
    sample: int = 0
    key: str | None
    confidence: float | None = None
    weight: float = 1.0
    accuracy: float | None = None
    calibrated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The count of a vote.

    Attributes
    ----------
    scores : mapping of key to score
    winner : str or None
        None if the vote abstains, or if `tied` holds two or more keys.
    tied : tuple of str, sorted
        The keys with the highest score, where there are several.
    confidence : float in [0, 1], or None
        Posterior probability that the winner is right, if the vote computes one.
    reason : str or None
        Why there is no winner.
    decided_by : str or None
        The vote that decided, where it was one of several.
    notes : mapping
        What the vote assumed, such as the number of classes.
    """

    scores: Mapping[str, float]
    winner: str | None = None
    tied: tuple[str, ...] = ()
    confidence: float | None = None
    reason: str | None = None
    decided_by: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What one member answered, or why it did not.

    Attributes
    ----------
    status : {"ok", "no_answer", "error", "timeout", "cancelled", "filtered", "skipped"}
        "skipped" was never asked; "cancelled" was asked and then not needed.
    error : str or None
        Class and message.
    started_s : float or None
        Seconds after the question, in the time of the ensemble.
    latency_s : float or None
    cost_usd : float or None
        0.0 for what was never sent; None where nobody knows.
    assumed : bool
        The cost of a cancelled copy is assumed to be that of the copy that finished.
    """

    member: str
    sample: int
    status: Status
    key: str | None = None
    completion: Completion | None = None
    error: str | None = None
    started_s: float | None = None
    latency_s: float | None = None
    cost_usd: float | None = None
    weight: float = 1.0
    assumed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        data["completion"] = None if self.completion is None else self.completion.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Response":
        """Read what `to_dict` wrote."""
        said = data["completion"]
        completion = None if said is None else Completion.from_dict(said)
        return cls(**{**data, "completion": completion})


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionMetadata:
    """How a prediction came about.

    Attributes
    ----------
    consensus, support : float in [0, 1], or None
        Ballots for the winner as a share of the valid answers, and of all that were asked: one
        survivor of three has consensus 1.0 and support 0.33.
    margin : float or None
        Score of the leader less that of the runner-up.
    votes : mapping of key to score
    tie : {"seeded", "priority", "abstain"} or None
        How a tie was broken, if there was one, between the keys in `tied`.
    confidence, confidence_source
        Posterior of the vote, else the consensus ("self_consistency").
    asked, called, answered, valid : int
        Calls in the plan; calls sent; calls that returned; answers that could be read.
    models_used, winners : tuple of str
        Models that answered; members that gave the winning answer.
    failures : mapping of member to error
    cost_usd, known_cost_usd, billed_usd : float
        `cost_usd` is None if any part is unknown; then `known_cost_usd` is a lower bound and
        `unpriced` lists the calls without a price.
    latency_s : float
        From the question to the decision, in the members' own latencies.
    strategy, execution, ended : str
    hedged, skipped : int
        Backups that were sent; calls that were not needed.
    simulated : bool
    n_eff_warning : str or None
        Why the members are worth fewer votes than they are.
    notes : mapping
        What vote and execution assumed.
    """

    strategy: str
    execution: str
    ended: Ended
    consensus: float | None
    support: float | None
    margin: float | None
    votes: Mapping[str, float]
    tie: str | None
    tied: tuple[str, ...]
    confidence: float | None
    confidence_source: str | None
    asked: int
    called: int
    answered: int
    valid: int
    models_used: tuple[str, ...]
    winners: tuple[str, ...]
    failures: Mapping[str, str]
    cost_usd: float | None
    known_cost_usd: float
    billed_usd: float | None
    unpriced: tuple[str, ...]
    input_tokens: int | None
    output_tokens: int | None
    latency_s: float
    hedged: int
    skipped: int
    seed: int | None
    simulated: bool
    n_eff_warning: str | None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PredictionMetadata":
        """Read what `to_dict` wrote."""
        lists = {n: tuple(data[n]) for n in ("tied", "models_used", "winners", "unpriced")}
        return cls(**{**data, **lists})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """An ensemble's answer: `answer` is the winning key (None = abstained), `text` its text."""

    answer: str | None
    text: str | None
    abstained: bool
    reason: str | None
    responses: tuple[Response, ...]
    metadata: PredictionMetadata
    item: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads."""
        return {
            "answer": self.answer,
            "text": self.text,
            "abstained": self.abstained,
            "reason": self.reason,
            "responses": [r.to_dict() for r in self.responses],
            "metadata": self.metadata.to_dict(),
            "item": self.item,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Prediction":
        """Read what `to_dict` wrote."""
        responses: Sequence[Mapping[str, Any]] = data["responses"]
        return cls(
            **{
                **data,
                "responses": tuple(Response.from_dict(r) for r in responses),
                "metadata": PredictionMetadata.from_dict(data["metadata"]),
            }
        )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
