"""Functions that a model may call, and the limits of it."""

import json

import pytest

from crucible_ensemble import Completion
from crucible_harness import Condition, Experiment, run_sync
from crucible_harness.tools import ToolLoop, read_call


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def add_later(a: int, b: int) -> int:
    return a + b


async def fail(reason: str) -> str:
    raise RuntimeError(reason)


class Script:
    """Says what a script says, one line a turn, and keeps what it was told."""

    name = "script/one"

    def __init__(self, *lines: str, **facts: object) -> None:
        self.lines, self.facts, self.told = lines, facts, []

    def fingerprint(self):
        return {"script": list(self.lines)}

    async def generate(self, prompt, /, *, temperature=0.0, max_tokens=1000, seed=None, stop=()):
        turn = sum(m["role"] == "assistant" for m in prompt)
        self.told.append(prompt[-1]["content"])
        text = self.lines[min(turn, len(self.lines) - 1)]
        return Completion(text=text, model=self.name, **{"cost_usd": 0.01, **self.facts})


def call(tool, **arguments):
    return json.dumps({"tool": tool, "arguments": arguments})


@pytest.mark.anyio
async def test_a_model_calls_a_function_and_answers():
    model = Script(f"```json\n{call('add', a=2, b='40')}\n```", "It is 42.")
    said = await ToolLoop(model, [add, fail]).generate("What is 2 + 40?")
    assert said.text == "It is 42."
    assert model.told == ["What is 2 + 40?", "Result of add: 42"]
    assert said.finish == "stop"
    assert said.cost_usd == pytest.approx(0.02)
    assert said.extra["turns"] == 2
    assert said.extra["limit"] is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (call("subtract", a=1), "there is no function 'subtract'; there are add, fail"),
        (call("add", a="many", b=1), "a: Input should be a valid integer"),
        (call("add", a=1), "b: Missing required argument"),
        (call("fail", reason="on fire"), "RuntimeError: on fire"),
    ],
)
async def test_mistakes_are_told_to_the_model(reply, told):
    model = Script(reply, "Sorry.")
    said = await ToolLoop(model, [add, fail]).generate("Go.")
    assert told in model.told[1]
    assert said.text == "Sorry."


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("limits", "limit", "turns"),
    [
        ({"max_turns": 3}, "max_turns", 3),
        ({"max_calls": 2}, "max_calls", 3),
        ({"max_tokens_total": 250}, "max_tokens_total", 3),
    ],
)
async def test_each_limit_ends_the_loop_and_says_so(limits, limit, turns):
    model = Script(call("add", a=1, b=1), input_tokens=90, output_tokens=10)
    said = await ToolLoop(model, [add], **limits).generate("Forever.")
    assert (said.finish, said.extra["limit"], said.extra["turns"]) == ("limit", limit, turns)
    assert said.cost_usd == pytest.approx(0.01 * turns)


def test_the_time_limit_ends_the_loop_in_virtual_time():
    import trio
    from trio.testing import MockClock

    class Slow(Script):
        async def generate(self, prompt, /, **options):
            await trio.sleep(4)
            return await super().generate(prompt, **options)

    async def main():
        # in a task and not in a thread, which virtual time would not wait for
        model = Slow(call("add_later", a=1, b=1))
        started = trio.current_time()
        said = await ToolLoop(model, [add_later], max_s=10.0, max_turns=9).generate("Forever.")
        return said, trio.current_time() - started

    said, elapsed = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert (said.finish, said.extra["limit"], said.extra["turns"]) == ("limit", "max_s", 2)
    assert elapsed == pytest.approx(10.0, abs=0.5)
    assert said.latency_s == pytest.approx(elapsed)


@pytest.mark.parametrize(
    "text",
    [
        "The tool is add.",
        '{"tool": "add", "arguments": {}} and more',
        '{"tool": "add", "arguments": {}, "why": 1}',
        '{"tool": 3}',
        '["tool"]',
    ],
)
def test_anything_but_one_object_is_a_final_answer(text):
    assert read_call(text) is None


def test_every_turn_is_a_journaled_call(options):
    from worlds import sums

    def experiment():
        return Experiment(
            "tools",
            dataset=sums(4),
            conditions=[Condition("tools", ToolLoop(Script(call("add", a=0, b=1), "1"), [add]))],
            metrics=["accuracy", "cost_usd"],
            seed=1,
        )

    result = run_sync(experiment(), options=options)
    assert result.calls_sent == 8
    assert run_sync(experiment(), options=options).calls_sent == 0


def test_a_loop_without_tools_or_limits_is_refused():
    with pytest.raises(ValueError, match="`tools`"):
        ToolLoop(Script("x"), [])
    with pytest.raises(ValueError, match="`max_calls`"):
        ToolLoop(Script("x"), [add], max_calls=0)
