"""What only shows when packages meet: spans, votes, hedges and adapters in one record."""

import pytest

from crucible_causaltrace import chain_from_events
from crucible_ensemble import Ensemble, FunctionModel, SimulatedModel, hedged
from crucible_hedging import Hedger
from crucible_telemetry import MemoryStore, start_experiment


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


def says(text: str, name: str) -> FunctionModel:
    async def answer(prompt):
        return text

    return FunctionModel(answer, name=name)


@pytest.mark.anyio
async def test_a_vote_is_captured_and_becomes_a_decision():
    ensemble = Ensemble(
        [says("42", "a"), says("42", "b"), hedged(says("41", "c"), hedger=Hedger(5.0, budget=0.5))],
        normalise="numeric",
    )
    with start_experiment(name="vote", store=MemoryStore()) as experiment:
        prediction = await ensemble.predict("6 x 7?")
        await experiment.aflush()
        events = [event.to_dict() for event in experiment.events()]
    assert prediction.answer == "42"
    assert experiment.stats().recorded == len(events)
    names = [event["name"] for event in events]
    assert names.count("crucible.ensemble.generate") == 3
    assert names.count("crucible.hedging.request") == 1
    chain = chain_from_events(events, task="vote")
    assert len(chain) == len(events)  # nothing skipped
    (vote,) = chain.find(types=["decision_made"])
    assert vote.confidence is None  # agreement is not a probability of being right
    assert vote.source == "system_observed"
    assert chain.find(types=["system:hedge"])[0].decision == "not hedged"


@pytest.mark.anyio
async def test_a_late_member_is_hedged_and_the_backup_counts_in_the_bill():
    import anyio

    from crucible_ensemble import Completion

    asked = []

    async def answer(prompt):
        asked.append(1)
        if len(asked) == 1:
            await anyio.sleep_forever()
        return Completion(text="42", model="slow", cost_usd=0.25, latency_s=0.0)

    model = hedged(FunctionModel(answer, name="slow"), hedger=Hedger(0.01, budget=None))
    completion = await model.generate("6 x 7?")
    assert completion.text == "42"
    assert completion.extra["hedged"] == 1
    assert completion.cost_usd == 0.5  # the cancelled copy is assumed to cost the same
    assert completion.extra["assumed_usd"] == 0.25
    assert completion.latency_s >= 0.01


@pytest.mark.anyio
async def test_a_refusal_ends_the_race_of_equal_calls():
    from crucible_ensemble.errors import AuthenticationError

    asked = []

    async def refuse(prompt):
        asked.append(1)
        raise AuthenticationError("no key", model="m")

    model = hedged(FunctionModel(refuse, name="m"), hedger=Hedger(10.0, budget=None))
    with pytest.raises(AuthenticationError):
        await model.generate("?")
    assert len(asked) == 1  # no backup for what cannot succeed


@pytest.mark.anyio
async def test_experiments_side_by_side_do_not_mix():
    import anyio

    seen = {}

    async def one(name: str) -> None:
        model = SimulatedModel(
            name, accuracy=1.0, answer_of=lambda q: "1", wrong_of=lambda q: ["2"], latency_s=0.001
        )
        with start_experiment(name=name, store=MemoryStore()) as experiment:
            for _ in range(5):
                await model.generate("?")
            await experiment.aflush()
            seen[name] = [event.model for event in experiment.events()]

    async with anyio.create_task_group() as group:
        for n in range(8):
            group.start_soon(one, f"m{n}")
    assert seen == {f"m{n}": [f"simulated/m{n}"] * 5 for n in range(8)}


@pytest.mark.anyio
async def test_an_adapter_is_a_model_that_votes(tmp_path):
    from crucible_lora import create_experiment, train
    from crucible_lora.demo import demo_findings

    experiment = create_experiment(
        "votes", {"base_model": "reference", "rank": 4, "learning_rate": 1e-2}, directory=tmp_path
    )
    await train(experiment, demo_findings(16, seed=0), epochs=1, batch_size=8, progress=False)
    sampler = experiment.sampler("latest")
    ensemble = Ensemble([sampler, says("SUPPORTS", "b"), says("SUPPORTS", "c")])
    prediction = await ensemble.predict(
        "[1] Study confirmed that sleep reduces stress.\n", max_tokens=8
    )
    assert prediction.metadata.answered == 3
    assert prediction.answer == "supports"  # the two that learned nothing outvote the one
