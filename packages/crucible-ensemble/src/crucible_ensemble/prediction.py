"""What an ensemble said, and how it came to it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from crucible_ensemble.completion import Completion

Status = Literal["ok", "no_answer", "error", "timeout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """One readable answer; `key` None is a ballot without an answer."""

    member: str
    sample: int
    key: str | None
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The count: score per key, and the keys with the highest score."""

    scores: Mapping[str, float]
    winners: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What one member answered, or why it did not."""

    member: str
    sample: int
    status: Status
    key: str | None = None
    completion: Completion | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionMetadata:
    """How a prediction came about.

    `consensus` is the winner's share of the valid answers, `support` its share of all that were
    asked: one survivor of three has consensus 1.0 and support 0.33. `cost_usd` is None if any
    answer's price is unknown; `known_cost_usd` adds those that are.
    """

    strategy: str
    execution: str
    consensus: float | None
    support: float | None
    votes: Mapping[str, float]
    tied: tuple[str, ...]
    asked: int
    answered: int
    valid: int
    models_used: tuple[str, ...]
    winners: tuple[str, ...]
    failures: Mapping[str, str]
    cost_usd: float | None
    known_cost_usd: float
    billed_usd: float | None
    input_tokens: int | None
    output_tokens: int | None
    latency_s: float
    seed: int | None
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """An ensemble's answer: `answer` is the winning key (None = abstained), `text` its text."""

    answer: str | None
    text: str | None
    abstained: bool
    reason: str | None
    responses: tuple[Response, ...]
    metadata: PredictionMetadata

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)
