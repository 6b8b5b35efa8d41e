"""What a model returned, with what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from crucible_ensemble.model import CompletionLike

Finish = Literal["stop", "length", "filtered", "tool", "limit", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer; None stands for everything unknown.

    `cost_usd` is what the answer costs, `billed_usd` what this call added to the bill (0.0 when it
    came from a cassette). `served_by` is the version that the provider says it used. `simulated`
    marks an answer that no real model gave.
    """

    text: str
    model: str
    served_by: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    billed_usd: float | None = None
    confidence: float | None = None
    confidence_source: str | None = None
    logprobs: Sequence[float] | None = None
    latency_s: float | None = None
    finish: Finish = "unknown"
    request_id: str | None = None
    attempts: int = 1
    cached: bool = False
    simulated: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads."""
        data = asdict(self)
        data["logprobs"] = None if self.logprobs is None else list(self.logprobs)
        return data

    @classmethod
    def of(cls, answer: "CompletionLike", *, model: str) -> "Completion":
        """Return what any model answered as a Completion; one that is one already, as it is."""
        if isinstance(answer, cls):
            return answer
        return cls(
            text=answer.text,
            model=model,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            cost_usd=answer.cost_usd,
            billed_usd=answer.cost_usd,
            confidence=answer.confidence,
            confidence_source=answer.confidence_source,
            logprobs=answer.logprobs,
            latency_s=answer.latency_s,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Completion":
        """Read what `to_dict` wrote.

        Raises
        ------
        TypeError
            If a field is missing or unknown.
        """
        return cls(**data)
