"""Decisions of a real ensemble run, read back from its recorded spans (acceptance 13)."""

import anyio
import httpx
import pytest

from crucible_causaltrace import chain_from_events
from crucible_ensemble import (
    Completion,
    Ensemble,
    FunctionModel,
    OpenAIModel,
    PriceBook,
    hedged,
)
from crucible_ensemble.executions import Cascade
from crucible_ensemble.retry import Retries
from crucible_hedging import Hedger
from crucible_telemetry import SQLiteStore, start_experiment


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


def says(text, name, confidence=None):
    async def answer(prompt):
        return Completion(
            text=text, model=name, confidence=confidence, latency_s=0.0,
            confidence_source=None if confidence is None else "verbalised",
        )  # fmt: skip

    return FunctionModel(answer, name=name)


def fails(name):
    async def answer(prompt):
        raise ConnectionError("nobody answers")

    return FunctionModel(answer, name=name)


def late_once(text, name):
    """Hang at the first call and answer at the second."""
    asked = []

    async def answer(prompt):
        asked.append(1)
        if len(asked) == 1:
            await anyio.sleep_forever()
        return text

    return FunctionModel(answer, name=name)


def refused_once(text):
    """A provider's client whose server answers 429 first: the retry is the client's own."""
    asked = []

    def server(request):
        asked.append(1)
        if len(asked) == 1:
            return httpx.Response(429, headers={"retry-after": "0"}, json={"error": {}})
        said = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 1}
        return httpx.Response(200, json={"choices": [said], "usage": usage, "model": "m"})

    return OpenAIModel(
        "m", api_key="none", prices=PriceBook({"openai/m": (1.0, 1.0)}),
        retries=Retries(attempts=2), client=httpx.AsyncClient(transport=httpx.MockTransport(server)),
    )  # fmt: skip


async def recorded(ensemble, path):
    """Ask once, and return what telemetry recorded as the chain is built from it."""
    async with start_experiment(name="x", store=SQLiteStore(path)) as experiment:
        prediction = await ensemble.predict("6 x 7?")
        await experiment.aflush()
        events = [event.to_dict() for event in experiment.events()]
    chain = chain_from_events(events, task="6 x 7?")
    # Nothing is skipped: events in are events out, and every recorded parent is the parent.
    assert sorted(event["span_id"] for event in events) == sorted(event.id for event in chain)
    for event in events:
        assert chain[event["span_id"]].parent == event["parent_span_id"]
        assert chain[event["span_id"]].source == "system_observed"
    return prediction, chain


@pytest.mark.anyio
async def test_a_vote_shows_its_calls_the_hedge_the_failure_and_the_retry(tmp_path):
    raced = hedged(late_once("42", "late"), hedger=Hedger(0.05, budget=None))
    async with refused_once("41") as client:
        prediction, chain = await recorded(
            Ensemble([raced, fails("down"), client], normalise="numeric"), tmp_path / "t.sqlite"
        )
    assert (prediction.metadata.asked, prediction.metadata.valid) == (3, 2)

    (vote,) = chain.find(types=["decision_made"])
    assert vote.confidence is None  # agreement is not a probability of being right
    assert vote.metadata["options"] == 2

    (hedge,) = chain.find(types=["system:hedge"])
    assert hedge.decision == "backup won"
    first, second = chain.find(types=["system:attempt"])
    assert (first.parent, second.parent) == (hedge.id, hedge.id)
    assert second.depends_on == (first.id,)

    (retry,) = chain.find(types=["system:retry"])
    (before,) = retry.depends_on
    assert (chain[before].outcome, retry.outcome) == ("error", "ok")
    assert chain[before].metadata["error_type"] == "RateLimitError"
    assert chain[before].parent == retry.parent

    calls = chain.find(types=["system:model_call", "system:retry"])
    assert len(calls) == 5  # the late one twice, the one that is down, the refused one twice
    assert {call.id for call in calls} == set(vote.depends_on)
    assert sorted(call.outcome for call in calls) == ["cancelled", "error", "error", "ok", "ok"]
    late = [
        call for call in calls if call.depends_on and call.depends_on[0] in (first.id, second.id)
    ]
    assert [call.outcome for call in late] == ["cancelled", "ok"]


@pytest.mark.anyio
async def test_a_cascade_shows_that_it_went_on_and_where_it_stopped(tmp_path):
    members = [says("41", "small", 0.3), says("42", "big", 0.9), says("42", "biggest", 0.95)]
    cascade = Ensemble(
        members,
        normalise="numeric",
        execution=Cascade(threshold=0.75, calibration="assume", order="given"),
    )
    prediction, chain = await recorded(cascade, tmp_path / "t.sqlite")
    assert prediction.answer == "42"
    (whole,) = chain.find(types=["system:cascade"])
    assert whole.decision == "stopped at stage 2 of 3"
    (step,) = chain.find(types=["system:escalation"])
    assert step.decision == "ask big"
    assert step.parent == whole.id
    (before,) = step.depends_on
    assert chain[before].parent == whole.id
    (vote,) = chain.find(types=["decision_made"])
    assert set(vote.depends_on) == {call.id for call in chain.find(types=["system:model_call"])}
