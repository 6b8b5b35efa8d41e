"""Costs, faults, streams, summaries: what an ensemble says of what it did."""

import csv
import io
import json
import pickle

import anyio
import pytest

from crucible_ensemble import Completion, Ensemble, FunctionModel, PriceBook, create, infer
from crucible_ensemble.errors import (
    AllModelsFailedError,
    ContextLengthError,
    ModelTimeoutError,
    QuorumNotReachedError,
    RateLimitError,
    UnsupportedOptionError,
)
from crucible_ensemble.member import Member
from crucible_ensemble.models.anthropic import AnthropicModel
from crucible_ensemble.normalise import NumericTolerance
from crucible_ensemble.prediction import Prediction
from crucible_ensemble.stream import Complete, Consensus, MemberArrived
from crucible_ensemble.summary import summarise

BOOK = PriceBook.default()


def priced(name, text, *, tokens=(1000, 500), after=0.0):
    async def answer(prompt):
        await anyio.sleep(after)
        cost = BOOK.cost_usd("openai/gpt-4o-mini", *tokens)
        return Completion(
            text=text, model=name, input_tokens=tokens[0], output_tokens=tokens[1], cost_usd=cost,
            billed_usd=cost, latency_s=after,
        )  # fmt: skip

    return FunctionModel(answer, name=name)


def fails(name, cost=None):
    async def answer(prompt):
        raise RateLimitError("busy", model=name, cost_usd=cost)

    return FunctionModel(answer, name=name)


def test_gpt_4o_mini_costs_what_its_price_says():
    assert BOOK.cost_usd("openai/gpt-4o-mini", 1000, 500) == pytest.approx(0.00045)
    assert BOOK.cost_usd("openai/gpt-4o-mini", 1000, 500, 400) == pytest.approx((600 * 0.15 + 400 * 0.075 + 500 * 0.6) / 1e6)  # fmt: skip
    assert BOOK.estimate(["openai/gpt-4o-mini", "x/y"], 1000, 500) == {"openai/gpt-4o-mini": pytest.approx(0.00045), "x/y": None}  # fmt: skip


def test_prices_are_read_from_a_file(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"as_of": "2027-01-01", "models": {"a/b": [1, 2, 0.5]}}))
    assert PriceBook.load(path).cost_usd("a/b", 1_000_000, 0, 1_000_000) == 0.5
    for wrong in ("{}", "[1]", '{"models": {"a": [1]}}', '{"models": {"a": [-1, 2]}}', "nonsense"):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="must be"):
            PriceBook.load(path)


def test_a_failure_after_usage_and_a_cancelled_call_make_the_total_unknown(in_virtual_time):
    async def main():
        members = [
            priced("a", "1", after=1),
            priced("b", "1", after=1),
            fails("c", 0.002),
            priced("d", "2", after=99),
        ]
        return await Ensemble(members, execution="quorum", quorum=2, timeout_s=200).predict("?"), await Ensemble([priced("a", "1", after=1), fails("c", 0.002)]).predict("?")  # fmt: skip

    both, known = in_virtual_time(main)
    assert both.metadata.cost_usd is None
    assert both.metadata.known_cost_usd == pytest.approx(2 * 0.00045 + 0.002)
    assert both.metadata.unpriced == ("d",)
    assert both.metadata.failures == {"c": "RateLimitError: busy"}
    assert known.metadata.cost_usd == pytest.approx(0.00045 + 0.002)


def test_an_estimate_says_what_a_prompt_costs_at_least_and_at_most():
    names = ["gpt4_mini", "gpt4", priced("mine", "1")]
    found = Ensemble(names, samples=2).estimate(1000, 500)
    assert found["low_usd"] == pytest.approx(0.00045)
    assert found["high_usd"] == pytest.approx(2 * (0.00045 + 0.0075))
    assert found["unpriced"] == ("mine",)


def test_predictions_are_read_back_equal(in_virtual_time):
    async def main():
        return await Ensemble([priced("a", "1"), priced("b", "2"), fails("c")]).predict("?")

    prediction = in_virtual_time(main)
    stored = json.loads(json.dumps(prediction.to_dict()))
    assert Prediction.from_dict(stored) == prediction


def test_a_custom_vote_or_normaliser_that_breaks_keeps_what_was_paid_for():
    def broken(text):
        raise KeyError(text)

    def bad_vote(ballots):
        raise ZeroDivisionError

    async def main(**options):
        return await Ensemble([priced("a", "1"), priced("b", "2")], **options).predict(
            "?", item="i7"
        )

    with pytest.raises(KeyError) as caught:
        anyio.run(lambda: main(normalise=broken))
    assert "answer of a to item i7" in caught.value.__notes__[0]
    assert caught.value.responses[0].cost_usd == pytest.approx(0.00045)
    with pytest.raises(ZeroDivisionError) as caught:
        anyio.run(lambda: main(vote=bad_vote))
    assert "item i7" in caught.value.__notes__[0]
    assert [r.cost_usd for r in caught.value.responses] == pytest.approx([0.00045] * 2)


@pytest.mark.parametrize("where", ["normalise", "on_result"])
def test_a_fault_among_many_keeps_the_predictions_that_were_paid_for(where):
    def breaks_at_the_third(what):
        seen.append(what)
        if len(seen) == 3:
            raise KeyError("oops")
        return "1"

    seen = []
    options = {where: breaks_at_the_third}
    normalise = {k: options.pop(k) for k in ("normalise",) if k in options}
    ensemble = Ensemble([priced("a", "1")], **normalise)
    with pytest.raises(KeyError) as caught:
        anyio.run(lambda: ensemble.predict_many(list("pqrs"), concurrency=1, **options))
    paid = [p.metadata.cost_usd for p in caught.value.predictions]
    assert paid == pytest.approx([0.00045] * (2 if where == "normalise" else 3))
    assert any(note.startswith("item ") for note in caught.value.__notes__)


def test_when_all_fail_every_cause_is_there():
    with pytest.raises(AllModelsFailedError) as caught:
        anyio.run(Ensemble([fails("a", 0.0), fails("b", 0.0)]).predict, "?")
    error = caught.value
    assert isinstance(error, ExceptionGroup)
    assert [type(e) for e in error.exceptions] == [RateLimitError, RateLimitError]
    assert error.failures == {"a": "RateLimitError: busy", "b": "RateLimitError: busy"}
    assert error.retryable
    again = pickle.loads(pickle.dumps(error))
    assert (again.failures, str(again)) == (error.failures, str(error))
    assert error.split(RateLimitError)[1] is None


def test_errors_survive_pickling_with_their_facts():
    for error in (
        ContextLengthError("long", model="m", status=400, limit=10, tokens=20),
        ModelTimeoutError("late", model="m"),
        QuorumNotReachedError(1, 2, {"a": "x"}),
        UnsupportedOptionError("no", option="seed"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
    assert pickle.loads(pickle.dumps(ContextLengthError("l", limit=3))).limit == 3


def test_a_stream_tells_what_happens_and_stops_when_enough_agree(in_virtual_time):
    async def main(threshold):
        members = [priced("a", "1", after=1), priced("b", "1", after=2), priced("c", "2", after=50)]
        ensemble = Ensemble(members, timeout_s=100)
        async with ensemble.stream("?", early_stop_threshold=threshold) as events:
            return [event async for event in events], anyio.current_time()

    events, _ = in_virtual_time(main, 1.0)
    kinds = [type(e) for e in events]
    assert kinds == [MemberArrived, Consensus] * 3 + [Complete]
    assert [e.decided for e in events if isinstance(e, Consensus)] == [False, True, True]
    assert events[-1].prediction.metadata.called == 3
    early, _ = in_virtual_time(main, 0.6)
    facts = early[-1].prediction.metadata
    assert (facts.ended, facts.latency_s, early[-1].prediction.answer) == ("threshold", 2.0, "1")
    with pytest.raises(ValueError, match="`early_stop_threshold` must be"):
        in_virtual_time(main, 0.0)


def test_an_error_reaches_whoever_reads_the_stream(in_virtual_time):
    async def main():
        async with Ensemble([fails("a")]).stream("?") as events:
            return [event async for event in events]

    with pytest.raises(AllModelsFailedError):
        in_virtual_time(main)


def test_equal_numbers_are_merged_before_they_are_counted():
    async def main():
        members = [priced("a", "1000"), priced("b", "1000.0001"), priced("c", "7")]
        return await Ensemble(
            members, normalise="numeric", equivalence=NumericTolerance(1e-3)
        ).predict("?")

    prediction = anyio.run(main)
    assert (prediction.answer, prediction.metadata.votes) == ("1000", {"1000": 2.0, "7": 1.0})
    with pytest.raises(ValueError, match="`equivalence` must be None"):
        Ensemble([priced("a", "1")], equivalence=NumericTolerance(), execution="quorum")


def test_an_option_that_a_member_lacks_is_refused_or_recorded():
    async def main(**options):
        claude = AnthropicModel("claude-haiku-4-5", api_key="x", base_url="http://127.0.0.1:9")

        class NoStop:
            name, supports = "nostop", frozenset({"temperature"})

            async def generate(
                self, prompt, /, *, temperature=0.0, max_tokens=1000, seed=None, stop=()
            ):
                assert seed is None
                assert stop == ()
                return Completion(text="1", model=self.name)

        assert "seed" not in claude.supports
        return await Ensemble([NoStop()], **options).predict("?", stop=["x"])

    with pytest.raises(UnsupportedOptionError, match="nostop takes no `stop`"):
        anyio.run(main)
    prediction = anyio.run(lambda: main(unsupported="record"))
    # A seed that the ensemble made itself is never an error, and always on record.
    assert prediction.responses[0].completion.dropped == ("stop", "seed")


def test_batches_infer_who_is_right():
    async def main():
        members = [priced("a", "1"), priced("b", "1"), priced("c", "2")]
        return await Ensemble(members, vote="dawid_skene").predict_many(
            [f"q{i}" for i in range(20)]
        )

    found = anyio.run(main)
    assert {p.answer for p in found} == {"1"}
    assert {p.metadata.strategy for p in found} == {"dawid_skene"}
    with pytest.raises(ValueError, match="use predict_many"):
        anyio.run(Ensemble([priced("a", "1")], vote="dawid_skene").predict, "?")


def test_several_samples_at_temperature_0_are_refused():
    with pytest.raises(ValueError, match="`samples` must be 1 at temperature 0"):
        anyio.run(Ensemble([priced("a", "1")], samples=3).predict, "?")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ensemble([]),
        lambda: Ensemble("gpt4"),
        lambda: Ensemble([priced("a", "1")], quorum=2),
        lambda: Ensemble([priced("a", "1")], samples=0),
        lambda: Ensemble([priced("a", "1")], timeout_s=0),
        lambda: Ensemble([priced("a", "1")], deadline_s=-1),
        lambda: Ensemble([priced("a", "1")], tie="coin"),
        lambda: Ensemble([priced("a", "1")], vote="loudest"),
        lambda: Ensemble([priced("a", "1")], execution="magic"),
        lambda: Ensemble([priced("a", "1")], normalise="magic"),
        lambda: Ensemble([priced("a", "1")], unsupported="ignore"),
        lambda: Ensemble([priced("a", "1")], weights=[1, 2]),
        lambda: Ensemble([Member(priced("a", "1"), name="x"), Member(priced("b", "1"), name="x")]),
        lambda: Member("m", weight=-1),
        lambda: Member("m", weight=float("nan")),
        lambda: Member("m", accuracy=2),
        lambda: create(adapters=[{"weight": 1}]),
        lambda: create(adapters=[{"name": "a", "weight": "much"}]),
    ],
)
def test_ensembles_that_cannot_be_are_refused(make):
    with pytest.raises(ValueError, match="must"):
        make()


def test_a_hedger_by_name_is_refused():
    with pytest.raises(TypeError, match="crucible_hedging.Hedger"):
        anyio.run(lambda: infer(Ensemble([priced("a", "1")]), "?", hedging="percentile_75"))


def test_a_summary_counts_and_its_table_reads_back_equal():
    nasty = 'a, "b"\nc'

    async def main():
        members = [priced("a", nasty), priced("b", nasty), fails("c")]
        plain = await Ensemble(members, normalise="exact").predict("?", item="=cmd|'/c calc'!A1")
        split = await Ensemble([priced("a", "1"), priced("b", "2")], tie="abstain").predict("?")
        return [plain, split]

    found = summarise(anyio.run(main))
    assert (found.n, found.success_rate, found.disagreement_rate) == (2, 0.5, 0.5)
    assert found.failures == {"RateLimitError": 1}
    assert {m.member: (m.called, m.won) for m in found.members} == {"a": (2, 1), "b": (2, 1), "c": (1, 0)}  # fmt: skip
    assert found.cost_usd is None
    rows = list(csv.DictReader(io.StringIO(found.csv(), newline="")))
    assert rows[0]["answer"] == rows[0]["text"] == nasty
    assert rows[0]["item"] == "'=cmd|'/c calc'!A1"  # a spreadsheet would run it
    assert "| a | 2 | 2 | 1 |" in found.markdown()
    with pytest.raises(ValueError, match="must not be empty"):
        summarise([])
