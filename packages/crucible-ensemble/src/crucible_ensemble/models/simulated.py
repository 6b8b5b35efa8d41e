"""A model that is not one: seeded answers of known accuracy, labelled wherever they go."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Literal, Protocol

from crucible_ensemble.completion import Completion
from crucible_ensemble.errors import ServerError
from crucible_ensemble.model import Prompt
from crucible_ensemble.prompts import check_options, to_messages
from crucible_ensemble.spans import generate_span


class Latency(Protocol):
    """How long an answer takes."""

    def seconds(self, u: float, v: float, /) -> float:
        """Return seconds from two independent uniform numbers in [0, 1)."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every answer takes `value` seconds."""

    value: float

    def __post_init__(self) -> None:
        if not 0 <= self.value < math.inf:
            raise ValueError(f"`latency` must be >= 0, got {self.value}")

    def seconds(self, u: float, v: float, /) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """Latencies with a given median; `sigma` is the standard deviation of their logarithm."""

    median: float
    sigma: float

    def __post_init__(self) -> None:
        if not (self.median > 0 and self.sigma >= 0):
            raise ValueError(f"`median` must be > 0 and `sigma` >= 0, got {self}")

    def seconds(self, u: float, v: float, /) -> float:
        """Return the quantile of u."""
        return self.median * math.exp(self.sigma * NormalDist().inv_cdf(min(max(u, 1e-12), 1 - 1e-12)))  # fmt: skip # noqa: E501


@dataclass(frozen=True, slots=True, kw_only=True)
class Stragglers:
    """`usual` seconds, and with probability `share` instead `late` seconds."""

    usual: float
    late: float
    share: float

    def __post_init__(self) -> None:
        if not (0 <= self.usual <= self.late and 0 <= self.share <= 1):
            raise ValueError(f"`usual` must be in [0, late] and `share` in [0, 1], got {self}")

    def seconds(self, u: float, v: float, /) -> float:
        """Return one of the two."""
        return self.late if v < self.share else self.usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Overconfident:
    """States its probability of being right with `logit` added on the logit scale."""

    logit: float = 3.0


class SimulatedModel:
    """Answers right with a given probability; every draw is a hash of what is asked.

    Parameters
    ----------
    name : str
    accuracy : float in [0, 1], or callable
        A callable gives it from the last user message: items differ in difficulty.
    answer_of : callable
        From the last user message to the right answer.
    wrong_of : callable
        From the last user message to wrong answers, at least one.
    correlation : float, in [0, 1]
        Probability that an item is *shared*: all models of the group then use one draw and one
        wrong answer. The correlation of right and wrong between equal models is this number.
    group : str
    latency_s : float, >= 0
        Reported and slept: the same as `latency=Fixed(latency_s)`.
    latency : Fixed, Lognormal or Stragglers, optional
    price : (float, float), optional
        US dollars per million tokens, input and output; None = unknown cost.
    tokens : (int, int), optional
        Of every call, input and output; by default words are counted.
    confidence : {"none", "calibrated"} or Overconfident
        "calibrated" states the probability of being right.
    failure_rate : float, in [0, 1]
        Share of calls that raise ServerError.
    seed : int

    Notes
    -----
    At temperature 0 every call on an item gives the same answer; above, each seed is a new draw.
    """

    def __init__(
        self,
        name: str,
        *,
        accuracy: float | Callable[[str], float],
        answer_of: Callable[[str], str],
        wrong_of: Callable[[str], Sequence[str]],
        correlation: float = 0.0,
        group: str = "default",
        latency_s: float = 0.0,
        latency: Latency | None = None,
        price: tuple[float, float] | None = None,
        tokens: tuple[int, int] | None = None,
        confidence: Literal["none", "calibrated"] | Overconfident = "none",
        failure_rate: float = 0.0,
        seed: int = 0,
    ) -> None:
        shares = {"accuracy": accuracy, "correlation": correlation, "failure_rate": failure_rate}
        for label, value in shares.items():
            if not callable(value) and not 0 <= value <= 1:
                raise ValueError(f"`{label}` must be in [0, 1], got {value}")
        if not 0 <= latency_s < math.inf:
            raise ValueError(f"`latency_s` must be >= 0, got {latency_s}")
        if latency is not None and latency_s:
            raise ValueError(f"`latency_s` must be 0 where `latency` is given, got {latency_s}")
        if price is not None and min(price) < 0:
            raise ValueError(f"`price` must be two numbers >= 0, got {price}")
        if tokens is not None and min(tokens) < 0:
            raise ValueError(f"`tokens` must be two counts >= 0, got {tokens}")
        if confidence not in ("none", "calibrated") and not isinstance(confidence, Overconfident):
            raise ValueError(
                f'`confidence` must be "none", "calibrated" or Overconfident, got {confidence!r}'
            )
        self.name = f"simulated/{name}"
        self.simulated = True
        self.supports = frozenset({"temperature", "seed", "stop"})
        self._accuracy, self._correlation, self._group = accuracy, correlation, group
        self._answer_of, self._wrong_of = answer_of, wrong_of
        self._latency: Latency = latency or Fixed(latency_s)
        self._price, self._tokens, self._confidence = price, tokens, confidence
        self._failure_rate, self._seed = failure_rate, seed

    def __repr__(self) -> str:
        return f"SimulatedModel({self.name!r}, accuracy={self._accuracy})"

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the model in an experiment's design."""
        return {
            "model": self.name,
            "accuracy": getattr(self._accuracy, "__qualname__", self._accuracy),
            "correlation": self._correlation,
            "group": self._group,
            "latency_s": self._latency.value
            if isinstance(self._latency, Fixed)
            else repr(self._latency),
            "price": self._price,
            "tokens": self._tokens,
            "confidence": self._confidence
            if isinstance(self._confidence, str)
            else asdict(self._confidence),
            "failure_rate": self._failure_rate,
            "seed": self._seed,
            "simulated": True,
        }

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
        """Answer right or wrong, by hash."""
        check_options(temperature=temperature, max_tokens=max_tokens, stop=stop)
        messages = to_messages(prompt)
        item = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
        sample = seed if temperature else None
        latency_s = self._latency.seconds(
            self._draw(self.name, item, sample, "latency"),
            self._draw(self.name, item, sample, "straggler"),
        )
        with generate_span(self.name, system="simulated") as span:
            if latency_s:
                import anyio

                await anyio.sleep(latency_s)
            if self._draw(self.name, item, sample, "failure") < self._failure_rate:
                raise ServerError("simulated failure", model=self.name, status=500)
            accuracy = self._accuracy(item) if callable(self._accuracy) else self._accuracy
            text = self._answer(item, sample, accuracy)
            for mark in stop:
                text = text.partition(mark)[0]
            sent, received = self._tokens or (_words(messages), max(1, len(text.split())))
            cost = None
            if self._price is not None:
                cost = (self._price[0] * sent + self._price[1] * received) / 1_000_000
            confidence = self._stated(accuracy)
            return span.answered(
                Completion(
                    text=text,
                    model=self.name,
                    served_by=self.name,
                    input_tokens=sent,
                    output_tokens=received,
                    cost_usd=cost,
                    billed_usd=cost,
                    confidence=confidence,
                    confidence_source=None if confidence is None else "reported",
                    latency_s=latency_s,
                    finish="stop",
                    simulated=True,
                )
            )

    def _stated(self, accuracy: float) -> float | None:
        if self._confidence == "none":
            return None
        if not isinstance(self._confidence, Overconfident) or accuracy in (0.0, 1.0):
            return accuracy
        odds = math.log(accuracy / (1 - accuracy)) + self._confidence.logit
        return 1 / (1 + math.exp(-odds))

    def _answer(self, item: str, sample: int | None, accuracy: float) -> str:
        shared = self._draw(self._group, item, None, "shared") < self._correlation
        who = self._group if shared else self.name
        if self._draw(who, item, sample, "right") < accuracy:
            return self._answer_of(item)
        wrong = self._wrong_of(item)
        return wrong[int(self._draw(who, item, sample, "wrong") * len(wrong))]

    def _draw(self, who: str, item: str, sample: int | None, purpose: str) -> float:
        """Return a uniform number in [0, 1) that depends only on its arguments and the seed."""
        key = "\x1f".join((str(self._seed), who, item, str(sample), purpose))
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) / 2**53


def _words(messages: Sequence[dict[str, str]]) -> int:
    return sum(len(message["content"].split()) for message in messages)
