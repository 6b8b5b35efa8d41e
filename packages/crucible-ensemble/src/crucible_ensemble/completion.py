"""What a model returned, with what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from crucible_ensemble.model import CompletionLike

Finish = Literal["stop", "length", "filtered", "tool", "limit", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer; None stands for everything unknown.

    Attributes
    ----------
    text : str
    model : str
        "provider/model" as it was asked.
    served_by : str or None
        Version and fingerprint as the provider returned them.
    input_tokens, output_tokens, cached_tokens, reasoning_tokens : int or None
        Cached tokens are part of the input, reasoning tokens part of the output.
    cost_usd : float or None
        What the answer costs, all attempts together; None if price or usage is unknown.
    billed_usd : float or None
        What this call added to the bill: 0.0 when it came from a cache or a cassette.
    confidence : float in [0, 1], or None
        With `confidence_source`: "logprobs", "verbalised", "self_consistency", "verifier",
        "posterior" or "reported".
    logprobs : sequence of float or None
        Natural logarithm, one per chosen token.
    top_logprobs : sequence of mappings or None
        For each token the most likely tokens with their log-probabilities.
    latency_s, ttft_s : float or None
        Seconds from request to answer and to its first piece, without time in a queue.
    finish : {"stop", "length", "filtered", "tool", "limit", "unknown"}
        "length" is the end of `max_tokens`, "limit" one that an agent was given.
    attempts : int
    cached, simulated : bool
        `simulated` marks an answer that no real model gave.
    dropped : tuple of str
        Options that were asked for and not sent, because the model has none such.
    extra : mapping
    """

    text: str
    model: str
    served_by: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    billed_usd: float | None = None
    confidence: float | None = None
    confidence_source: str | None = None
    logprobs: Sequence[float] | None = None
    top_logprobs: Sequence[Mapping[str, float]] | None = None
    latency_s: float | None = None
    ttft_s: float | None = None
    finish: Finish = "unknown"
    request_id: str | None = None
    attempts: int = 1
    cached: bool = False
    simulated: bool = False
    dropped: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads."""
        data = {name: getattr(self, name) for name in _NAMES}
        data["logprobs"] = None if self.logprobs is None else list(self.logprobs)
        if self.top_logprobs is not None:
            data["top_logprobs"] = [dict(place) for place in self.top_logprobs]
        data["dropped"] = list(self.dropped)
        data["extra"] = dict(self.extra)
        return data

    def to_short_dict(self) -> dict[str, Any]:
        """Return `to_dict` without the fields that have their default value."""
        data = self.to_dict()
        return {k: v for k, v in data.items() if k not in _DEFAULTS or v != _DEFAULTS[k]}

    @classmethod
    def of(cls, answer: "CompletionLike", *, model: str) -> "Completion":
        """Return what any model answered as a Completion; one that is one already, as it is."""
        if isinstance(answer, cls):
            return answer
        more = {
            name: getattr(answer, name)
            for name in ("served_by", "finish", "request_id", "simulated", "extra")
            if getattr(answer, name, None) is not None
        }
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
            **more,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Completion":
        """Read what `to_dict` or `to_short_dict` wrote.

        Raises
        ------
        TypeError
            If a field is missing or unknown.
        """
        if data.get("dropped"):
            data = {**data, "dropped": tuple(data["dropped"])}
        elif "dropped" in data:
            data = {k: v for k, v in data.items() if k != "dropped"}
        return cls(**data)


_NAMES = tuple(f.name for f in fields(Completion))
_DEFAULTS: Mapping[str, Any] = {
    "served_by": None, "input_tokens": None, "output_tokens": None, "cached_tokens": None,
    "reasoning_tokens": None, "cost_usd": None, "billed_usd": None, "confidence": None,
    "confidence_source": None, "logprobs": None, "top_logprobs": None, "latency_s": None,
    "ttft_s": None, "finish": "unknown", "request_id": None, "attempts": 1, "cached": False,
    "simulated": False, "dropped": [], "extra": {},
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a streamed answer; the last one has no text and carries the Completion."""

    text: str
    completion: Completion | None = None
