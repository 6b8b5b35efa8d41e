import anyio
import pytest

from crucible_ensemble import Completion, Ensemble, FunctionModel, SimulatedModel
from crucible_ensemble.normalise import NORMALISERS
from crucible_ensemble.prediction import Tally
from crucible_ensemble.testing import ConformanceError, check_model, check_normaliser, check_vote
from crucible_ensemble.votes import VOTES


def simulated():
    return SimulatedModel("s", accuracy=1.0, answer_of=lambda q: "4", wrong_of=lambda q: ["5"])


def test_our_own_models_votes_and_normalisers_conform():
    anyio.run(check_model, simulated)
    anyio.run(check_model, lambda: Ensemble([simulated(), simulated()]))
    for vote in VOTES.values():
        check_vote(vote)
    for normalise in NORMALISERS.values():
        check_normaliser(normalise)


@pytest.mark.parametrize(
    ("facts", "promise"),
    [
        ({"cost_usd": -1.0}, "cost_usd must be >= 0"),
        ({"confidence": 1.5, "confidence_source": "x"}, "confidence must be in"),
        ({"confidence": 0.5}, "name its source"),
        ({"logprobs": [0.5]}, "natural logarithms"),
        ({"input_tokens": -2}, "input_tokens must be a count"),
    ],
)
def test_a_model_that_breaks_a_promise_is_told_which(facts, promise):
    async def answer(prompt):
        return Completion(text="4", model="m", **facts)

    with pytest.raises(ConformanceError, match=promise):
        anyio.run(check_model, lambda: FunctionModel(answer))


def test_votes_and_normalisers_that_break_promises_are_told_which():
    with pytest.raises(ConformanceError, match="order of ballots"):
        check_vote(lambda ballots: Tally(scores={}, winner=ballots[0].key, reason="x"))
    with pytest.raises(ConformanceError, match="only given keys"):
        check_vote(lambda ballots: Tally(scores={"z": 1.0}, winner="z"))
    with pytest.raises(ConformanceError, match="must not raise"):
        check_normaliser(lambda text: text[0])
    with pytest.raises(ConformanceError, match="non-empty string or None"):
        check_normaliser(lambda text: "")
