"""Executions: exact in virtual time, lossless where they say so, the same live and on record."""

from itertools import permutations, product

import anyio
import pytest
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from crucible_ensemble import Completion, Ensemble, FunctionModel, SimulatedModel, hedged
from crucible_ensemble.collect import collect
from crucible_ensemble.errors import (
    AllModelsFailedError,
    QuorumNotReachedError,
    RateLimitError,
    UncalibratedError,
)
from crucible_ensemble.evaluate import Strategy, panel_for, predictions_of
from crucible_ensemble.executions import (
    Cascade,
    Consensus,
    Decided,
    FixedHedge,
    Posterior,
    Quorum,
    Sequential,
    Sprt,
)
from crucible_ensemble.matrix import ResponseMatrix
from crucible_ensemble.member import Member
from crucible_ensemble.models.cached import CachedModel
from crucible_ensemble.models.simulated import Lognormal
from crucible_ensemble.panel import conclude
from crucible_ensemble.prediction import Response
from crucible_ensemble.replay import replay
from crucible_ensemble.votes import Majority, Unanimous, Weighted, WeightedMajority


def says(text, name, *, after=0.0, cost=0.01, confidence=None):
    """A model that answers after some (virtual) seconds."""

    async def answer(prompt):
        await anyio.sleep(after)
        return Completion(
            text=text, model=name, cost_usd=cost, billed_usd=cost, latency_s=after,
            confidence=confidence, confidence_source=None if confidence is None else "reported",
        )  # fmt: skip

    return FunctionModel(answer, name=name)


def fails(name, *, after=0.0, cost=None):
    async def answer(prompt):
        await anyio.sleep(after)
        raise RateLimitError("busy", model=name, cost_usd=cost)

    return FunctionModel(answer, name=name)


def test_parallel_is_as_slow_as_the_slowest(in_virtual_time):
    async def main():
        began = anyio.current_time()
        ensemble = Ensemble(
            [says("1", "a", after=1), says("1", "b", after=5), says("2", "c", after=2)]
        )
        return await ensemble.predict("?"), anyio.current_time() - began

    prediction, took = in_virtual_time(main)
    assert took == prediction.metadata.latency_s == 5.0
    assert (prediction.metadata.ended, prediction.metadata.called) == ("all", 3)


def test_a_quorum_returns_when_the_answer_cannot_change_and_cancels_the_rest(in_virtual_time):
    async def main():
        began = anyio.current_time()
        ensemble = Ensemble(
            [says("1", "a", after=1), says("1", "b", after=2), says("2", "c", after=60)],
            execution="quorum",
        )
        return await ensemble.predict("?"), anyio.current_time() - began

    prediction, took = in_virtual_time(main)
    assert took == prediction.metadata.latency_s == 2.0
    assert prediction.metadata.ended == "decided"
    assert prediction.responses[2].status == "cancelled"
    # What a cancelled call costs nobody knows.
    assert prediction.metadata.cost_usd is None
    assert prediction.metadata.known_cost_usd == pytest.approx(0.02)
    assert prediction.metadata.unpriced == ("c",)


def test_one_after_another_until_the_rest_does_not_matter(in_virtual_time):
    async def main():
        members = [says("1", "a", after=1), says("1", "b", after=2), says("2", "c", after=4)]
        return await Ensemble(members, execution="sequential").predict("?")

    prediction = in_virtual_time(main)
    assert prediction.metadata.latency_s == 3.0
    assert [r.status for r in prediction.responses] == ["ok", "ok", "skipped"]
    assert [r.started_s for r in prediction.responses] == [0.0, 1.0, None]
    assert prediction.metadata.cost_usd == pytest.approx(0.02)  # what was not asked costs nothing
    assert prediction.metadata.skipped == 1


@pytest.mark.parametrize(
    ("primary", "winner", "latency", "called"),
    [
        (says("1", "a", after=0.5), "a", 0.5, 1),  # in time: no backup
        (says("1", "a", after=9.0), "b", 1.2, 2),  # late: the backup of 0.2 s wins
        (fails("a", after=0.3), "b", 0.2, 2),  # failed: backed up at once
        (says("???", "a", after=0.3), "b", 0.5, 2),  # no readable answer: the same
    ],
)
def test_a_hedge_backs_up_a_primary_that_is_late_failed_or_unreadable(in_virtual_time, primary, winner, latency, called):  # fmt: skip
    async def main():
        members = [primary, says("2", "b", after=0.2), says("3", "c", after=0.2)]
        return await Ensemble(members, execution="hedged", normalise="numeric").predict("?")

    prediction = in_virtual_time(main)
    assert prediction.metadata.winners == (winner,)
    assert prediction.metadata.ended == "winner"
    assert prediction.metadata.latency_s == pytest.approx(latency)
    assert (prediction.metadata.called, prediction.metadata.hedged) == (called, called - 1)


class Racer:
    """Starts every call at once and takes the first that succeeds."""

    async def race(self, calls, /, *, key=None):
        won = []

        async def run(place):
            try:
                won.append((await calls[place](), place))
                group.cancel_scope.cancel()
            except Exception as error:  # noqa: BLE001 - told to the caller
                failed.append(error)

        failed = []
        async with anyio.create_task_group() as group:
            for place in range(len(calls)):
                group.start_soon(run, place)
        if not won:
            raise ExceptionGroup("all failed", failed)
        return won[0]


def test_a_hedger_races_the_members_through_its_port(in_virtual_time):
    async def main(members):
        return await Ensemble(
            members, execution="hedged", normalise="numeric", hedger=Racer()
        ).predict("?")

    late = [says("1", "a", after=9), says("2", "b", after=1)]
    prediction = in_virtual_time(main, late)
    assert (prediction.answer, prediction.metadata.hedged) == ("2", 1)
    assert prediction.responses[0].status == "cancelled"
    invalid = [says("none", "a", after=1), says("2", "b", after=2)]
    assert in_virtual_time(main, invalid).answer == "2"
    failed = [fails("a", after=1), says("2", "b", after=2)]
    assert in_virtual_time(main, failed).answer == "2"
    with pytest.raises(AllModelsFailedError):
        in_virtual_time(main, [fails("a"), fails("b")])


def test_a_cancelled_copy_of_the_winning_call_is_billed_like_it_and_marked(in_virtual_time):
    async def main(second):
        slow_then_fast = iter([9.0, 0.2])

        async def answer(prompt):
            after = next(slow_then_fast)
            await anyio.sleep(after)
            return Completion(text="1", model="m", cost_usd=0.25, billed_usd=0.25, latency_s=after)

        model = FunctionModel(answer, name="m")
        members = [model, model if second == "copy" else says("1", "other", after=0.2)]
        return await Ensemble(members, execution="hedged", normalise="numeric").predict("?")

    copies = in_virtual_time(main, "copy")
    assert [(r.status, r.cost_usd, r.assumed) for r in copies.responses] == [
        ("cancelled", 0.25, True), ("ok", 0.25, False),
    ]  # fmt: skip
    assert (copies.metadata.cost_usd, copies.metadata.unpriced) == (0.5, ())
    others = in_virtual_time(main, "other")
    assert (others.metadata.cost_usd, others.metadata.unpriced) == (None, ("m",))


def test_a_hedger_must_be_one_and_have_something_to_race():
    with pytest.raises(TypeError, match="crucible_hedging.Hedger"):
        Ensemble([says("1", "a")], execution="hedged", hedger="p95")
    with pytest.raises(ValueError, match="`hedger` must be None unless"):
        Ensemble([says("1", "a")], hedger=Racer())


def test_a_cascade_stops_at_the_first_stage_that_is_sure(in_virtual_time):
    async def main(confidence, **options):
        members = [
            Member(
                says("1", "cheap", after=1, confidence=confidence), price_rank=1, calibrator=float
            ),
            Member(says("2", "dear", after=1, cost=1.0), price_rank=2),
        ]
        return await Ensemble(members, execution=Cascade(**options)).predict("?")

    sure = in_virtual_time(lambda: main(0.95))
    assert (sure.answer, sure.metadata.called, sure.metadata.cost_usd) == ("1", 1, 0.01)
    unsure = in_virtual_time(lambda: main(0.5))
    assert (unsure.answer, unsure.metadata.latency_s) == ("2", 2.0)
    assert unsure.metadata.cost_usd == pytest.approx(1.01)  # both were paid
    silent = in_virtual_time(lambda: main(None))
    assert (silent.answer, silent.metadata.notes["no confidence at stage 0"]) == ("2", "cheap")
    assert in_virtual_time(lambda: main(0.95, min_models=2)).answer == "2"
    assert in_virtual_time(lambda: main(0.5, threshold=(0.4,))).answer == "1"


def test_a_cascade_s_first_stage_may_be_an_ensemble(in_virtual_time):
    async def main(second):
        stage = Ensemble([says("1", "a"), says("1", "b"), says(second, "c")], name="three")
        members = [stage, says("9", "strong")]
        return await Ensemble(members, execution=Cascade(threshold=0.9, order="given")).predict("?")

    agreed = in_virtual_time(main, "1")
    assert (agreed.answer, agreed.metadata.cost_usd) == ("1", pytest.approx(0.03))
    split = in_virtual_time(main, "2")  # consensus 2/3 < .9
    assert (split.answer, split.metadata.cost_usd) == ("9", pytest.approx(0.04))


def test_a_raw_confidence_is_refused_unless_it_is_said_to_be_trusted(in_virtual_time):
    async def main(**options):
        members = [says("1", "cheap", confidence=0.99), says("2", "dear")]
        return await Ensemble(members, execution=Cascade(order="given", **options)).predict("?")

    with pytest.raises(UncalibratedError) as caught:
        in_virtual_time(main)
    assert caught.value.responses[0].cost_usd == 0.01  # what was paid is not lost
    assumed = in_virtual_time(lambda: main(calibration="assume"))
    assert assumed.answer == "1"
    assert assumed.metadata.notes["assumed calibrated at stage 0"] == "cheap"


def test_the_order_by_price_needs_prices():
    with pytest.raises(ValueError, match="price of 'a' is not known"):
        Ensemble([says("1", "a"), says("2", "b")], execution="cascade")
    cheap_first = Sequential(order="cheapest")
    members = [Member(says("1", "a"), price_rank=2), Member(says("1", "b"), price_rank=1)]
    assert Ensemble(members, execution=cheap_first).panel.table().ordered("cheapest") == [1, 0]


def test_a_deadline_cancels_what_is_open_and_counts_the_rest(in_virtual_time):
    async def main(deadline_s):
        began = anyio.current_time()
        members = [says("1", "a", after=1), says("1", "b", after=2), says("2", "c", after=60)]
        prediction = await Ensemble(members, deadline_s=deadline_s).predict("?")
        return prediction, anyio.current_time() - began

    prediction, took = in_virtual_time(main, 3.0)
    assert (prediction.answer, prediction.metadata.ended, took) == ("1", "deadline", 3.0)
    assert prediction.metadata.latency_s == 3.0
    with pytest.raises(QuorumNotReachedError, match="1 valid answers, `quorum` is 2"):
        in_virtual_time(main, 1.5)
    with pytest.raises(AllModelsFailedError):
        in_virtual_time(main, 0.5)


def test_a_member_s_timeout_is_that_member_s_failure(in_virtual_time):
    async def main():
        members = [says("1", "a", after=1), says("1", "b", after=2), says("2", "c", after=60)]
        return await Ensemble(members, timeout_s=5).predict("?")

    prediction = in_virtual_time(main)
    assert prediction.answer == "1"
    assert prediction.responses[2].status == "timeout"
    assert prediction.metadata.failures == {"c": "ModelTimeoutError: no answer within 5 s"}
    assert prediction.metadata.latency_s == 5.0


@pytest.mark.parametrize("vote", ["weighted", "confidence_sum", "best_confidence", Weighted(by="accuracy")])  # fmt: skip
@pytest.mark.parametrize("execution", ["quorum", "sequential"])
def test_votes_that_cannot_be_curtailed_without_loss_are_refused(vote, execution):
    with pytest.raises(ValueError, match="`vote` must be majority"):
        Ensemble([says("1", "a")], vote=vote, execution=execution)


def recorded(keys, order=None):
    """Responses that arrive in an order."""
    order = range(len(keys)) if order is None else order
    when = {place: 1.0 + n for n, place in enumerate(order)}

    def of(place):
        key = keys[place]
        said = None if key is None else Completion(text=key, model="m", latency_s=when[place])
        return Response(
            member=f"m{place}", sample=0, status="ok" if key else "error", key=key, completion=said,
            latency_s=when[place], error=None if key else "x",
        )  # fmt: skip

    return of


def panel_of_five(vote, execution, weights=(1, 1, 1, 1, 1)):
    matrix = ResponseMatrix([], items=["i"], models=[f"m{n}" for n in range(5)])
    models = [Member(f"m{n}", weight=w) for n, w in enumerate(weights)]
    return panel_for(matrix, Strategy(name="s", models=models, vote=vote, execution=execution, normalise="exact", samples=1))  # fmt: skip


def answer_of(panel, responses):
    course, table = replay(panel, responses)
    return conclude(panel, course, table, seed=4, item="i", shown_seed=4)


@pytest.mark.parametrize(
    ("vote", "weights"),
    [(Majority(), (1,) * 5), (WeightedMajority(), (1.0, 0.8, 0.7, 0.4, 0.2)), (Unanimous(), (1,) * 5), (Majority("absolute"), (1,) * 5)],
    ids=["majority", "weighted", "unanimous", "absolute"],
)  # fmt: skip
def test_early_ends_are_lossless_on_every_path_and_in_every_order(vote, weights):
    # All 3^5 paths of three answers; quorum in all 120 orders of arrival. Seeded ties included.
    whole, quorum = (panel_of_five(vote, e, weights) for e in ("parallel", "quorum"))
    curtailed = panel_of_five(vote, Sequential(stop=Decided()), weights)
    saved = 0
    for keys in product(["a", "b", None], repeat=5):
        full = answer_of(whole, recorded(keys)).answer
        early = answer_of(curtailed, recorded(keys))
        assert early.answer == full, keys
        saved += early.metadata.skipped
    for keys in product("abc", repeat=5):
        full = answer_of(whole, recorded(keys)).answer
        assert answer_of(curtailed, recorded(keys)).answer == full, keys
    for keys in [tuple("aabbc"), tuple("aaabc"), ("a", None, "b", "a", "a"), tuple("abcab"), tuple("aaaaa")]:  # fmt: skip
        full = answer_of(whole, recorded(keys)).answer
        for order in permutations(range(5)):
            assert answer_of(quorum, recorded(keys, order)).answer == full, (keys, order)
    assert saved > 0


def test_the_quorum_s_answer_is_the_full_vote_s_on_all_paths():
    whole, quorum = panel_of_five(Majority(), "parallel"), panel_of_five(Majority(), Quorum())
    orders = list(permutations(range(5)))[::7]
    for n, keys in enumerate(product("abc", repeat=5)):
        full = answer_of(whole, recorded(keys)).answer
        for order in orders[n % 3 :: 3]:
            assert answer_of(quorum, recorded(keys, order)).answer == full, (keys, order)


@pytest.mark.parametrize(
    ("stop", "calls"),
    # Exact, as in the closed forms of the theory: p = .9, N = 5.
    [(Decided(), 3.3186), (Consensus(0.7), 2.3924)],
)
def test_the_machine_asks_as_often_as_the_theory_says(stop, calls):
    panel = panel_of_five(Majority(), Sequential(stop=stop))
    mean = 0.0
    for path in product("rw", repeat=5):
        chance = 0.9 ** path.count("r") * 0.1 ** path.count("w")
        mean += chance * answer_of(panel, recorded(path)).metadata.called
    assert mean == pytest.approx(calls, abs=5e-5)


def simulated(n, accuracy, **options):
    return SimulatedModel(
        f"m{n}", accuracy=accuracy, answer_of=lambda q: q.split()[-1],
        wrong_of=lambda q: [str(int(q.split()[-1]) + k) for k in (1, 2, 3)], price=(1.0, 2.0),
        latency=Lognormal(median=1.0, sigma=0.6), **options,
    )  # fmt: skip


FATES = ("fails", "is late", "has no answer", "is filtered", "crashes")


def meets(fate, name):
    """A model that answers "1", or meets another fate."""

    async def answer(prompt):
        if fate == "fails":
            raise RateLimitError("busy", model=name, cost_usd=0.0)
        if fate == "crashes":
            raise KeyError("a bug")
        if fate == "is late":
            await anyio.sleep(1000)
        text = "no idea" if fate == "has no answer" else "1"
        finish = "filtered" if fate == "is filtered" else "stop"
        return Completion(
            text=text, model=name, cost_usd=0.01, billed_usd=0.01, latency_s=0.5, finish=finish
        )

    return FunctionModel(answer, name=name)


@given(
    st.lists(st.sampled_from(("answers", "answers", *FATES)), min_size=1, max_size=6),
    st.integers(1, 6),
    st.sampled_from(["majority", "weighted_majority", "unanimous"]),
    st.sampled_from(["parallel", "quorum", "sequential", "hedged"]),
)
def test_a_failing_member_never_raises_while_the_quorum_holds(fates, quorum, vote, execution):
    members = [meets(fate, f"m{n}") for n, fate in enumerate(fates)]
    quorum = min(quorum, len(members))
    ensemble = Ensemble(
        members, vote=vote, execution=FixedHedge(max_backups=6) if execution == "hedged" else execution,
        normalise="numeric", quorum=None if execution == "hedged" else quorum, timeout_s=5.0,
    )  # fmt: skip
    valid = fates.count("answers")
    needed = 1 if execution == "hedged" else quorum

    def ask():
        clock = trio.testing.MockClock(autojump_threshold=0)
        return anyio.run(ensemble.predict, "?", backend="trio", backend_options={"clock": clock})

    if valid < needed:
        with pytest.raises((QuorumNotReachedError, AllModelsFailedError)) as caught:
            ask()
        responses = caught.value.responses
    else:
        prediction = ask()
        responses = prediction.responses
        assert prediction.answer == "1" or vote == "unanimous"
        assert prediction.metadata.valid >= needed
        told = {r.member for r in responses if r.status in ("error", "timeout")}
        assert set(prediction.metadata.failures) == told
    # Whatever happened, everybody is accounted for and nothing that was paid is lost.
    assert [r.member for r in responses] == [m.name for m in members]
    paid = [r.cost_usd for r in responses if r.completion is not None]
    assert paid == [0.01] * len(paid)


STRATEGIES = [
    {"vote": "majority", "execution": "parallel"},
    {"vote": "majority", "execution": "quorum"},
    {"vote": "unanimous", "execution": "quorum"},
    {"vote": "weighted_majority", "execution": "sequential"},
    {"vote": "majority", "execution": Sequential(stop=Consensus(0.7))},
    {"vote": "majority", "execution": Sequential(stop=Posterior(0.9), order="cheapest")},
    {"vote": "majority", "execution": Sequential(stop=Sprt(0.1, 0.1))},
    {"vote": Weighted(by="accuracy", classes=4), "execution": "parallel"},
    {"vote": "majority", "execution": FixedHedge(delay_s=1.0)},
    {"vote": "majority", "execution": Cascade(threshold=0.75, calibration="assume")},
    {"vote": "majority", "execution": "parallel", "deadline_s": 1.2, "quorum": 1},
    {"vote": "majority", "execution": "parallel", "timeout_s": 1.5, "tie": "priority"},
]  # fmt: skip


@pytest.mark.parametrize("options", STRATEGIES, ids=lambda o: f"{o['vote']}-{o['execution']}"[:60])
def test_live_and_on_record_a_strategy_does_the_same(in_virtual_time, options):
    accuracies = (0.9, 0.7, 0.6, 0.8)
    models = [simulated(n, p, confidence="calibrated") for n, p in enumerate(accuracies)]
    prompts = {f"item-{i}": f"What is {i}" for i in range(12)}

    def members(of):
        return [
            Member(of(n), accuracy=p, weight=1 + n / 10, price_rank=n)
            for n, p in enumerate(accuracies)
        ]

    async def live():
        ensemble = Ensemble(members(lambda n: models[n]), normalise="numeric", seed=3, **options)
        found = await ensemble.predict_many(prompts, temperature=0.7, concurrency=4)
        return found, await collect(models, prompts, temperature=0.7, seed=3)

    found, matrix = in_virtual_time(live)
    strategy = Strategy(
        name="s",
        models=members(lambda n: f"simulated/m{n}"),
        normalise="numeric",
        seed=3,
        **options,
    )
    for one, other in zip(found, predictions_of(matrix, strategy), strict=True):
        assert one.to_dict() == other.to_dict()


def test_the_answers_do_not_depend_on_concurrency(in_virtual_time):
    models = [simulated(n, 0.6, correlation=0.3) for n in range(5)]
    prompts = {f"item-{i}": f"What is {i}" for i in range(60)}

    async def main(concurrency):
        ensemble = Ensemble(models, normalise="numeric")
        found = await ensemble.predict_many(prompts, temperature=1.0, concurrency=concurrency)
        return [p.to_dict() for p in found]

    assert in_virtual_time(main, 1) == in_virtual_time(main, 32)


def test_a_hedged_model_and_an_ensemble_inside_an_ensemble_are_paid_once(in_virtual_time):
    async def main():
        inner = Ensemble([says("1", "a"), says("1", "b"), says("2", "c")], name="inner")
        raced = hedged(says("1", "d", after=5, cost=0.1), hedger=Racer())
        kept = CachedModel(says("2", "e", cost=0.5))
        outer = Ensemble([inner, raced, kept])
        return await outer.predict("?"), await kept.generate("?"), await kept.generate("?")

    prediction, _, again = in_virtual_time(main)
    assert (again.cost_usd, again.billed_usd) == (0.5, 0.0)
    # inner 3 x .01, the hedged member twice .1 (the cancelled copy is billed like the other), e .5.
    assert prediction.metadata.cost_usd == pytest.approx(0.03 + 0.2 + 0.5)
    assert prediction.metadata.called == 3
    assert prediction.answer == "1"
    assert prediction.responses[1].completion.extra["assumed_usd"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cascade(threshold=1.5), lambda: Cascade(min_models=0), lambda: Consensus(0.4),
        lambda: Consensus(min_answers=0), lambda: Posterior(0.5), lambda: Posterior(classes=1),
        lambda: Sprt(0.6), lambda: FixedHedge(delay_s=-1), lambda: FixedHedge(max_backups=-1),
        lambda: Ensemble([says("1", "a"), says("2", "b")], execution=Sequential(stop=Posterior(0.9))),
        lambda: Ensemble([says("1", "a")], execution=Cascade(order="given"), samples=2),
        lambda: Ensemble([says("1", "a")], execution=Cascade(order="given", min_models=2)),
        lambda: Ensemble([says("1", "a")], execution=Cascade(order="given", threshold=(0.5, 0.5))),
    ],
)  # fmt: skip
def test_executions_that_cannot_be_are_refused(make):
    with pytest.raises(ValueError, match="must"):
        make()
