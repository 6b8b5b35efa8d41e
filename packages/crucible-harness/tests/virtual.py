"""Runs whose time is virtual: it jumps to the next event, so that seconds compare exactly."""

from collections.abc import Callable
from typing import Any

import trio
import trio.testing

from crucible_ensemble import Completion
from crucible_harness import run


class Clocked:
    """Takes a given time and costs a given price for each call; remembers when each was sent."""

    def __init__(
        self,
        name: str = "clocked/m",
        *,
        takes_s: float = 0.0,
        costs: float | None = 0.0,
        answer: Callable[[str], str] = lambda text: "42",
        fails: Callable[[int], Exception | None] = lambda n: None,
    ) -> None:
        self.name = name
        self._takes_s, self._costs, self._answer, self._fails = takes_s, costs, answer, fails
        self.sent: list[float] = []

    def fingerprint(self) -> dict[str, object]:
        return {"model": self.name}

    async def generate(self, prompt, /, **options: object) -> Completion:
        self.sent.append(trio.current_time())
        error = self._fails(len(self.sent))
        if error is not None:
            raise error
        await trio.sleep(self._takes_s)
        return Completion(
            text=self._answer(prompt[-1]["content"]), model=self.name, cost_usd=self._costs,
            latency_s=self._takes_s, finish="stop",
        )  # fmt: skip


def in_virtual_time(*runs: Callable[[], Any]) -> tuple[list[Any], float]:
    """Carry out runs at once; return their results and the seconds that it took."""
    results: list[Any] = [None] * len(runs)

    async def main() -> float:
        async def one(n: int) -> None:
            results[n] = await runs[n]()

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for n in range(len(runs)):
                nursery.start_soon(one, n)
        return trio.current_time() - began

    took = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return results, took


def virtually(experiment: Any, options: Any) -> tuple[Any, float]:
    """Carry out one run."""

    async def main() -> tuple[Any, float]:
        began = trio.current_time()
        result = await run(experiment, options=options)
        return result, trio.current_time() - began

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
