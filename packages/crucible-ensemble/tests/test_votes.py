import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_ensemble.errors import UncalibratedError
from crucible_ensemble.prediction import Ballot
from crucible_ensemble.votes import (
    BestConfidence,
    ConfidenceSum,
    Majority,
    Stacked,
    Unanimous,
    Weighted,
    WeightedMajority,
    classes_from,
    fallback,
)
from crucible_ensemble.votes.weighted import log_odds_weight, posterior


def ballots(*pairs, **options):
    """Ballots from (key, confidence) pairs."""
    return [
        Ballot(member=f"m{n}", key=key, confidence=p, calibrated=True, **options)
        for n, (key, p) in enumerate(pairs)
    ]


def votes(*keys):
    return [Ballot(member=f"m{n}", key=key) for n, key in enumerate(keys)]


ONE_SURE = (("A", 0.9), ("B", 0.6), ("B", 0.6))


@pytest.mark.parametrize(
    ("classes", "winner", "a"),
    # The specification's example: how many answers there are decides who wins.
    [(2, "A", 0.800), (4, "A", 0.548), (10, "B", 0.299)],
)
def test_the_number_of_classes_matters(classes, winner, a):
    tally = Weighted(classes=classes)(ballots(*ONE_SURE))
    assert tally.winner == winner
    assert posterior(tally.scores, classes)["A"] == pytest.approx(a, abs=5e-4)
    assert tally.notes["classes"] == classes


def test_an_open_question_has_six_classes_until_wrong_answers_were_seen():
    assert classes_from(0, 0) == 6.0  # 1 + 1/c, c = 1/5 the mean of Beta(1, 4)
    assert Weighted()(ballots(*ONE_SURE)).notes["classes"] == 6.0
    # 390 of 3,698 pairs on GSM8K: c = 391 / 3703.
    assert classes_from(390, 3698) == pytest.approx(1 + 3703 / 391)


def test_a_model_below_one_half_votes_against_itself_only_with_two_classes():
    assert log_odds_weight(0.4, 2) < 0 < log_odds_weight(0.4, 4)
    assert log_odds_weight(1.0, 2) == pytest.approx(math.log(999))  # clipped


def test_confidences_must_be_calibrated_or_be_said_to_be():
    raw = [Ballot(member="a", key="x", confidence=0.9)]
    for vote in (Weighted, ConfidenceSum, BestConfidence):
        with pytest.raises(UncalibratedError, match="calibrated"):
            vote()(raw)
        assert vote(calibration="assume")(raw).winner == "x"
    assert Weighted(calibration="assume")(raw).notes["calibration"] == "assumed"


def test_missing_confidences_are_refused_dropped_or_replaced_as_asked():
    mixed = [*ballots(("x", 0.6)), Ballot(member="b", key="y", accuracy=0.9)]
    with pytest.raises(UncalibratedError, match="b gave no confidence"):
        Weighted()(mixed)
    assert Weighted(missing="drop")(mixed).winner == "x"
    assert Weighted(missing="accuracy")(mixed).winner == "y"
    with pytest.raises(UncalibratedError, match="neither"):
        Weighted(missing="accuracy")([Ballot(member="c", key="y")])
    with pytest.raises(UncalibratedError, match="no `accuracy`"):
        Weighted(by="accuracy")([Ballot(member="c", key="y")])


def test_majority_can_ask_for_more_than_half_of_all():
    assert Majority()(votes("x", "y", None, "x")).winner == "x"
    strict = Majority("absolute")(votes("x", "y", None, "x"))
    assert strict.winner is None
    assert strict.reason == "no answer has more than half of 4"
    assert Majority("absolute")(votes("x", "x", "x", None)).winner == "x"


def test_the_last_survivor_is_not_unanimous():
    assert Unanimous()(votes("x", "x")).winner == "x"
    assert Unanimous()(votes("x", None)).winner is None
    assert Unanimous("answered")(votes("x", None)).winner == "x"
    assert "2 different" in Unanimous()(votes("x", "y")).reason


def test_weights_of_zero_elect_nobody():
    with pytest.raises(ValueError, match="`weight` must be > 0"):
        WeightedMajority()([Ballot(member="a", key="x", weight=0.0)])


def test_a_fallback_names_who_decided():
    vote = fallback(Unanimous(), Majority())
    assert vote(votes("x", "x")).decided_by == "unanimous"
    decided = vote(votes("x", "x", "y"))
    assert (decided.winner, decided.decided_by) == ("x", "majority")


def test_stacking_mixes_probabilities():
    # P(A) = .7 x .9 + .3 x .4 = .75, P(B) = .7 x .1 + .3 x .6 = .25 with two classes.
    tally = Stacked(weights={"m0": 0.7, "m1": 0.3}, classes=2)(ballots(("A", 0.9), ("B", 0.6)))
    assert tally.winner == "A"
    assert tally.confidence == pytest.approx(0.75)
    assert tally.scores["B"] == pytest.approx(0.25)


ALL = [
    Majority(), Majority("absolute"), WeightedMajority(), Weighted(classes=4), Unanimous(),
    ConfidenceSum(), BestConfidence(), fallback(Unanimous(), Majority()),
    Stacked(weights={f"m{n}": 1.0 + n for n in range(9)}, classes=5),
]  # fmt: skip
drawn = st.lists(
    st.tuples(st.sampled_from([None, "a", "b", "c"]), st.floats(0.05, 0.95)), min_size=1, max_size=7
)


@pytest.mark.parametrize("vote", ALL, ids=repr)
@given(drawn, st.randoms())
def test_the_order_of_members_and_the_names_of_answers_play_no_part(vote, pairs, random):
    given_ = ballots(*pairs)
    shuffled = random.sample(given_, len(given_))
    first, second = vote(given_), vote(shuffled)
    assert (first.winner, first.tied, first.scores) == (second.winner, second.tied, second.scores)
    names = {None: None, "a": "z", "b": "m", "c": "k"}
    renamed = vote(ballots(*[(names[key], p) for key, p in pairs]))
    assert renamed.winner == names[first.winner]
    assert set(renamed.tied) == {names[key] for key in first.tied}


@pytest.mark.parametrize("vote", [v for v in ALL if v not in (Unanimous(), Majority("absolute"))], ids=repr)  # fmt: skip
@given(drawn)
def test_an_unreadable_answer_never_wins_and_never_changes_the_winner(vote, pairs):
    before, after = vote(ballots(*pairs)), vote(ballots(*pairs, (None, 0.9)))
    assert after.winner == before.winner
    assert after.tied == before.tied
    assert None not in after.scores


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.5, 0.95)), min_size=3, max_size=3))
def test_three_voters_above_one_half_added_up_are_a_majority(pairs):
    # 2 to 1: the two have at least 1 together, the one less. So adding confidences adds nothing.
    assert ConfidenceSum()(ballots(*pairs)).winner == Majority()(ballots(*pairs)).winner


@pytest.mark.parametrize(
    "make",
    [
        lambda: Majority("most"),
        lambda: Unanimous("some"),
        lambda: Weighted(by="luck"),
        lambda: Weighted(classes=1),
        lambda: Weighted(missing="guess"),
        lambda: BestConfidence(calibration="trust"),
        lambda: Stacked(weights={}),
        lambda: Stacked(weights={"a": -1.0}),
        lambda: Stacked(weights={"a": 0.0}),
        lambda: classes_from(3, 2),
    ],
)
def test_options_that_do_not_exist_are_refused(make):
    with pytest.raises(ValueError, match="must"):
        make()


def accuracies_of_votes(make_p, states, n=20_000, seed=1):
    """Simulate three voters over four answers; return the accuracy of each vote."""
    import numpy as np

    rng = np.random.default_rng(seed)
    p = make_p(rng, n)  # (n, 3)
    right = rng.random((n, 3)) < p
    answer = np.where(right, 0, rng.integers(1, 4, (n, 3)))
    stated = states(p)
    votes_ = {
        "majority": Majority(), "confidence_sum": ConfidenceSum(),
        "weighted": Weighted(classes=4), "best_confidence": BestConfidence(),
    }  # fmt: skip
    hits = dict.fromkeys(votes_, 0.0)
    for row, said in zip(answer.tolist(), stated.tolist(), strict=True):
        cast = ballots(*[(str(a), c) for a, c in zip(row, said, strict=True)])
        for name, vote in votes_.items():
            tally = vote(cast)
            hits[name] += (tally.winner == "0") + ("0" in tally.tied) / max(1, len(tally.tied))
    return {name: hit / n for name, hit in hits.items()}


def test_what_calibrated_confidence_buys_and_what_overconfidence_costs():
    # Simulation of the specification, section 7, number 7; standard error .0016 at n = 20,000.
    def all_good(rng, n):
        return 0.25 + 0.75 * rng.beta(6, 1.6, (n, 3))

    def one_weak(rng, n):
        p = all_good(rng, n)
        p[:, 0] = 0.25 + 0.75 * rng.beta(2, 2, n)
        return p

    def overconfident(p):
        stated = p.copy()
        odds = p[:, 0] / (1 - p[:, 0]) * math.exp(3)
        stated[:, 0] = odds / (1 + odds)
        return stated

    good = accuracies_of_votes(all_good, lambda p: p)
    assert good == pytest.approx(
        {"majority": 0.948, "confidence_sum": 0.958, "weighted": 0.959, "best_confidence": 0.924},
        abs=0.006,
    )
    boasting = accuracies_of_votes(one_weak, overconfident)
    assert boasting == pytest.approx(
        {"majority": 0.902, "confidence_sum": 0.896, "weighted": 0.876, "best_confidence": 0.707},
        abs=0.012,
    )
    honest = accuracies_of_votes(one_weak, lambda p: p)
    assert honest["weighted"] >= honest["majority"]
