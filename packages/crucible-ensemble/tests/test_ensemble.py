import pickle
import subprocess
import sys

import pytest

from crucible_ensemble import (
    CassetteModel,
    Completion,
    Ensemble,
    FunctionModel,
    ModelError,
    SimulatedModel,
    create,
    hedged,
    infer,
    open_model,
    predict_sync,
)
from crucible_ensemble.errors import (
    AllModelsFailedError,
    CassetteMissError,
    ModelNotFoundError,
    QuorumNotReachedError,
    RateLimitError,
)
from crucible_ensemble.normalise import Mcq, NumericTolerance
from crucible_ensemble.prices import PriceBook, PriceUnknownWarning
from crucible_ensemble.votes import Majority

pytestmark = pytest.mark.anyio


def says(text, name=None, cost=0.01):
    async def answer(prompt):
        return Completion(text=text, model=name or text, cost_usd=cost, input_tokens=1, output_tokens=1)  # fmt: skip

    return FunctionModel(answer, name=name or f"says/{text}")


def fails(name="broken"):
    async def answer(prompt):
        raise RateLimitError("too many", model=name)

    return FunctionModel(answer, name=name)


async def test_the_majority_wins_and_the_bill_counts_everybody():
    ensemble = Ensemble([says("42", "a"), says("The answer is 42.", "b"), says("7", "c")],
                        normalise="numeric")  # fmt: skip
    prediction = await ensemble.predict("?")
    assert prediction.answer == "42"
    assert prediction.text == "42"
    assert prediction.metadata.votes == {"42": 2.0, "7": 1.0}
    assert prediction.metadata.cost_usd == pytest.approx(0.03)
    assert prediction.metadata.consensus == pytest.approx(2 / 3)
    assert prediction.metadata.winners == ("a", "b")


async def test_a_survivor_has_full_consensus_and_little_support():
    prediction = await Ensemble([fails("a"), says("1", "b"), fails("c")], quorum=1).predict("?")
    assert prediction.metadata.consensus == 1.0
    assert prediction.metadata.support == pytest.approx(1 / 3)
    assert set(prediction.metadata.failures) == {"a", "c"}
    assert prediction.metadata.cost_usd is None  # what the failures cost is not known
    assert prediction.metadata.known_cost_usd == pytest.approx(0.01)


async def test_as_a_model_an_ensemble_answers_with_one_survivor_unless_a_quorum_was_given():
    members = [fails("a"), says("1", "b"), fails("c")]
    alone = await Ensemble(members).generate("?")
    assert alone.text == "1"
    assert alone.extra["support"] == pytest.approx(1 / 3)
    assert (await Ensemble(members, quorum=2).generate("?")).text == ""


async def test_no_answer_at_all_raises_with_every_reason():
    with pytest.raises(AllModelsFailedError, match="a: RateLimitError: too many"):
        await Ensemble([fails("a"), fails("b")]).predict("?")


async def test_unreadable_answers_never_win():
    prediction = await Ensemble([says("no idea", "a"), says("none", "b"), says("3", "c")],
                                normalise="numeric", quorum=1).predict("?")  # fmt: skip
    assert prediction.answer == "3"
    silent = Ensemble([says("no idea")], normalise="numeric")
    with pytest.raises(QuorumNotReachedError) as caught:
        await silent.predict("?")
    assert (caught.value.valid, caught.value.needed) == (0, 1)
    assert caught.value.responses[0].cost_usd == 0.01  # what was paid for is not lost
    (recorded,) = await silent.predict_many(["?"])
    assert recorded.abstained
    assert recorded.metadata.cost_usd == 0.01
    assert (await silent.generate("?")).text == ""


def test_what_decides_the_answer_is_in_the_fingerprint():
    def shout(text):
        return text.upper()

    def calm(text):
        return text.lower()

    members = [says("1", "a"), says("2", "b")]
    plain = Ensemble(members).fingerprint()
    assert plain == Ensemble(members).fingerprint()
    others = [
        {"normalise": shout}, {"normalise": calm}, {"normalise": Mcq(5)}, {"normalise": "mcq"},
        {"vote": Majority("absolute")}, {"vote": "unanimous"}, {"confidence": "logprobs"},
        {"equivalence": NumericTolerance()}, {"equivalence": NumericTolerance(0.1)},
        {"execution": "quorum"}, {"quorum": 1}, {"tie": "priority"}, {"weights": [1, 2]},
    ]  # fmt: skip
    found = [str(Ensemble(members, **options).fingerprint()) for options in others]
    assert len({str(plain), *found}) == 1 + len(others)
    assert not any(" at 0x" in f for f in found)  # an address is another one each time


async def test_a_seeded_tie_does_not_depend_on_the_order_of_members():
    one = await Ensemble([says("1", "a"), says("2", "b")]).predict("?", seed=3)
    other = await Ensemble([says("2", "b"), says("1", "a")]).predict("?", seed=3)
    assert one.answer == other.answer
    assert one.metadata.tied == ("1", "2")
    drawn = {
        (await Ensemble([says("1", "a"), says("2", "b")]).predict("?", seed=s)).answer
        for s in range(20)
    }
    assert drawn == {"1", "2"}


async def test_the_first_sample_is_the_call_that_a_single_answer_would_make():
    seeds = []

    class Recorder:
        name = "recorder"

        async def generate(
            self, prompt, /, *, temperature=0.0, max_tokens=1000, seed=None, stop=()
        ):
            seeds.append(seed)
            return Completion(text="1", model=self.name)

    await Ensemble([Recorder()], samples=5).predict("?", temperature=0.7, seed=11)
    assert seeds[0] == 11
    assert len(set(seeds)) == 5
    again, seeds[:] = list(seeds), []
    await Ensemble([Recorder()], samples=5).predict("?", temperature=0.7, seed=11)
    assert seeds == again


def arithmetic(name, accuracy, **options):
    return SimulatedModel(
        name,
        accuracy=accuracy,
        answer_of=lambda question: question.split()[-1],
        wrong_of=lambda question: ["-1", "-2"],
        **options,
    )


async def test_simulated_models_reach_their_accuracy_and_correlation():
    # 4,000 items: three standard errors of a share are .024; phi of equal models = correlation.
    a = arithmetic("a", 0.7, correlation=0.5)
    b = arithmetic("b", 0.7, correlation=0.5)
    right = []
    for item in range(4_000):
        answers = [(await m.generate(f"q {item}")).text == str(item) for m in (a, b)]
        right.append(answers)
    share_a = sum(x for x, _ in right) / 4_000
    both = sum(x and y for x, y in right) / 4_000
    phi = (both - 0.49) / 0.21
    assert share_a == pytest.approx(0.7, abs=0.024)
    assert phi == pytest.approx(0.5, abs=0.08)
    assert (await a.generate("q 1")).simulated


async def test_the_cassette_replays_what_it_recorded_and_bills_nothing(tmp_path):
    tape = tmp_path / "tape.jsonl"
    model = arithmetic("a", 0.5, price=(1.0, 1.0))
    recorded = await CassetteModel(model, tape, mode="record").generate("q 5", seed=1)
    player = CassetteModel(None, tape)
    replayed = await player.generate("q 5", seed=1)
    assert replayed.text == recorded.text
    assert replayed.cost_usd == recorded.cost_usd
    assert (replayed.billed_usd, replayed.cached) == (0.0, True)
    assert player.name == "simulated/a"
    with pytest.raises(CassetteMissError, match="holds no answer"):
        await player.generate("q 6", seed=1)
    with tape.open("a") as file:
        file.write('{"key": "torn')
    assert (await CassetteModel(None, tape).generate("q 5", seed=1)).text == recorded.text


async def test_hedging_goes_through_the_port_and_keeps_the_name():
    class Race:
        async def race(self, calls, /, *, key=None):
            return await calls[1](), 1

    prediction = await infer(Ensemble([says("1", "a")]), "?", hedging=Race())
    assert prediction.answer == "1"
    assert prediction.responses[0].member == "a"
    with pytest.raises(TypeError, match="object with race"):
        hedged(says("1"), hedger="percentile_75")


class Everybody:
    """Starts every call, lets the last one win and cancels the others."""

    async def race(self, calls, /, *, key=None):
        import anyio

        result = []
        async with anyio.create_task_group() as group:
            for call in calls[:-1]:
                group.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            result.append(await calls[-1]())
            group.cancel_scope.cancel()
        return result[0], len(calls) - 1


async def test_a_hedged_answer_pays_for_the_copy_that_was_cancelled():
    import anyio

    asked = []

    async def answer(prompt):
        asked.append(1)
        if len(asked) == 1:
            await anyio.sleep_forever()
        return Completion(text="1", model="a", cost_usd=0.25, billed_usd=0.25, latency_s=0.5)

    completion = await hedged(FunctionModel(answer, name="a"), hedger=Everybody()).generate("?")
    assert completion.cost_usd == completion.billed_usd == 0.5
    assert completion.extra == {"hedged": 1, "assumed_usd": 0.25}
    assert completion.latency_s >= 0.5


async def test_a_race_is_carried_out_by_another_hedger_on_request():
    class First:
        async def race(self, calls, /, *, key=None):
            return await calls[0](), 0

    raced = hedged(says("1", "a"), hedger=Everybody(), backups=[says("2", "b")])
    other = raced.with_hedger(First())
    assert (await other.generate("?")).text == "1"
    assert (other.name, other.members()) == (raced.name, raced.members())
    assert isinstance(raced.hedger, Everybody)  # the race itself is as it was


async def test_a_cancelled_call_to_another_model_has_no_known_price():
    import anyio

    async def never(prompt):
        await anyio.sleep_forever()

    model = hedged(FunctionModel(never, name="a"), hedger=Everybody(), backups=[says("1", "b")])
    assert (await model.generate("?")).cost_usd is None


async def test_a_member_whose_copies_all_fail_is_one_failed_member():
    class Fails:
        async def race(self, calls, /, *, key=None):
            errors = []
            for call in calls:
                try:
                    await call()
                except ModelError as error:
                    errors.append(error)
            raise ExceptionGroup("all attempts failed", errors)

    ensemble = Ensemble([hedged(fails("a"), hedger=Fails()), says("1", "b")])
    prediction = await ensemble.predict("?")
    assert prediction.answer == "1"
    assert prediction.metadata.failures == {"a": "RateLimitError: too many"}


async def test_a_bug_in_a_member_is_that_member_s_failure():
    async def broken(prompt):
        raise KeyError("oops")

    prediction = await Ensemble([FunctionModel(broken, name="a"), says("1", "b")]).predict("?")
    assert prediction.answer == "1"
    assert prediction.metadata.failures == {"a": "KeyError: 'oops'"}


async def test_weights_decide_a_weighted_majority():
    ensemble = create(
        adapters=[
            {"name": "a", "weight": 0.6},
            {"name": "b", "weight": 0.2},
            {"name": "c", "weight": 0.1},
        ],
        models={"a": says("x", "a"), "b": says("y", "b"), "c": says("y", "c")},
    )
    assert (await ensemble.predict("?")).answer == "x"


def test_predict_has_a_synchronous_twin():
    assert predict_sync("?", models=[says("1", "a"), says("1", "b")]).answer == "1"


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(ModelNotFoundError, match="did you mean smollm2"):
        open_model("smolm2")
    with pytest.raises(ValueError, match="`vote` must be one of"):
        Ensemble([says("1")], vote="fastest")
    with pytest.raises(ValueError, match="must not be empty"):
        Ensemble([])


def test_unknown_prices_are_unknown():
    book = PriceBook.default()
    assert book.cost_usd("openai/gpt-4o-mini", 1_000_000, 1_000_000) == pytest.approx(0.75)
    assert book.cost_usd("openai/gpt-4o-2024-11-20", 1_000_000, 0) == pytest.approx(2.5)
    with pytest.warns(PriceUnknownWarning, match="openai/gpt-4o-audio"):
        assert book.cost_usd("openai/gpt-4o-audio", 1, 1) is None
    assert book.cost_usd("openai/gpt-4o-audio", 1, 1) is None  # said once
    assert book.cost_usd("openai/gpt-4o", None, 1) is None


def test_errors_survive_pickling():
    error = RateLimitError("wait", model="m", retry_after_s=3.0)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.retry_after_s, again.retryable) == ("wait", 3.0, True)
    assert isinstance(again, ModelError)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, crucible_ensemble; print({'scipy', 'torch', 'httpx', 'pydantic', 'xllamacpp', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
