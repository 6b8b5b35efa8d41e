"""Checks for people who implement a port: call them in a test of your own."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import permutations
from typing import Any

import anyio

from crucible_ensemble.model import CompletionLike, Model, Normaliser, Vote
from crucible_ensemble.prediction import Ballot, Tally

_TEXTS = ("", " ", "42", "The answer is B.", "yes", "{}", "```\n```", "\0", "\ud800", "9" * 5000, "a" * 100_000)  # noqa: E501 # fmt: skip
_KEYS: tuple[str | None, ...] = ("a", "a", "b", None)


class ConformanceError(AssertionError):
    """The implementation breaks a promise of its port; the message says which."""


async def check_model(make: Callable[[], Model | Awaitable[Model]]) -> None:
    """Check that what `make` returns keeps the promises of `Model`.

    It is asked four short questions, so a paid model costs four short answers.

    Raises
    ------
    ConformanceError
        With the promise that is broken.
    """
    made = make()
    model: Model = await made if isinstance(made, Awaitable) else made
    supports = getattr(model, "supports", None)
    seed = None if supports is not None and "seed" not in supports else 7
    messages = [{"role": "user", "content": "What is 2 + 2?"}]
    for prompt in ("What is 2 + 2?", messages):
        _check_completion(await model.generate(prompt, max_tokens=16, seed=seed))
    _require(messages == [{"role": "user", "content": "What is 2 + 2?"}], "the prompt was changed")
    found: list[CompletionLike] = []

    async def ask() -> None:
        found.append(await model.generate("What is 2 + 2?", max_tokens=16, seed=seed))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
    for answer in found:
        _check_completion(answer)
    close = getattr(model, "aclose", None)
    if close is not None:
        await close()


def _check_completion(answer: CompletionLike) -> None:
    _require(isinstance(answer.text, str), f"text must be a string, got {answer.text!r}")
    for name in ("input_tokens", "output_tokens"):
        value = getattr(answer, name)
        good = value is None or (isinstance(value, int) and value >= 0)
        _require(good, f"{name} must be a count or None, got {value!r}")
    for name in ("cost_usd", "latency_s"):
        value = getattr(answer, name)
        _require(value is None or value >= 0, f"{name} must be >= 0 or None, got {value!r}")
    p = answer.confidence
    _require(p is None or 0 <= p <= 1, f"confidence must be in [0, 1] or None, got {p!r}")
    _require(p is None or answer.confidence_source is not None, "a confidence must name its source")
    logprobs = answer.logprobs
    good = logprobs is None or all(value <= 1e-6 for value in logprobs)
    _require(good, "logprobs must be natural logarithms, <= 0")


def check_vote(vote: Vote) -> None:
    """Check that a vote ignores the order of ballots, never elects None, and invents no key.

    Raises
    ------
    ConformanceError
        With the promise that is broken.
    """
    ballots = [
        Ballot(member=f"m{n}", key=key, confidence=0.6 + n / 20, accuracy=0.7, calibrated=True)
        for n, key in enumerate(_KEYS)
    ]
    tallies = [vote(list(order)) for order in permutations(ballots)]
    for tally in tallies:
        _check_tally(tally, _KEYS)
        same = (tally.winner, tally.tied) == (tallies[0].winner, tallies[0].tied)
        _require(same, "the order of ballots must play no part")
    silent = vote([Ballot(member="m", key=None, confidence=0.9, calibrated=True)])
    _require(silent.winner is None and not silent.tied, "without an answer nobody may win")
    _require(silent.reason is not None, "an abstention must have a reason")


def _check_tally(tally: Tally, keys: Sequence[str | None]) -> None:
    named = {tally.winner, *tally.tied, *tally.scores} - {None}
    _require(named <= set(keys), f"only given keys may occur, got {named - set(keys)}")
    _require(len(tally.tied) != 1, "one key alone is a winner and no tie")
    _require(not (tally.winner and tally.tied), "a winner excludes a tie")


def check_normaliser(normalise: Normaliser) -> None:
    """Check that a normaliser raises on no text and returns a key, or None, always the same.

    Raises
    ------
    ConformanceError
        With the promise that is broken.
    """
    for text in _TEXTS:
        try:
            key: Any = normalise(text)
        except Exception as error:
            raise ConformanceError(f"it must not raise, got {error!r} on {text[:40]!r}") from error
        good = key is None or (isinstance(key, str) and key != "")
        _require(good, f"a key must be a non-empty string or None, got {key!r}")
        _require(normalise(text) == key, f"equal texts must have equal keys: {text[:40]!r}")


def _require(condition: bool, promise: str) -> None:
    if not condition:
        raise ConformanceError(promise)
