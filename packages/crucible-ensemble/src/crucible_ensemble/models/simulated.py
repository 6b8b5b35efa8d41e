"""A model that is not one: seeded answers of known accuracy, labelled wherever they go."""

import hashlib
from collections.abc import Callable, Sequence

from crucible_ensemble.completion import Completion
from crucible_ensemble.model import Prompt
from crucible_ensemble.prompts import check_options, to_messages
from crucible_ensemble.tracing import generate_span


class SimulatedModel:
    """Answers right with a given probability; every draw is a hash of what is asked.

    Parameters
    ----------
    name : str
    accuracy : float, in [0, 1]
    answer_of : callable
        From the last user message to the right answer.
    wrong_of : callable
        From the last user message to wrong answers, at least one.
    correlation : float, in [0, 1]
        Probability that an item is *shared*: all models of the group then use one draw and one
        wrong answer. The correlation of right and wrong between equal models is this number.
    group : str
    latency_s : float, >= 0
        Reported and slept.
    price : (float, float), optional
        US dollars per million tokens, input and output; None = unknown cost.
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
        accuracy: float,
        answer_of: Callable[[str], str],
        wrong_of: Callable[[str], Sequence[str]],
        correlation: float = 0.0,
        group: str = "default",
        latency_s: float = 0.0,
        price: tuple[float, float] | None = None,
        failure_rate: float = 0.0,
        seed: int = 0,
    ) -> None:
        shares = {"accuracy": accuracy, "correlation": correlation, "failure_rate": failure_rate}
        for label, value in shares.items():
            if not 0 <= value <= 1:
                raise ValueError(f"`{label}` must be in [0, 1], got {value}")
        if latency_s < 0:
            raise ValueError(f"`latency_s` must be >= 0, got {latency_s}")
        self.name = f"simulated/{name}"
        self.simulated = True
        self._accuracy, self._correlation, self._group = accuracy, correlation, group
        self._answer_of, self._wrong_of = answer_of, wrong_of
        self._latency_s, self._price = latency_s, price
        self._failure_rate, self._seed = failure_rate, seed

    def __repr__(self) -> str:
        return f"SimulatedModel({self.name!r}, accuracy={self._accuracy})"

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the model in an experiment's design."""
        return {
            "model": self.name,
            "accuracy": self._accuracy,
            "correlation": self._correlation,
            "group": self._group,
            "latency_s": self._latency_s,
            "price": self._price,
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
        from crucible_ensemble.errors import ServerError

        check_options(temperature=temperature, max_tokens=max_tokens)
        messages = to_messages(prompt)
        item = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
        sample = seed if temperature else None
        with generate_span(self.name, system="simulated") as span:
            if self._latency_s:
                import anyio

                await anyio.sleep(self._latency_s)
            if self._draw(self.name, item, sample, "failure") < self._failure_rate:
                raise ServerError("simulated failure", model=self.name, status=500)
            text = self._answer(item, sample)
            for mark in stop:
                text = text.partition(mark)[0]
            sent, received = _words(messages), max(1, len(text.split()))
            cost = None
            if self._price is not None:
                cost = (self._price[0] * sent + self._price[1] * received) / 1_000_000
            return span.answered(
                Completion(
                    text=text,
                    model=self.name,
                    served_by=self.name,
                    input_tokens=sent,
                    output_tokens=received,
                    cost_usd=cost,
                    billed_usd=cost,
                    latency_s=self._latency_s,
                    finish="stop",
                    simulated=True,
                )
            )

    def _answer(self, item: str, sample: int | None) -> str:
        shared = self._draw(self._group, item, None, "shared") < self._correlation
        who = self._group if shared else self.name
        if self._draw(who, item, sample, "right") < self._accuracy:
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
