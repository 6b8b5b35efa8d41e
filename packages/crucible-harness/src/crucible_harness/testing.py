"""Checks for people who implement a port of this package: call them in a test of your own."""

import math
from collections.abc import Sequence
from typing import Any

from crucible_ensemble import Completion, FunctionModel
from crucible_harness.clock import Clock
from crucible_harness.composites import Composite
from crucible_harness.desk import Executor
from crucible_harness.fingerprints import structure
from crucible_harness.judging import Answered, Scorer
from crucible_harness.prompts import ItemLike
from crucible_harness.report.plain import Reportable

__all__ = [
    "ConformanceError",
    "check_clock",
    "check_composite",
    "check_executor",
    "check_reportable",
    "check_scorer",
]


class ConformanceError(AssertionError):
    """The implementation breaks a promise of its port; the message says which."""


def check_clock(clock: Clock) -> None:
    """Check that a clock tells whole nanoseconds since 1970.

    Raises
    ------
    ConformanceError
        With the promise that is broken.
    """
    told: object = clock.time_ns()
    _require(
        isinstance(told, int) and told >= 0,
        f"time_ns() must return nanoseconds since 1970 as an int, got {told!r}",
    )


def check_composite(model: Composite) -> None:
    """Check that a model made of models can be taken apart and put together again.

    Raises
    ------
    ConformanceError
        With the promise that is broken.
    """
    members = list(model.members())
    _require(bool(members), "members() must return at least one model")
    before = structure(model)
    again: Any = model.with_members(members)
    _require(again is not model, "with_members() must return a new object")
    _require(structure(again) == before, "with_members(members()) must be the same composite")
    inside = list(getattr(again, "members", list)())
    _require(
        len(inside) == len(members) and all(a is b for a, b in zip(inside, members, strict=True)),
        "with_members() must keep the models it is given, in order",
    )
    _require(structure(model) == before, "with_members() must leave the composite as it was")


def check_scorer(scorer: Scorer, item: ItemLike, *, texts: Sequence[str] = ()) -> None:
    """Check that a scorer is a function of answer and item: None, or a finite number.

    Parameters
    ----------
    texts : sequence of str
        Answers to try, beside an empty one, a long one and one that holds what is expected.

    Raises
    ------
    ConformanceError
        With the promise that is broken.
    """
    for text in ("", str(item.expected), "x" * 10_000, "\0 \ud800", *texts):
        answered = Answered(text=text, value=text or None)
        first, second = scorer(answered, item), scorer(answered, item)
        number = isinstance(first, int | float) and math.isfinite(first)
        _require(first is None or number, f"a score must be None or finite, got {first!r}")
        _require(first == second, f"equal answers must score alike, got {first!r}, then {second!r}")


async def check_executor(executor: Executor) -> None:
    """Check that an executor makes the calls it is given, hands options on, and can be used again.

    Raises
    ------
    ConformanceError
        With the promise that is broken.
    """
    messages = [{"role": "user", "content": "What is 2 + 2?"}]
    options: dict[str, Any] = {"temperature": 0.5, "max_tokens": 9, "seed": 7, "stop": ["\n"]}
    for _ in range(2):  # a run that is resumed in the same process opens it again
        model = FunctionModel(_answer, name="testing/echo")
        await executor.open([model])
        try:
            answer = await executor.generate(model, messages, **options)
            _require(isinstance(answer, Completion), f"a call must give a Completion, got {answer}")
            _require(answer.text == "What is 2 + 2?", f"the prompt must arrive, got {answer.text}")
            try:
                await executor.generate(FunctionModel(_fail, name="testing/fails"), messages)
            except ZeroDivisionError:
                continue
            except Exception as error:
                raise ConformanceError(
                    f"a model's own error must arrive, got {type(error).__name__}"
                ) from error
            raise ConformanceError("a model's own error must arrive, got an answer")
        finally:
            await executor.close()


def check_reportable(thing: Reportable) -> None:
    """Check that `report()` can render what `to_report` returns.

    Raises
    ------
    ConformanceError
        With the place of the first mistake.
    """
    from crucible_harness.report.plain import read_report

    try:
        read_report(thing.to_report())
    except ValueError as error:
        raise ConformanceError(str(error)) from error


def _answer(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def _fail(prompt: Any) -> str:
    raise ZeroDivisionError("as the check wants it")


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise ConformanceError(promise)
