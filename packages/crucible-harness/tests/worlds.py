"""Models and questions for tests: sums, simulated answers, and outcomes that are given."""

import re
from collections.abc import Mapping, Sequence

from crucible_datasets import Dataset, Item
from crucible_datasets.items import Provenance
from crucible_ensemble import Completion, SimulatedModel
from crucible_ensemble.errors import ModelTimeoutError


def right(text: str) -> str:
    a, b = map(int, re.findall(r"\d+", text)[:2])
    return str(a + b)


def wrong(text: str) -> Sequence[str]:
    return [str(int(right(text)) + 1), str(int(right(text)) + 2), "no idea"]


def sums(n: int) -> Dataset:
    items = [
        Item(id=f"sum/{i}", input=f"What is {i} + {i * 7 % 13}?", expected=str(i + i * 7 % 13),
             metadata={"kind": "odd" if i % 2 else "even"})
        for i in range(n)
    ]  # fmt: skip
    return Dataset(items, name="sums", task="math", provenance=Provenance(kind="memory"))


def simulated(name: str = "m", accuracy: float = 0.7, **options: object) -> SimulatedModel:
    return SimulatedModel(
        name, accuracy=accuracy, answer_of=right, wrong_of=wrong, **{"price": (1.0, 2.0), **options}
    )


def told(item) -> str:
    return str(item.expected)


class Replay:
    """Answers what a table says, by condition and item: "1" is right, "0" wrong, "!" a time-out."""

    def __init__(self, name: str, answers: Mapping[str, str]) -> None:
        self.name = f"replay/{name}"
        self._answers = answers
        self.asked = 0

    def fingerprint(self) -> dict[str, object]:
        return {"model": self.name}

    async def generate(self, prompt, /, *, temperature=0.0, max_tokens=1000, seed=None, stop=()):
        self.asked += 1
        outcome = self._answers[prompt[-1]["content"]]
        if outcome == "!":
            raise ModelTimeoutError("no answer within 30 s", model=self.name)
        text = right(prompt[-1]["content"]) if outcome == "1" else "-99"
        return Completion(text=text, model=self.name, cost_usd=0.01, latency_s=0.5)
